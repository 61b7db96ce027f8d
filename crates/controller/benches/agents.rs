//! Twenty agents in one process around a simulated broker, from measurements to plans, on one thread.
//!
//!     cargo bench -p landfall-controller --bench agents [-- SERVICES]
//!
//! There are 10,000 services, each exported by three of twenty clusters and with clients in six. Targets: a full round
//! of all agents takes at most 60 s of CPU. Everything from facts to plans takes at most 512 MiB beside the Kubernetes
//! objects. A cluster writes at most 10 kB per hundred services of the fleet.

#![allow(clippy::print_stdout, reason = "the result")]
#![allow(clippy::unwrap_used, reason = "a failing benchmark should show where")]

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use k8s_openapi::jiff::Timestamp;
use landfall_api as api;
use landfall_api::ClusterFactsSpec;
use landfall_controller::broker::inbox::Inbox;
use landfall_controller::broker::objects::{Identity, name, parts};
use landfall_controller::change::BrokerState;
use landfall_controller::change::{Change, ObjectEvent, PeerEvent};
use landfall_controller::facts::{ClusterFacts, PeerLink};
use landfall_controller::manifest::documents;
use landfall_controller::measured::{Measured, Reading};
use landfall_controller::object::{Kind, Object};
use landfall_controller::observe::perspective::{Age, Perspective, RulesFrom};
use landfall_controller::pipeline::Pipeline;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::resolve::Share;

const CLUSTERS: usize = 20;
const EXPORTERS: usize = 3;
const SOURCES: usize = 6;
const ROUND_SECONDS: u64 = 300;
/// Interval between two collections of answers, in seconds.
const COLLECT_SECONDS: u64 = 10;
const START_SECONDS: u64 = 1_800_000_000;

fn main() {
    // `cargo test --all-targets` runs benchmarks too, without this argument; this one takes too long for that.
    let arguments: Vec<String> = std::env::args().collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let services = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(10_000);
    let mut fleet = Fleet::new(services);
    let objects = peak_mib();
    println!("{services} services x {CLUSTERS} clusters: {objects:.0} MiB for their objects and a plan without facts");
    fleet.optimize();
    for round in 0..3 {
        fleet.written = 0;
        let before = cpu_seconds();
        fleet.round();
        let cpu = cpu_seconds() - before - std::mem::take(&mut fleet.overhead);
        let per_hundred = fleet.written as f64 / (CLUSTERS * services) as f64 * 100.0 / 1000.0;
        let reported = fleet.reported as f64 / CLUSTERS as f64;
        println!(
            "round {round}: {cpu:.1} s of CPU for all agents (target 60), {:.0} MiB more from facts to plan (target 512), \
             {per_hundred:.1} kB per cluster and 100 services (target 10; {reported:.0} services a cluster)",
            peak_mib() - objects,
        );
    }
    fleet.late();
}

struct Service {
    key: ServiceKey,
    exporters: Vec<usize>,
    /// Source clusters with their demand in requests per second.
    sources: Vec<(usize, f64)>,
}

struct Fleet {
    now: u64,
    services: Vec<Service>,
    agents: Vec<Pipeline>,
    /// One reader for all agents, because all would read the same.
    inbox: Inbox,
    /// Hash of each object without its time.
    on_broker: BTreeMap<String, u64>,
    written: usize,
    reported: usize,
    published: Vec<Option<Arc<ClusterFacts>>>,
    /// CPU time in seconds that only the benchmark itself needs.
    overhead: f64,
}

fn id(i: usize) -> ClusterId {
    ClusterId::new(&format!("c{i:02}")).unwrap()
}

/// Random numbers, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

fn service(i: usize, random: &mut Random) -> Service {
    let mut order: Vec<usize> = (0..CLUSTERS).collect();
    (0..SOURCES).for_each(|k| order.swap(k, k + random.below(CLUSTERS - k)));
    let sources = order[..SOURCES].iter().map(|&cluster| (cluster, 20.0 + random.below(60) as f64)).collect();
    let key = ServiceKey::new(&format!("team-{:03}", i % 100), &format!("service-{i:05}")).unwrap();
    Service { key, exporters: order[..EXPORTERS].to_vec(), sources }
}

