//! What this cluster is asked for, measured again and again by the replica that leads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use kube::Client;
use landfall_core::name::ServiceKey;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::answers::{FORGET, Tallies, add};
use super::collect::{collect, replicas};
use super::pod_metrics::{self, Usage};
use super::prometheus::{Prometheus, of_service};
use crate::accept::Queries;
use crate::lease::Leadership;
use crate::rounds::{Measured, Reading};
use crate::stores::Change;

/// Between two looks at the counters of the DNS replicas: what one that dies takes with it.
const COLLECT: Duration = Duration::from_secs(2);
/// Between two readings of a meter.
const READ: Duration = Duration::from_secs(10);
/// In looks: how often replicas are searched.
const SEARCH_EVERY: u32 = 10;
/// For a search.
const PATIENCE: Duration = Duration::from_secs(5);
/// Readings under way at once.
const READINGS: usize = 8;

/// Whom to ask.
#[derive(Debug, Clone)]
pub enum Replicas {
    /// Behind this Service.
    Found { namespace: String, service: String },
    /// As somebody says.
    Given(Vec<SocketAddr>),
}

/// An own export to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    pub queries: Queries,
    /// The ready ones.
    pub pods: BTreeSet<Box<str>>,
}

pub type Meters = BTreeMap<ServiceKey, Meter>;

pub struct Sources {
    pub client: Client,
    pub replicas: Replicas,
    pub prometheus: Option<Prometheus>,
    pub meters: watch::Receiver<Meters>,
    pub clock: fn() -> u64,
}

/// Measures while this replica leads, until nobody wants to know any more.
pub async fn run(sources: Sources, mut leadership: watch::Receiver<Leadership>, changes: mpsc::Sender<Change>) {
    loop {
        if leadership.wait_for(|leadership| *leadership == Leadership::Leader).await.is_err() {
            return;
        }
        if changes.send(Change::Leads(true)).await.is_err() {
            return;
        }
        tokio::select! {
            () = measure(&sources, &changes) => return,
            _ = leadership.wait_for(|leadership| *leadership != Leadership::Leader) => {}
        }
        if changes.send(Change::Leads(false)).await.is_err() {
            return;
        }
    }
}

/// Returns when the receiver is gone. Whoever is slow to say what a load is holds up nobody who counts answers.
async fn measure(sources: &Sources, changes: &mpsc::Sender<Change>) {
    tokio::select! {
        () = count(sources, changes) => {}
        () = meter(sources, changes) => {}
    }
}

async fn meter(sources: &Sources, changes: &mpsc::Sender<Change>) {
    let mut ticks = interval(READ);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut complaints = Complaints::default();
    loop {
        ticks.tick().await;
        let meters = sources.meters.borrow().clone();
        let readings = read(sources, &meters, &mut complaints).await;
        if readings.is_empty() {
            continue;
        }
        let measured = Measured { readings, ..Measured::default() };
        if changes.send(Change::Measured(Box::new(measured))).await.is_err() {
            return;
        }
    }
}

