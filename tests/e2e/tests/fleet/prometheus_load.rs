//! With `--prometheus`, the queries of a policy measure the utilization of an export, and the load is published.
//! Without a reply, the load is estimated from DNS answers.

use anyhow::{Result, ensure};
use landfall_e2e::files::run_folder;
use landfall_e2e::member::{Namespace, SOON};
use landfall_e2e::objects::{self, Health};
use landfall_e2e::prometheus::Prometheus;
use landfall_e2e::wait::{holds_for, report};
use landfall_e2e::{await_condition, now, run, with_temp_ns};
use serde_json::json;

use super::single_cluster::{self, ADDRESS, EAST, READ, ROUND, RPS_PER_POD, number, policy, said};

const PODS: [&str; 4] = ["10.1.1.1", "10.1.1.2", "10.1.1.3", "10.1.1.4"];

/// Load at which four pods have a utilization of 0.8: each has a capacity of 50.
const LOAD_RPS: f64 = 160.0;
/// Largest change of a capacity in one round, as a factor.
const MOST_STEP: f64 = 1.2;

#[test]
fn load_from_prometheus_is_published_and_the_operator_continues_without_it_and_logs_it_once() -> Result<()> {
    run(async {
        let prometheus = Prometheus::start(&run_folder()?.join("metered-prometheus")).await?;
        let member = single_cluster::start("metered", vec!["--prometheus".into(), prometheus.url().into()]).await?;
        with_temp_ns(&member, "metered", async |ns| {
            prometheus.export(&metrics(&ns));
            scenario(&ns, &prometheus).await
        })
        .await
    })
}

async fn scenario(ns: &Namespace<'_>, prometheus: &Prometheus) -> Result<()> {
    let queries = json!({
        "loadQuery": r#"sum(requests_rps{namespace="$namespace",service="$service"})"#,
        "utilizationQuery": r#"avg(busy{namespace="$namespace",service="$service"})"#,
    });
    let wrong = json!({"loadQuery": "sum(", "utilizationQuery": "busy"});
    for (service, queries) in [("pay", queries), ("wrong", wrong)] {
        ns.export(service, &[(EAST, ADDRESS)]).await?;
        ns.apply(objects::local_slice(service, &PODS, Health::Ready)).await?;
        ns.apply(policy(service, &queries)).await?;
    }
    let since = now();
    let said = await_condition("the measured load is published", ROUND, async || {
        let said = said(ns, "pay").await?;
        ensure!(number(&said, "loadRps")? > 0.0 && said["loadFromAnswers"].is_null(), "{said}");
        Ok(said)
    })
    .await?;
    report(&format!("metered: {said} after {:?}", since.elapsed()));
    ensure!((number(&said, "loadRps")? - LOAD_RPS).abs() < 1.0, "{said}");
    let configured = RPS_PER_POD * PODS.len() as f64;
    ensure!((number(&said, "capacityRps")? - configured / MOST_STEP).abs() < 1.0, "{said}");
    let other = single_cluster::said(ns, "wrong").await?;
    ensure!((number(&other, "capacityRps")? - configured).abs() < 1.0, "{other}");
    let complaints = complaints(ns, "wrong")?;
    ensure!(complaints.len() == 1, "{complaints:#?}");
    for words in ["parse error", "8 samples"] {
        ensure!(complaints[0].contains(words), "the log does not contain {words}: {complaints:?}");
    }

    prometheus.stop()?;
    await_condition("the operator logs that Prometheus does not answer", READ + SOON, async || {
        let complaints = self::complaints(ns, "pay")?;
        ensure!(complaints.iter().any(|it| it.contains("cannot be asked")), "{complaints:?}");
        Ok(())
    })
    .await?;
    // An additional pod is published at once.
    ns.apply(objects::local_slice("wrong", &[PODS.as_slice(), &["10.1.1.5"]].concat(), Health::Ready)).await?;
    holds_for("the operator continues without Prometheus and has logged it once", READ, async || {
        let complaints = self::complaints(ns, "pay")?;
        ensure!(complaints.len() == 1, "{complaints:#?}");
        ns.member.operator.process.check_running()?;
        ns.answers_now("pay", ADDRESS).await
    })
    .await?;
    await_condition("the additional pod is published", SOON, async || {
        let said = single_cluster::said(ns, "wrong").await?;
        ensure!(number(&said, "capacityRps")? > configured, "{said}");
        Ok(())
    })
    .await
}

/// Returns the metrics of the pods of `pay`, and of a service with the same name in another namespace.
fn metrics(ns: &Namespace<'_>) -> String {
    let mut metrics = String::new();
    for (namespace, rps, busy) in [(ns.name, [25, 35, 45, 55], [0.9, 0.7, 0.85, 0.75]), ("other", [999; 4], [0.1; 4])] {
        for (pod, (rps, busy)) in rps.iter().zip(busy).enumerate() {
            let labels = format!("{{namespace=\"{namespace}\",service=\"pay\",pod=\"{pod}\"}}");
            metrics += &format!("requests_rps{labels} {rps}\nbusy{labels} {busy}\n");
        }
    }
    metrics
}

/// Returns the lines of the operator's log that report a failed measurement of a service.
fn complaints(ns: &Namespace<'_>, service: &str) -> Result<Vec<String>> {
    single_cluster::complaints(ns.member, &format!("{}/{service}", ns.name))
}
