//! A simulated fleet: all clusters, the network between them, their clients, and the broker.

use std::collections::BTreeMap;

use landfall_api::ClusterFacts;
use landfall_controller::measured::Reading;
use landfall_core::name::{ClusterId, ServiceKey};

use crate::cluster::Cluster;
use crate::manifests::{PRICES, applied, export, import, node, objects, pods, policy};

/// Start of every test, by the broker's clock.
const START: u64 = 1_800_000_000;

pub(crate) const ROUND: u64 = 30;

/// Every pod has a capacity of 10 requests per second.
pub(crate) const OPTIMIZED: &str = "{loadBalancing: optimized, optimized: {roundSeconds: 30, capacityRpsPerPod: 10}}";

pub(crate) fn web() -> ServiceKey {
    ServiceKey::new("shop", "web").unwrap()
}

pub(crate) type Delay = Box<dyn FnMut(usize, usize) -> u64>;

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) broker: BTreeMap<String, (ClusterFacts, u64)>,
    /// Delay of the objects of one cluster at another, in seconds.
    pub(crate) delay: Delay,
    under_way: Vec<(u64, usize, ClusterFacts, u64)>,
    /// Write time of the newest object of each name that a cluster has received.
    newest: BTreeMap<(usize, String), u64>,
    policy: &'static str,
    rtt_ms: fn(usize, usize) -> f64,
    pods: BTreeMap<(&'static str, &'static str), usize>,
    demand: BTreeMap<(&'static str, &'static str), f64>,
    /// Requests that a client makes with one answer.
    requests_per_answer: f64,
    /// Real capacity of a pod, if it is measured.
    pod_capacity_rps: Option<f64>,
    /// Unreachable clusters.
    dead: Vec<&'static str>,
}

