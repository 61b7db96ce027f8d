//! Without a query in the policy, the utilization of an export is the CPU usage of its pods, as reported by a
//! metrics-server, divided by their requests. Utilization times capacity is published as the load. Without a
//! metrics-server, the load is estimated from DNS answers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_e2e::kubelet::{Kubelet, NODE};
use landfall_e2e::member::{DEFAULT_TIMEOUT, Namespace};
use landfall_e2e::metrics_server::{MetricsServer, RESOLUTION};
use landfall_e2e::objects::{self, Health};
use landfall_e2e::wait::{report, while_it_holds};
use landfall_e2e::{await_condition, now, run, with_temp_ns};
use serde_json::{Value, json};

use super::single_cluster::{
    self, ADDRESS, EAST, MAX_ROUND, MEASUREMENT_TIMEOUT, RPS_PER_POD, number, policy, published,
};

const PODS: [&str; 4] = ["pay-1", "pay-2", "pay-3", "pay-4"];
/// Pod of the same namespace that belongs to no service.
const OTHER: &str = "batch-1";

/// CPU request of the serving container, in cores. The sidecar has none.
const REQUESTED: f64 = 0.5;
const SIDECAR_CORES: f64 = 0.4;
/// CPU usage of each pod, in cores. The means are 0.5 and then 0.9 of the request.
const AT_FIRST: [f64; 4] = [0.15, 0.2, 0.3, 0.35];
const LATER: [f64; 4] = [0.4, 0.45, 0.5, 0.45];

/// Longest wait for the first usage, which needs two scrapes.
const FIRST_USAGE_TIMEOUT: Duration = RESOLUTION.saturating_mul(3);

/// Longest wait for a change: the round in which it happens, and the next one.
const TWO_ROUNDS: Duration = MAX_ROUND.saturating_mul(2);

/// Longest wait until an API server notices that an aggregated API is gone. It checks every half minute.
const UNAVAILABLE_TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn load_from_a_metrics_server_is_published_and_the_operator_continues_without_it_and_logs_it_once() -> Result<()> {
    run(async {
        let member = single_cluster::start("pod-metrics", Vec::new()).await?;
        let kubelet = Kubelet::start(&member.cluster).await?;
        with_temp_ns(&member, "pod-metrics", async |ns| {
            set_usage(&kubelet, &ns, &AT_FIRST)?;
            export(&ns).await?;
            let mut metrics_server = MetricsServer::start(&member.cluster).await?;
            scenario(&ns, &kubelet, &mut metrics_server).await
        })
        .await
    })
}

async fn scenario(ns: &Namespace<'_>, kubelet: &Kubelet, metrics_server: &mut MetricsServer) -> Result<()> {
    await_condition("the metrics-server has measured the pods", FIRST_USAGE_TIMEOUT, async || {
        let measured = metrics_server.pods(ns.name).await?;
        ensure!(measured.len() == PODS.len() + 1, "{measured:?}");
        Ok(())
    })
    .await?;
    let warnings = || single_cluster::warnings(ns.member, "metrics.k8s.io");
    ensure!(warnings()?.is_empty(), "warnings without a metrics-server: {:?}", warnings()?);

    is_published(ns, 0.5, PODS.len()).await?;
    set_usage(kubelet, ns, &LATER)?;
    is_published(ns, 0.9, PODS.len()).await?;
    // No autoscaler removes a pod at this utilization, so the removed pod is not expected to come back.
    ns.apply(slice(&PODS[..3])?).await?;
    is_published(ns, 0.9, 3).await?;

    metrics_server.stop()?;
    await_condition(
        "the operator logs that the metrics-server is gone",
        MEASUREMENT_TIMEOUT + DEFAULT_TIMEOUT,
        async || {
            let warnings = warnings()?;
            ensure!(warnings.iter().any(|it| it.contains("a metrics-server is registered")), "{warnings:?}");
            Ok(())
        },
    )
    .await?;
    let look = async || {
        let warnings = warnings()?;
        ensure!(warnings.len() == 1, "{warnings:#?}");
        ns.member.operator.process.check_running()?;
        ns.answers_now("pay", ADDRESS).await
    };
    // An API server reports an aggregated API that just disappeared differently from one that it knows to be gone.
    while_it_holds("the operator continues without metrics-server and has logged it once", look, async {
        await_condition("the API server notices", UNAVAILABLE_TIMEOUT, async || {
            let (available, why) = metrics_server.availability().await?;
            ensure!(!available, "{why}");
            Ok(())
        })
        .await?;
        tokio::time::sleep(MEASUREMENT_TIMEOUT).await;
        ns.apply(slice(&PODS)?).await?;
        await_condition("the load from answers and the additional pod are published", TWO_ROUNDS, async || {
            let published = published(ns, "pay").await?;
            let capacity = number(&published, "capacityRps")?;
            ensure!(published["loadFromAnswers"] == true && is_near(capacity, capacity_rps(PODS.len())), "{published}");
            Ok(())
        })
        .await
    })
    .await?;

    metrics_server.restart().await?;
    is_published(ns, 0.9, PODS.len()).await?;
    ensure!(warnings()?.len() == 1, "{:#?}", warnings()?);
    metrics_server.stop()?;
    await_condition("the second outage is logged as well", MEASUREMENT_TIMEOUT + DEFAULT_TIMEOUT, async || {
        ensure!(warnings()?.len() == 2, "{:#?}", warnings()?);
        Ok(())
    })
    .await
}