async fn count(sources: &Sources, changes: &mpsc::Sender<Change>) {
    let mut ticks = interval(COLLECT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut state = Collector::default();
    for turn in 0_u32.. {
        ticks.tick().await;
        if turn % SEARCH_EVERY == 0 || state.replicas.is_empty() {
            state.search(sources).await;
        }
        let measured = state.collect(sources).await;
        if changes.send(Change::Measured(Box::new(measured))).await.is_err() {
            return;
        }
    }
}

#[derive(Default)]
struct Collector {
    tallies: Tallies,
    replicas: Vec<SocketAddr>,
    /// When counters were last read.
    last: Option<Instant>,
    complaints: Complaints,
}

impl Collector {
    async fn search(&mut self, sources: &Sources) {
        match &sources.replicas {
            Replicas::Given(replicas) => self.replicas.clone_from(replicas),
            Replicas::Found { namespace, service } => {
                match timeout(PATIENCE, replicas(&sources.client, (namespace, service))).await {
                    Ok(Ok(found)) => {
                        match found.is_empty() {
                            true => self
                                .complaints
                                .say("DNS replicas", format!("none is ready behind Service {namespace}/{service}")),
                            false => self.complaints.withdraw("DNS replicas"),
                        }
                        self.replicas = found;
                    }
                    Ok(Err(error)) => self.complaints.say("DNS replicas", crate::watch::chain(&error)),
                    Err(_) => self.complaints.say("DNS replicas", "no answer in time".to_owned()),
                }
            }
        }
    }

    async fn collect(&mut self, sources: &Sources) -> Measured {
        let mut measured = Measured::default();
        let mut heard = false;
        let mut probes = BTreeSet::new();
        for (replica, page) in collect(&self.replicas).await {
            match page {
                Ok(page) => {
                    heard = true;
                    probes.extend(page.probe.iter().copied());
                    add(&mut measured.answers, self.tallies.step(&replica.to_string(), page, (sources.clock)()));
                    self.complaints.withdraw(&replica.to_string());
                }
                Err(error) => self.complaints.say(&replica.to_string(), crate::watch::chain(&error)),
            }
        }
        let now = Instant::now();
        if heard {
            let since = self.last.replace(now).unwrap_or(now);
            // After a longer silence it is not known what was answered meanwhile.
            let seconds = (now - since).as_secs_f64();
            measured.seconds = if seconds > FORGET as f64 { 0.0 } else { seconds };
            measured.probe_addresses = probes.into_iter().collect();
        }
        measured
    }
}

async fn read(sources: &Sources, meters: &Meters, complaints: &mut Complaints) -> BTreeMap<ServiceKey, Reading> {
    use futures::StreamExt;
    let usages = usages(sources, meters, complaints).await;
    let one = |(key, meter): (&ServiceKey, &Meter)| {
        let (key, queries) = (key.clone(), meter.queries.clone());
        let pods: Vec<String> = meter.pods.iter().map(ToString::to_string).collect();
        let busy = usages.get(key.namespace()).and_then(|usage| usage.utilisation(pods.iter().map(String::as_str)));
        async move {
            let load = ask(sources, &key, queries.load.as_deref()).await;
            let utilisation = ask(sources, &key, queries.utilisation.as_deref()).await;
            (key, load, utilisation, busy)
        }
    };
    let readings: Vec<_> = futures::stream::iter(meters.iter().map(one)).buffer_unordered(READINGS).collect().await;
    let mut read = BTreeMap::new();
    for (key, load, utilisation, busy) in readings {
        let whys: BTreeSet<String> =
            [&load, &utilisation].into_iter().filter_map(|asked| asked.clone().err()).collect();
        let of = format!("Prometheus about {key}");
        // In one line, or two queries that fail in different ways would take turns and be said again and again.
        match whys.is_empty() {
            true => complaints.withdraw(&of),
            false => complaints.say(&of, Vec::from_iter(whys).join("; and ")),
        }
        let value = |asked: Result<Option<f64>, String>| asked.ok().flatten();
        let reading = Reading { load_rps: value(load), utilisation: value(utilisation).or(busy) };
        read.insert(key, reading);
    }
    read
}

/// Of the namespaces in which anything is exported that no query is for.
async fn usages(sources: &Sources, meters: &Meters, complaints: &mut Complaints) -> BTreeMap<String, Usage> {
    let asked = |meter: &Meter| sources.prometheus.is_some() && meter.queries.utilisation.is_some();
    let namespaces: BTreeSet<&str> = meters
        .iter()
        .filter(|(_, meter)| !asked(meter) && !meter.pods.is_empty())
        .map(|(key, _)| key.namespace())
        .collect();
    let mut usages = BTreeMap::new();
    for namespace in namespaces {
        let of = format!("metrics.k8s.io about {namespace}");
        match timeout(PATIENCE, pod_metrics::usage(&sources.client, namespace, (sources.clock)())).await {
            Ok(Ok(usage)) => {
                complaints.withdraw(&of);
                usages.insert(namespace.to_owned(), usage);
            }
            Ok(Err(error)) => complaints.say(&of, crate::watch::chain(&error)),
            Err(_) => complaints.say(&of, "no answer in time".to_owned()),
        }
    }
    usages
}

async fn ask(sources: &Sources, key: &ServiceKey, query: Option<&str>) -> Result<Option<f64>, String> {
    match (&sources.prometheus, query) {
        (Some(prometheus), Some(query)) => {
            prometheus.query(&of_service(query, key)).await.map_err(|error| error.to_string())
        }
        (None, Some(_)) => Err("the policy has a query, and the operator no --prometheus".to_owned()),
        (_, None) => Ok(None),
    }
}

/// What was said once need not be said every two seconds.
#[derive(Default)]
struct Complaints(BTreeMap<String, String>);

impl Complaints {
    /// As many as are remembered; with more, each is said again.
    const MOST: usize = 1000;

    fn say(&mut self, of: &str, why: String) {
        if self.0.get(of) == Some(&why) {
            return;
        }
        tracing::warn!(of, why, "not measured");
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        self.0.insert(of.to_owned(), why);
    }

    fn withdraw(&mut self, of: &str) {
        self.0.remove(of);
    }
}
