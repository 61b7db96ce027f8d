//! With `--prometheus`, the queries of a policy measure the utilization of an export, and the load is published.
//! Without a reply, the load is estimated from DNS answers.

use anyhow::{Result, ensure};
use landfall_e2e::files::run_folder;
use landfall_e2e::member::{DEFAULT_TIMEOUT, Namespace};
use landfall_e2e::objects::{self, Health};
use landfall_e2e::prometheus::Prometheus;
use landfall_e2e::wait::{holds_for, report};
use landfall_e2e::{await_condition, now, run, with_temp_ns};
use serde_json::json;

use super::single_cluster::{
    self, ADDRESS, EAST, MAX_ROUND, MEASUREMENT_TIMEOUT, RPS_PER_POD, number, policy, published,
};

const PODS: [&str; 4] = ["10.1.1.1", "10.1.1.2", "10.1.1.3", "10.1.1.4"];

/// Load at which four pods have a utilization of 0.8: each has a capacity of 50.
const LOAD_RPS: f64 = 160.0;
/// Largest change of a capacity in one round, as a factor.
const MAX_STEP: f64 = 1.2;

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
    let published = await_condition("the measured load is published", MAX_ROUND, async || {
        let published = published(ns, "pay").await?;
        ensure!(number(&published, "loadRps")? > 0.0 && published["loadFromAnswers"].is_null(), "{published}");
        Ok(published)
    })
    .await?;
    report(&format!("metered: {published} after {:?}", since.elapsed()));
    ensure!((number(&published, "loadRps")? - LOAD_RPS).abs() < 1.0, "{published}");
    let configured = RPS_PER_POD * PODS.len() as f64;
    ensure!((number(&published, "capacityRps")? - configured / MAX_STEP).abs() < 1.0, "{published}");
    let other = single_cluster::published(ns, "wrong").await?;
    ensure!((number(&other, "capacityRps")? - configured).abs() < 1.0, "{other}");
    let warnings = warnings(ns, "wrong")?;
    ensure!(warnings.len() == 1, "{warnings:#?}");
    for words in ["parse error", "8 samples"] {
        ensure!(warnings[0].contains(words), "the log does not contain {words}: {warnings:?}");
    }

    prometheus.stop()?;
    await_condition(
        "the operator logs that Prometheus does not answer",
        MEASUREMENT_TIMEOUT + DEFAULT_TIMEOUT,
        async || {
            let warnings = self::warnings(ns, "pay")?;
            ensure!(warnings.iter().any(|it| it.contains("cannot reach Prometheus")), "{warnings:?}");
            Ok(())
        },
    )
    .await?;
    // An additional pod is published at once.
    ns.apply(objects::local_slice("wrong", &[PODS.as_slice(), &["10.1.1.5"]].concat(), Health::Ready)).await?;
    holds_for("the operator continues without Prometheus and has logged it once", MEASUREMENT_TIMEOUT, async || {
        let warnings = self::warnings(ns, "pay")?;
        ensure!(warnings.len() == 1, "{warnings:#?}");
        ns.member.operator.process.check_running()?;
        ns.answers_now("pay", ADDRESS).await
    })
    .await?;
    await_condition("the additional pod is published", DEFAULT_TIMEOUT, async || {
        let published = single_cluster::published(ns, "wrong").await?;
        ensure!(number(&published, "capacityRps")? > configured, "{published}");
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
fn warnings(ns: &Namespace<'_>, service: &str) -> Result<Vec<String>> {
    single_cluster::warnings(ns.member, &format!("{}/{service}", ns.name))
}