impl Service {
    /// Returns the objects that all clusters have, and those that only the exporting clusters have.
    fn objects(&self) -> (Vec<Object>, Vec<Object>) {
        let (name, namespace) = (self.key.name(), self.key.namespace());
        let clusters: Vec<String> = self.exporters.iter().map(|&e| format!("{{\"cluster\":\"{}\"}}", id(e))).collect();
        let mut text = format!(
            "---\napiVersion: multicluster.x-k8s.io/v1beta1\nkind: ServiceImport\nmetadata: {{name: {name}, namespace: \
             {namespace}}}\nspec: {{type: ClusterSetIP, ports: []}}\nstatus: {{clusters: [{}]}}\n",
            clusters.join(",")
        );
        for &exporter in &self.exporters {
            text += &format!(
                "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}-{exporter}, namespace: \
                 {namespace}, labels: {{multicluster.kubernetes.io/service-name: {name}, \
                 multicluster.kubernetes.io/source-cluster: {}}}}}\naddressType: IPv4\nendpoints: [{{addresses: \
                 [10.{exporter}.0.1]}}]\nports: []\n",
                id(exporter)
            );
        }
        let own = format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}-own, namespace: \
             {namespace}, labels: {{kubernetes.io/service-name: {name}}}}}\naddressType: IPv4\nendpoints: [{{addresses: \
             [10.1.0.1], targetRef: {{kind: Pod, name: a}}}}, {{addresses: [10.1.0.2], targetRef: {{kind: Pod, name: \
             b}}}}]\nports: []\n"
        );
        let read = |text: &str| documents(text).into_iter().map(|document| document.read.ok().unwrap()).collect();
        (read(&text), read(&own))
    }
}

fn apply(object: Object) -> ObjectEvent {
    ObjectEvent::Apply { object, origin: None }
}

fn agent(i: usize) -> Pipeline {
    let perspective = Perspective {
        local: id(i),
        namespace: "landfall-system".into(),
        submariner_namespace: None,
        rules_from: RulesFrom::Policies,
    };
    Pipeline::new(perspective, Age::Live).awaiting_broker(None)
}

impl Fleet {
    fn new(count: usize) -> Self {
        let mut random = Random(20);
        let services: Vec<Service> = (0..count).map(|i| service(i, &mut random)).collect();
        let mut agents: Vec<Pipeline> = (0..CLUSTERS).map(agent).collect();
        for (i, agent) in agents.iter_mut().enumerate() {
            let begin = Kind::ALL.into_iter().map(ObjectEvent::ListBegins).map(Change::from);
            let link = |j: usize| {
                let around = i.abs_diff(j).min(CLUSTERS - i.abs_diff(j));
                (id(j), PeerLink { rtt_ms: Some(3.0 + 9.0 * around as f64), ..PeerLink::default() })
            };
            let links = Change::Links((0..CLUSTERS).filter(|j| *j != i).map(link).collect());
            let state = PeerEvent::Broker(Some(BrokerState::default())).into();
            agent.apply(begin.chain([links, state, Change::Leads(true)]), START_SECONDS);
        }
        for service in &services {
            let (all, own) = service.objects();
            for (i, agent) in agents.iter_mut().enumerate() {
                let own = own.iter().filter(|_| service.exporters.contains(&i));
                agent.apply(all.iter().chain(own).cloned().map(apply), START_SECONDS);
            }
        }
        for agent in &mut agents {
            agent.apply(Kind::ALL.into_iter().map(ObjectEvent::ListEnds), START_SECONDS);
        }
        let reader = Identity { cluster: ClusterId::new("reader").unwrap(), instance: String::new() };
        Self {
            now: START_SECONDS,
            services,
            agents,
            inbox: Inbox::new(reader),
            on_broker: BTreeMap::new(),
            written: 0,
            reported: 0,
            published: vec![None; CLUSTERS],
            overhead: 0.0,
        }
    }

    fn optimize(&mut self) {
        let policy = "apiVersion: landfall.dev/v1alpha1\nkind: SelectionPolicy\nmetadata: {name: all, namespace: \
                      landfall-system, creationTimestamp: \"2026-01-01T00:00:00Z\"}\nspec: {loadBalancing: optimized}\n";
        for agent in &mut self.agents {
            agent.apply(documents(policy).into_iter().map(|document| apply(document.read.ok().unwrap())), self.now);
        }
    }

    /// Returns the measurements of one cluster between two collections.
    fn measured(&self, cluster: usize) -> Measured {
        let mut measured = Measured { seconds: COLLECT_SECONDS as f64, ..Measured::default() };
        let local = id(cluster);
        for service in &self.services {
            let exported = service.exporters.contains(&cluster);
            let mut load_rps = 0.0;
            for &(source, rps) in service.sources.iter().filter(|(source, _)| exported || *source == cluster) {
                let planned = self.agents[source].plan().unwrap().get(service.key.as_str()).unwrap();
                let sent = |share: &Share| rps * f64::from(share.weight) / 1000.0;
                load_rps += planned.shares.iter().filter(|share| share.cluster == local).map(sent).sum::<f64>();
                if source == cluster {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
                    let count = |share: &Share| (sent(share) * COLLECT_SECONDS as f64).round() as u64;
                    let answers = planned.shares.iter().map(|share| (Some(share.cluster.clone()), count(share)));
                    measured.answers.insert(service.key.clone(), answers.collect());
                }
            }
            if exported {
                let reading = Reading { load_rps: Some(load_rps), utilization: None };
                measured.readings.insert(service.key.clone(), reading);
            }
        }
        measured
    }

