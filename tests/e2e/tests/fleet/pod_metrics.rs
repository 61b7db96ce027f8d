//! Without a query in the policy, the utilization of an export is the CPU usage of its pods, as reported by a
//! metrics-server, divided by their requests. Utilization times capacity is published as the load. Without a
//! metrics-server, the load is estimated from DNS answers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_e2e::kubelet::{Kubelet, NODE};
use landfall_e2e::member::{Namespace, SOON};
use landfall_e2e::metrics_server::{MetricsServer, RESOLUTION};
use landfall_e2e::objects::{self, Health};
use landfall_e2e::wait::{report, while_it_holds};
use landfall_e2e::{await_condition, now, run, with_temp_ns};
use serde_json::{Value, json};

use super::single_cluster::{self, ADDRESS, EAST, READ, ROUND, RPS_PER_POD, number, policy, said};

const PODS: [&str; 4] = ["pay-1", "pay-2", "pay-3", "pay-4"];
/// Pod of the same namespace that belongs to no service.
const OTHER: &str = "batch-1";

/// CPU request of the serving container, in cores. The sidecar has none.
const REQUESTED: f64 = 0.5;
const SIDECAR_USES: f64 = 0.4;
/// CPU usage of each pod, in cores. The means are 0.5 and then 0.9 of the request.
const AT_FIRST: [f64; 4] = [0.15, 0.2, 0.3, 0.35];
const LATER: [f64; 4] = [0.4, 0.45, 0.5, 0.45];

/// Longest wait for the first usage, which needs two scrapes.
const TWO_SCRAPES: Duration = RESOLUTION.saturating_mul(3);

/// Longest wait for a change: the round in which it happens, and the next one.
const TWO_ROUNDS: Duration = ROUND.saturating_mul(2);

/// Longest wait until an API server notices that an aggregated API is gone. It checks every half minute.
const NOTICED: Duration = Duration::from_secs(60);

#[test]
fn load_from_a_metrics_server_is_published_and_the_operator_continues_without_it_and_logs_it_once() -> Result<()> {
    run(async {
        let member = single_cluster::start("pod-metrics", Vec::new()).await?;
        let kubelet = Kubelet::start(&member.cluster).await?;
        with_temp_ns(&member, "pod-metrics", async |ns| {
            uses(&kubelet, &ns, &AT_FIRST)?;
            export(&ns).await?;
            let mut metrics_server = MetricsServer::start(&member.cluster).await?;
            scenario(&ns, &kubelet, &mut metrics_server).await
        })
        .await
    })
}

async fn scenario(ns: &Namespace<'_>, kubelet: &Kubelet, metrics_server: &mut MetricsServer) -> Result<()> {
    await_condition("the metrics-server has measured the pods", TWO_SCRAPES, async || {
        let measured = metrics_server.pods(ns.name).await?;
        ensure!(measured.len() == PODS.len() + 1, "{measured:?}");
        Ok(())
    })
    .await?;
    let complaints = || single_cluster::complaints(ns.member, "metrics.k8s.io");
    ensure!(complaints()?.is_empty(), "warnings without a metrics-server: {:?}", complaints()?);

    is_told(ns, 0.5, PODS.len()).await?;
    uses(kubelet, ns, &LATER)?;
    is_told(ns, 0.9, PODS.len()).await?;
    // No autoscaler removes a pod at this utilization, so the removed pod is not expected to come back.
    ns.apply(slice(&PODS[..3])?).await?;
    is_told(ns, 0.9, 3).await?;

    metrics_server.stop()?;
    await_condition("the operator logs that the metrics-server is gone", READ + SOON, async || {
        let complaints = complaints()?;
        ensure!(complaints.iter().any(|it| it.contains("a metrics-server is registered")), "{complaints:?}");
        Ok(())
    })
    .await?;
    let look = async || {
        let complaints = complaints()?;
        ensure!(complaints.len() == 1, "{complaints:#?}");
        ns.member.operator.process.check_running()?;
        ns.answers_now("pay", ADDRESS).await
    };
    // An API server reports an aggregated API that just disappeared differently from one that it knows to be gone.
    while_it_holds("the operator continues without metrics-server and has logged it once", look, async {
        await_condition("the API server notices", NOTICED, async || {
            let (available, why) = metrics_server.availability().await?;
            ensure!(!available, "{why}");
            Ok(())
        })
        .await?;
        tokio::time::sleep(READ).await;
        ns.apply(slice(&PODS)?).await?;
        await_condition("the load from answers and the additional pod are published", TWO_ROUNDS, async || {
            let said = said(ns, "pay").await?;
            let capacity = number(&said, "capacityRps")?;
            ensure!(said["loadFromAnswers"] == true && is_near(capacity, bears(PODS.len())), "{said}");
            Ok(())
        })
        .await
    })
    .await?;

    metrics_server.restart().await?;
    is_told(ns, 0.9, PODS.len()).await?;
    ensure!(complaints()?.len() == 1, "{:#?}", complaints()?);
    metrics_server.stop()?;
    await_condition("the second outage is logged as well", READ + SOON, async || {
        ensure!(complaints()?.len() == 2, "{:#?}", complaints()?);
        Ok(())
    })
    .await
}

/// Waits until the broker has this number of pods with this utilization, as a measurement.
async fn is_told(ns: &Namespace<'_>, utilisation: f64, pods: usize) -> Result<()> {
    let since = now();
    let what = format!("the broker has {pods} pods with a utilization of {utilisation}");
    let said = await_condition(&what, TWO_SCRAPES + READ + TWO_ROUNDS, async || {
        let said = said(ns, "pay").await?;
        let (load, capacity) = (number(&said, "loadRps")?, number(&said, "capacityRps")?);
        let as_expected = is_near(load, utilisation * bears(pods)) && is_near(capacity, bears(pods));
        ensure!(as_expected && said["loadFromAnswers"].is_null(), "{said}");
        Ok(said)
    })
    .await?;
    report(&format!("pod metrics: {said} after {:?}", since.elapsed()));
    Ok(())
}

/// Returns the configured capacity. Learning a pod's capacity needs measured requests.
fn bears(pods: usize) -> f64 {
    RPS_PER_POD * pods as f64
}

fn is_near(is: f64, expected: f64) -> bool {
    (is - expected).abs() < 0.01 * expected
}

/// Creates running pods, and a service of all but one of them.
async fn export(ns: &Namespace<'_>) -> Result<()> {
    for pod in PODS.iter().chain([&OTHER]) {
        // A new namespace has no service account for its pods at first.
        await_condition(&format!("pod {pod} is admitted"), SOON, async || ns.apply(self::pod(pod)).await).await?;
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
fn uses(kubelet: &Kubelet, ns: &Namespace<'_>, cores: &[f64; 4]) -> Result<()> {
    let serving = PODS.into_iter().zip(*cores).chain([(OTHER, 4.0)]);
    for (pod, cores) in serving {
        kubelet.uses((ns.name, pod, "web"), cores)?;
        kubelet.uses((ns.name, pod, "sidecar"), SIDECAR_USES)?;
    }
    Ok(())
}