/// Waits until the broker has this number of pods with this utilization, as a measurement.
async fn is_published(ns: &Namespace<'_>, utilization: f64, pods: usize) -> Result<()> {
    let since = now();
    let what = format!("the broker has {pods} pods with a utilization of {utilization}");
    let published = await_condition(&what, FIRST_USAGE_TIMEOUT + MEASUREMENT_TIMEOUT + TWO_ROUNDS, async || {
        let published = published(ns, "pay").await?;
        let (load, capacity) = (number(&published, "loadRps")?, number(&published, "capacityRps")?);
        let as_expected = is_near(load, utilization * capacity_rps(pods)) && is_near(capacity, capacity_rps(pods));
        ensure!(as_expected && published["loadFromAnswers"].is_null(), "{published}");
        Ok(published)
    })
    .await?;
    report(&format!("pod metrics: {published} after {:?}", since.elapsed()));
    Ok(())
}

/// Returns the configured capacity. Learning a pod's capacity needs measured requests.
fn capacity_rps(pods: usize) -> f64 {
    RPS_PER_POD * pods as f64
}

fn is_near(is: f64, expected: f64) -> bool {
    (is - expected).abs() < 0.01 * expected
}

/// Creates running pods, and a service of all but one of them.
async fn export(ns: &Namespace<'_>) -> Result<()> {
    for pod in PODS.iter().chain([&OTHER]) {
        // A new namespace has no service account for its pods at first.
        await_condition(&format!("pod {pod} is admitted"), DEFAULT_TIMEOUT, async || ns.apply(self::pod(pod)).await)
            .await?;
    }
    ns.export("pay", &[(EAST, ADDRESS)]).await?;
    ns.apply(slice(&PODS)?).await?;
    ns.apply(policy("pay", &json!({}))).await
}

fn pod(name: &str) -> Value {
    let cpu = format!("{}m", 1000.0 * REQUESTED);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"nodeName": NODE, "containers": [
            {"name": "web", "image": "none", "resources": {"requests": {"cpu": cpu}}},
            {"name": "sidecar", "image": "none"},
        ]},
        "status": {"phase": "Running"},
    })
}

/// Builds the slice that Kubernetes' own controller writes, with the names of the pods.
fn slice(pods: &[&str]) -> Result<Value> {
    let addresses: Vec<String> = (1..=pods.len()).map(|pod| format!("10.1.1.{pod}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut slice = objects::local_slice("pay", &addresses, Health::Ready);
    let endpoints = slice["endpoints"].as_array_mut().context("no endpoints")?;
    for (endpoint, pod) in endpoints.iter_mut().zip(pods) {
        endpoint["targetRef"] = json!({"kind": "Pod", "name": pod});
    }
    Ok(slice)
}

/// Sets the CPU usage of the serving containers, and of all others to a fixed one.
fn set_usage(kubelet: &Kubelet, ns: &Namespace<'_>, cores: &[f64; 4]) -> Result<()> {
    let serving = PODS.into_iter().zip(*cores).chain([(OTHER, 4.0)]);
    for (pod, cores) in serving {
        kubelet.set_usage((ns.name, pod, "web"), cores)?;
        kubelet.set_usage((ns.name, pod, "sidecar"), SIDECAR_CORES)?;
    }
    Ok(())
}
