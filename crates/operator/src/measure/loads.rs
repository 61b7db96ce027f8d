//! Reads the loads of the own exports from Prometheus and `metrics.k8s.io`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use landfall_core::name::ServiceKey;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::pod_metrics::{self, Usage};
use super::prometheus::of_service;
use super::sources::{REQUEST_TIMEOUT, Sources, log_not_measured};
use crate::error_chain::chain;
use crate::log_once::LogOnce;
use landfall_controller::change::Change;
use landfall_controller::measured::{Measured, Reading};
use landfall_controller::targets::{LoadTarget, LoadTargets};

/// Interval between two reads of an export.
const READ_INTERVAL: Duration = Duration::from_secs(10);
/// Limit of concurrent reads.
const MAX_CONCURRENT_READS: usize = 8;

pub(super) async fn run(sources: &Sources, changes: &mpsc::Sender<Change>) {
    let mut ticks = interval(READ_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut log = LogOnce::default();
    loop {
        ticks.tick().await;
        let load_targets = sources.load_targets.borrow().clone();
        let readings = read(sources, &load_targets, &mut log).await;
        if readings.is_empty() {
            continue;
        }
        let measured = Measured { readings, ..Measured::default() };
        if changes.send(Change::Measured(Box::new(measured))).await.is_err() {
            return;
        }
    }
}

/// Reads all exports once.
async fn read(sources: &Sources, load_targets: &LoadTargets, log: &mut LogOnce) -> BTreeMap<ServiceKey, Reading> {
    let usages = usages(sources, load_targets, log).await;
    let one = |(key, target): (&ServiceKey, &LoadTarget)| {
        let (key, queries) = (key.clone(), target.queries.clone());
        let pods: Vec<String> = target.pods.iter().map(ToString::to_string).collect();
        let busy = usages.get(key.namespace()).and_then(|usage| usage.utilization(pods.iter().map(String::as_str)));
        async move {
            let load = query(sources, &key, queries.load.as_deref()).await;
            let utilization = query(sources, &key, queries.utilization.as_deref()).await;
            (key, load, utilization, busy)
        }
    };
    let readings: Vec<_> =
        futures::stream::iter(load_targets.iter().map(one)).buffer_unordered(MAX_CONCURRENT_READS).collect().await;
    let mut read = BTreeMap::new();
    for (key, load, utilization, busy) in readings {
        let whys: BTreeSet<String> =
            [&load, &utilization].into_iter().filter_map(|result| result.clone().err()).collect();
        log_problems(log, &format!("Prometheus about {key}"), whys);
        let value = |result: Result<Option<f64>, String>| result.ok().flatten();
        let reading = Reading { load_rps: value(load), utilization: value(utilization).or(busy) };
        read.insert(key, reading);
    }
    read
}

/// Reads the CPU of pods in the namespaces that have an export without a query for its utilization.
async fn usages(sources: &Sources, load_targets: &LoadTargets, log: &mut LogOnce) -> BTreeMap<String, Usage> {
    let has_query = |target: &LoadTarget| sources.prometheus.is_some() && target.queries.utilization.is_some();
    let namespaces: BTreeSet<&str> = load_targets
        .iter()
        .filter(|(_, target)| !has_query(target) && !target.pods.is_empty())
        .map(|(key, _)| key.namespace())
        .collect();
    // In sequence, the timeouts of a metrics-server that hangs would add up and delay all reads.
    let one = |namespace: &str| {
        let namespace = namespace.to_owned();
        async move {
            let usage =
                timeout(REQUEST_TIMEOUT, pod_metrics::usage(&sources.client, &namespace, (sources.clock)())).await;
            let usage = usage.map_err(|_| "no answer in time".to_owned());
            (namespace, usage.and_then(|usage| usage.map_err(|error| chain(&error))))
        }
    };
    let results: Vec<_> =
        futures::stream::iter(namespaces.into_iter().map(one)).buffer_unordered(MAX_CONCURRENT_READS).collect().await;
    log_problems(
        log,
        "metrics.k8s.io",
        results.iter().filter_map(|(_, usage)| usage.as_ref().err().cloned()).collect(),
    );
    results.into_iter().filter_map(|(namespace, usage)| Some((namespace, usage.ok()?))).collect()
}

/// Runs the query of an export. Returns `None` if there is no query, or no value for it.
async fn query(sources: &Sources, key: &ServiceKey, query: Option<&str>) -> Result<Option<f64>, String> {
    match (&sources.prometheus, query) {
        (Some(prometheus), Some(query)) => {
            prometheus.query(&of_service(query, key)).await.map_err(|error| error.to_string())
        }
        (None, Some(_)) => Err("the policy has a query; start the operator with --prometheus to use it".to_owned()),
        (_, None) => Ok(None),
    }
}

/// Logs all problems of a topic in one line. On lines of their own, two alternating problems would be logged again and
/// again.
fn log_problems(log: &mut LogOnce, of: &str, whys: BTreeSet<String>) {
    let why = Vec::from_iter(whys).join("; and ");
    if why.is_empty() {
        log.resolve(of);
    } else if log.is_new(of, &why) {
        log_not_measured(of, &why);
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
    use kube::Client;
    use kube::client::Body;
    use landfall_controller::accept::PrometheusQueries;
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::super::sources::Replicas;
    use super::*;

    /// Returns sources with an API server that answers every request with this status and an empty list. 0: no answer.
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
            load_targets: watch::channel(LoadTargets::new()).1,
            clock: || 0,
        }
    }

    /// Returns one export in each of three namespaces, without a query.
    fn load_targets() -> LoadTargets {
        let target = LoadTarget { queries: PrometheusQueries::default(), pods: BTreeSet::from(["pod".into()]) };
        let keys = ["shop", "bank", "post"].map(|namespace| ServiceKey::new(namespace, "web").unwrap());
        keys.into_iter().map(|key| (key, target.clone())).collect()
    }

    #[tokio::test]
    async fn problems_of_pod_metrics_are_one_topic_until_they_are_gone() {
        let status = Arc::new(AtomicU16::new(200));
        let (sources, load_targets) = (sources(&status), load_targets());
        let mut log = LogOnce::default();
        for (code, expected) in [(404, 0), (503, 1), (503, 1), (500, 1), (200, 0), (503, 1), (404, 0)] {
            status.store(code, Ordering::Relaxed);
            let usages = usages(&sources, &load_targets, &mut log).await;
            assert_eq!(log.unresolved().len(), expected, "{code}: {:?}", log.unresolved());
            assert_eq!(usages.len(), if expected == 0 { load_targets.len() } else { 0 });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn hanging_metrics_server_is_waited_for_in_all_namespaces_at_once() {
        let began = Instant::now();
        let mut log = LogOnce::default();
        assert!(usages(&sources(&Arc::default()), &load_targets(), &mut log).await.is_empty());
        assert!(began.elapsed() < 2 * REQUEST_TIMEOUT, "{:?}", began.elapsed());
        assert_eq!(log.unresolved()["metrics.k8s.io"], "no answer in time");
    }
}
