//! What this cluster is asked for, measured again and again by the replica that leads.

use crate::targets::Meter;
use crate::targets::Meters;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use landfall_core::name::ServiceKey;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::pod_metrics::{self, Usage};
use super::prometheus::{Prometheus, of_service};
use super::replicas::{collect, replicas};
use crate::answers::counters::{FORGET, Tallies, add};
use crate::change::Change;
use crate::kubernetes::lease::Leadership;
use crate::measured::{Measured, Reading};

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
                    Ok(Err(error)) => self.complaints.say("DNS replicas", crate::error_chain::chain(&error)),
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
                Err(error) => self.complaints.say(&replica.to_string(), crate::error_chain::chain(&error)),
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
        complaints.report(&format!("Prometheus about {key}"), whys);
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
    // One after the other, those of a metrics-server that hangs would hold up all readings.
    let one = |namespace: &str| {
        let namespace = namespace.to_owned();
        async move {
            let usage = timeout(PATIENCE, pod_metrics::usage(&sources.client, &namespace, (sources.clock)())).await;
            let usage = usage.map_err(|_| "no answer in time".to_owned());
            (namespace, usage.and_then(|usage| usage.map_err(|error| crate::error_chain::chain(&error))))
        }
    };
    let asked: Vec<_> =
        futures::stream::iter(namespaces.into_iter().map(one)).buffer_unordered(READINGS).collect().await;
    complaints.report("metrics.k8s.io", asked.iter().filter_map(|(_, usage)| usage.as_ref().err().cloned()).collect());
    asked.into_iter().filter_map(|(namespace, usage)| Some((namespace, usage.ok()?))).collect()
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

    /// All that is wrong with it, in one line, or two that fail in different ways would take turns and be said again and again.
    fn report(&mut self, of: &str, whys: BTreeSet<String>) {
        match whys.is_empty() {
            true => self.withdraw(of),
            false => self.say(of, Vec::from_iter(whys).join("; and ")),
        }
    }

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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    use http_body_util::Full;
    use hyper::body::Bytes;
    use hyper::{Request, Response};
    use kube::client::Body;

    use super::*;

    /// Of an API server that answers whatever it is asked with this status, and lists nothing. 0: it does not answer.
    fn sources(status: &Arc<AtomicU16>) -> Sources {
        let status = Arc::clone(status);
        let service = tower::service_fn(move |_: Request<Body>| {
            let code = status.load(Ordering::Relaxed);
            let body = if code == 200 { r#"{"items": []}"# } else { "no" };
            let response =
                Response::builder().status(code.max(100)).body(Full::new(Bytes::from_static(body.as_bytes())));
            async move {
                match code {
                    0 => std::future::pending().await,
                    _ => Ok::<_, Infallible>(response.unwrap()),
                }
            }
        });
        Sources {
            client: Client::new(service, "default"),
            replicas: Replicas::Given(Vec::new()),
            prometheus: None,
            meters: watch::channel(Meters::new()).1,
            clock: || 0,
        }
    }

    /// One export in each of three namespaces, without any query.
    fn meters() -> Meters {
        let meter = Meter { queries: Queries::default(), pods: BTreeSet::from(["pod".into()]) };
        let keys = ["shop", "bank", "post"].map(|namespace| ServiceKey::new(namespace, "web").unwrap());
        keys.into_iter().map(|key| (key, meter.clone())).collect()
    }

    #[tokio::test]
    async fn what_is_wrong_with_pod_metrics_is_one_complaint_and_none_when_all_is_well_again() {
        let status = Arc::new(AtomicU16::new(200));
        let (sources, meters) = (sources(&status), meters());
        let mut complaints = Complaints::default();
        for (code, expected) in [(404, 0), (503, 1), (503, 1), (500, 1), (200, 0), (503, 1), (404, 0)] {
            status.store(code, Ordering::Relaxed);
            let usages = usages(&sources, &meters, &mut complaints).await;
            assert_eq!(complaints.0.len(), expected, "{code}: {:?}", complaints.0);
            assert_eq!(usages.len(), if expected == 0 { meters.len() } else { 0 });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_metrics_server_that_hangs_is_waited_for_in_all_namespaces_at_once() {
        let began = Instant::now();
        let mut complaints = Complaints::default();
        assert!(usages(&sources(&Arc::default()), &meters(), &mut complaints).await.is_empty());
        assert!(began.elapsed() < 2 * PATIENCE, "{:?}", began.elapsed());
        assert_eq!(complaints.0["metrics.k8s.io"], "no answer in time");
    }
}