    /// Runs one round of all agents.
    fn round(&mut self) {
        for _ in 0..ROUND_SECONDS * 11 / 10 / COLLECT_SECONDS + 1 {
            self.now += COLLECT_SECONDS;
            for cluster in 0..CLUSTERS {
                let before = cpu_seconds();
                let measured = self.measured(cluster);
                self.overhead += cpu_seconds() - before;
                self.agents[cluster].apply([Change::Measured(Box::new(measured))], self.now);
            }
            self.publish();
        }
    }

    fn publish(&mut self) {
        let mut changed = Vec::new();
        for i in 0..CLUSTERS {
            let Some(own) = self.agents[i].published().cloned() else { continue };
            if self.published[i].as_ref().is_some_and(|last| Arc::ptr_eq(last, &own)) {
                continue;
            }
            let identity = Identity { cluster: id(i), instance: String::new() };
            for spec in parts(&own, &identity, START_SECONDS).into_iter().rev() {
                self.write(spec);
            }
            self.reported = self.published.iter().flatten().map(|facts| facts.services.len()).sum();
            self.published[i] = Some(own);
            changed.push(self.inbox.facts(&id(i)).unwrap());
        }
        for agent in self.agents.iter_mut().filter(|_| !changed.is_empty()) {
            agent.apply(changed.iter().cloned().map(PeerEvent::Reported), self.now + 1);
        }
    }

    fn write(&mut self, spec: ClusterFactsSpec) {
        let named = name(&spec.cluster, spec.part.unwrap());
        let timeless = ClusterFactsSpec { generation: None, observed_time: None, ..spec.clone() };
        let mut hasher = DefaultHasher::new();
        serde_json::to_vec(&timeless).unwrap().hash(&mut hasher);
        let before = self.on_broker.insert(named.clone(), hasher.finish());
        if spec.part > Some(0) && before == Some(hasher.finish()) {
            return;
        }
        self.written += serde_json::to_vec(&spec).unwrap().len();
        let spec_is_first = spec.part.unwrap_or(0) == 0;
        let mut object = api::ClusterFacts::new(&named, spec);
        let time = Timestamp::from_second(self.now.try_into().unwrap()).unwrap();
        object.metadata.managed_fields =
            Some(vec![ManagedFieldsEntry { time: Some(Time(time)), ..ManagedFieldsEntry::default() }]);
        let object = Object::ClusterFacts(Box::new(object));
        self.inbox.take(ObjectEvent::Apply { object, origin: None }, self.now);
        // Once per round and cluster is enough to see that nothing was refused.
        if spec_is_first {
            assert_eq!(self.inbox.state(self.now).rejected, BTreeMap::new());
        }
    }

    /// Prints how many shares change when facts stay the same, but reach each agent up to five rounds late.
    fn late(&mut self) {
        let mut random = Random(5);
        let ages: Vec<u64> = (0..CLUSTERS * CLUSTERS).map(|_| random.below(6).try_into().unwrap()).collect();
        let facts: Vec<Arc<ClusterFacts>> = (0..CLUSTERS).map(|i| self.inbox.facts(&id(i)).unwrap()).collect();
        let scaled = |facts: &ClusterFacts, by: f64| {
            let mut facts = facts.clone();
            Arc::make_mut(&mut facts.services)
                .values_mut()
                .for_each(|report| report.demand_rps = report.demand_rps.map(|rps| rps * by));
            Arc::new(facts)
        };
        let older: Vec<Arc<ClusterFacts>> = facts.iter().map(|facts| scaled(facts, 0.8)).collect();
        for agent in &mut self.agents {
            agent.apply([Change::Leads(false)], self.now);
        }
        for round in 0..10 {
            self.now += 2 * ROUND_SECONDS;
            let mut changed = 0;
            for (to, agent) in self.agents.iter_mut().enumerate() {
                let before = agent.plan().unwrap().clone();
                let reports = (0..CLUSTERS).map(|from| {
                    let arrived = ages[CLUSTERS * from + to] <= round;
                    let mut known = ClusterFacts::clone([&older, &facts][usize::from(arrived)][from].as_ref());
                    known.observed = Some(self.now);
                    Arc::make_mut(&mut known.services).values_mut().for_each(|report| report.at = self.now);
                    PeerEvent::Reported(Arc::new(known))
                });
                agent.apply(reports, self.now);
                let after = agent.plan().unwrap();
                let same = |key: &ServiceKey| {
                    before.get(key.as_str()).unwrap().shares == after.get(key.as_str()).unwrap().shares
                };
                changed += self.services.iter().filter(|service| !same(&service.key)).count();
            }
            println!("frozen facts, ages 0-5, round {round}: {changed} rows of shares changed");
        }
    }
}

/// Returns the CPU time of this process, to a hundredth of a second; 0 on other systems than Linux.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>();
    ticks / 100.0
}

/// Returns the peak memory of this process; 0 on other systems than Linux.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