impl World {
    /// Creates clusters that are as near to each other as pods of one cluster are.
    pub(crate) fn new(clusters: &[&'static str], policy: &'static str) -> Self {
        Self {
            now: START,
            clusters: clusters.iter().map(|id| Cluster::new(id)).collect(),
            broker: BTreeMap::new(),
            delay: Box::new(|_, _| 0),
            under_way: Vec::new(),
            newest: BTreeMap::new(),
            policy,
            rtt_ms: |_, _| 0.5,
            pods: BTreeMap::new(),
            demand: BTreeMap::new(),
            requests_per_answer: 1.0,
            pod_capacity_rps: None,
            dead: Vec::new(),
        }
    }

    pub(crate) fn with_rtt_ms(mut self, rtt_ms: fn(usize, usize) -> f64) -> Self {
        self.rtt_ms = rtt_ms;
        self
    }

    /// Adds an export with this number of ready pods.
    pub(crate) fn with_export(mut self, service: &'static str, cluster: &'static str, ready: usize) -> Self {
        self.pods.insert((service, cluster), ready);
        self
    }

    /// Sets the demand of a cluster for a service.
    pub(crate) fn with_demand(mut self, cluster: &'static str, service: &'static str, rps: f64) -> Self {
        self.demand.insert((cluster, service), rps);
        self
    }

    /// Sets the number of requests that a client makes with one answer.
    pub(crate) fn with_requests_per_answer(mut self, requests: f64) -> Self {
        self.requests_per_answer = requests;
        self
    }

    /// Sets the real capacity of a pod, whatever the policy says. Utilization is then measured.
    pub(crate) fn with_pod_capacity(mut self, rps: f64) -> Self {
        self.pod_capacity_rps = Some(rps);
        self
    }

    /// Starts all clusters.
    pub(crate) fn started(mut self) -> Self {
        for i in 0..self.clusters.len() {
            self.restart(i);
        }
        self
    }

    pub(crate) fn restart(&mut self, i: usize) {
        let objects = self.objects_of(self.clusters[i].id.clone().as_str());
        self.clusters[i].restart(objects);
        self.clusters[i].list(self.broker.values().map(|(object, _)| object.clone()), self.now);
    }

    fn objects_of(&self, cluster: &str) -> Vec<landfall_controller::object::Object> {
        let mut text = policy(self.policy) + &node("us-east-1a") + "---\n" + PRICES;
        let services: std::collections::BTreeSet<&str> = self.pods.keys().map(|(service, _)| *service).collect();
        for service in services {
            let exporters: Vec<&str> = self.pods.keys().filter(|(of, _)| *of == service).map(|(_, c)| *c).collect();
            text += &import(service, &exporters);
        }
        for ((service, exporter), ready) in &self.pods {
            text += &export(service, exporter, &self.address(exporter), *ready > 0);
            if *exporter == cluster {
                text += &pods(service, *ready);
            }
        }
        objects(&text)
    }

    fn address(&self, cluster: &str) -> String {
        format!("10.100.0.{}", self.index(cluster) + 1)
    }

    pub(crate) fn index(&self, cluster: &str) -> usize {
        self.clusters.iter().position(|known| known.id.as_str() == cluster).unwrap()
    }

    pub(crate) fn of(&self, cluster: &str) -> &Cluster {
        &self.clusters[self.index(cluster)]
    }

    pub(crate) fn of_mut(&mut self, cluster: &str) -> &mut Cluster {
        let i = self.index(cluster);
        &mut self.clusters[i]
    }

    /// Changes the number of ready pods of an export.
    pub(crate) fn scale(&mut self, service: &'static str, cluster: &'static str, ready: usize) {
        let before = self.pods.insert((service, cluster), ready).unwrap_or(0);
        let address = self.address(cluster);
        let now = self.now;
        let own = || applied(objects(&pods(service, ready)));
        self.of_mut(cluster).see(own, now);
        if (before > 0) != (ready > 0) {
            let seen = || applied(objects(&export(service, cluster, &address, ready > 0)));
            self.clusters.iter_mut().for_each(|of| of.see(seen, now));
        }
    }

    pub(crate) fn demand(&mut self, cluster: &'static str, service: &'static str, rps: f64) {
        self.demand.insert((cluster, service), rps);
    }

    /// Kills a cluster with everything that could report its failure.
    pub(crate) fn kill(&mut self, cluster: &'static str) {
        self.dead.push(cluster);
        self.of_mut(cluster).runs = false;
    }

    pub(crate) fn revive(&mut self, cluster: &'static str) {
        self.dead.retain(|dead| *dead != cluster);
        let i = self.index(cluster);
        self.clusters[i].runs = true;
        self.restart(i);
    }

    /// Disconnects all clusters from the broker.
    pub(crate) fn lose_broker(&mut self) {
        let now = self.now;
        self.clusters.iter_mut().for_each(|cluster| cluster.lose(now));
    }

    pub(crate) fn find_broker(&mut self) {
        for cluster in &mut self.clusters {
            cluster.list(self.broker.values().map(|(object, _)| object.clone()), self.now);
        }
    }

    pub(crate) fn run(&mut self, seconds: u64) {
        self.watch(seconds, |_| {});
    }

    /// Runs second by second, and calls `each` after every second.
    pub(crate) fn watch(&mut self, seconds: u64, mut each: impl FnMut(&Self)) {
        for _ in 0..seconds {
            self.tick();
            each(self);
        }
    }

    fn tick(&mut self) {
        self.now += 1;
        let now = self.now;
        let loads = self.loads();
        let ids: Vec<ClusterId> = self.clusters.iter().map(|cluster| cluster.id.clone()).collect();
        self.deliver();
        let running = self.clusters.iter_mut().enumerate().filter(|(_, cluster)| cluster.runs);
        for (i, cluster) in running {
            let own = cluster.id.clone();
            let answers = |id: &ClusterId| !self.dead.iter().any(|dead| *dead == id.as_str());
            let rtt = |(j, id): (usize, &ClusterId)| (id.clone(), answers(id).then(|| (self.rtt_ms)(i, j)));
            cluster.probe(ids.iter().enumerate().filter(|(_, id)| **id != own).map(rtt), now);
            for ((source, service), rps) in &self.demand {
                if *source == own.as_str() {
                    cluster.answer(&ServiceKey::new("shop", service).unwrap(), *rps / self.requests_per_answer);
                }
            }
            let exported = self.pods.iter().filter(|((_, exporter), _)| *exporter == own.as_str());
            let reading = |((service, exporter), ready): (&(&'static str, &'static str), &usize)| {
                let load = loads.get(&(*service, *exporter)).copied().unwrap_or(0.0);
                let utilization = self.pod_capacity_rps.map(|rps| load / (rps * *ready as f64));
                let reading = Reading { load_rps: Some(load), utilization };
                (ServiceKey::new("shop", service).unwrap(), reading)
            };
            cluster.measure(exported.map(reading), now);
            cluster.step(now);
        }
        for from in 0..self.clusters.len() {
            let objects = self.clusters[from].writes(now);
            objects.into_iter().for_each(|object| self.write(object, from));
        }
    }

    /// Writes an object on the broker.
    pub(crate) fn write(&mut self, object: ClusterFacts, from: usize) {
        // An API server does not write an unchanged object.
        let named = object.metadata.name.as_deref().unwrap();
        if self.broker.get(named).is_some_and(|(known, _)| known.spec == object.spec) {
            return;
        }
        self.broker.insert(object.metadata.name.clone().unwrap(), (object.clone(), self.now));
        for to in 0..self.clusters.len() {
            let at = self.now + 1 + if from == to { 0 } else { (self.delay)(from, to) };
            self.under_way.push((at, to, object.clone(), self.now));
        }
    }

    fn deliver(&mut self) {
        let (due, later) = std::mem::take(&mut self.under_way).into_iter().partition(|(at, ..)| *at <= self.now);
        self.under_way = later;
        let due: Vec<(u64, usize, ClusterFacts, u64)> = due;
        for (_, to, object, written) in due {
            // A watch never delivers an older version after a newer one.
            let newest = self.newest.entry((to, object.metadata.name.clone().unwrap())).or_default();
            let is_newest = written >= *newest;
            *newest = written.max(*newest);
            if is_newest && self.clusters[to].connected && self.clusters[to].runs {
                self.clusters[to].receive(object, self.now);
            }
        }
    }

    /// Returns the present load of each export, by service and exporter.
    pub(crate) fn loads(&self) -> BTreeMap<(&'static str, &'static str), f64> {
        let mut loads = BTreeMap::new();
        for ((source, service), rps) in &self.demand {
            let source = self.of(source);
            let served = source.served(&ServiceKey::new("shop", service).unwrap());
            for (of, exporter) in self.pods.keys().filter(|(of, _)| of == service && source.runs) {
                *loads.entry((*of, *exporter)).or_insert(0.0) += rps * served.get(*exporter).copied().unwrap_or(0.0);
            }
        }
        loads
    }

    /// Returns the shares that the clients of each cluster are served, by exporter.
    pub(crate) fn shares(&self, service: &str) -> BTreeMap<ClusterId, BTreeMap<ClusterId, f64>> {
        let key = ServiceKey::new("shop", service).unwrap();
        let running = self.clusters.iter().filter(|cluster| cluster.runs);
        running.map(|cluster| (cluster.id.clone(), cluster.served(&key))).collect()
    }

    /// Returns the share of an exporter for the clients of one source cluster.
    pub(crate) fn share(&self, source: &str, exporter: &str) -> f64 {
        self.of(source).served(&web()).get(exporter).copied().unwrap_or(0.0)
    }

    /// Returns by exporter the load of a pod relative to an equal load of all ready pods of the fleet.
    pub(crate) fn unfairness(&self, service: &'static str) -> BTreeMap<&'static str, f64> {
        let loads = self.loads();
        let ready = |exporter| self.pods.get(&(service, exporter)).copied().unwrap_or(0) as f64;
        let all: f64 = self.pods.iter().filter(|((of, _), _)| *of == service).map(|(_, ready)| *ready as f64).sum();
        let sum: f64 = loads.iter().filter(|((of, _), _)| *of == service).map(|(_, load)| load).sum();
        let of =
            |((_, exporter), load): (&(&str, &'static str), &f64)| (*exporter, load / ready(*exporter) / (sum / all));
        loads.iter().filter(|((of, e), _)| *of == service && ready(*e) > 0.0).map(of).collect()
    }
}

/// Returns the largest difference between two sets of shares.
pub(crate) fn moved<K: Ord>(
    before: &BTreeMap<K, BTreeMap<ClusterId, f64>>,
    after: &BTreeMap<K, BTreeMap<ClusterId, f64>>,
) -> f64 {
    let none = BTreeMap::new();
    let mut most = 0.0_f64;
    for (source, row) in before.iter().chain(after) {
        let (old, new) = (before.get(source).unwrap_or(&none), after.get(source).unwrap_or(&none));
        for exporter in row.keys() {
            let of = |row: &BTreeMap<ClusterId, f64>| row.get(exporter).copied().unwrap_or(0.0);
            most = most.max((of(old) - of(new)).abs());
        }
    }
    most
}
