//! With `--prometheus`, the queries of a policy say how busy an export is. That is what the others are told; and without an
//! answer a cluster goes on as if nobody measured.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_e2e::broker;
use landfall_e2e::cluster::{Cluster, McsCrds};
use landfall_e2e::files::run_folder;
use landfall_e2e::member::{Namespace, SOON};
use landfall_e2e::objects::{self, Health};
use landfall_e2e::prometheus::Prometheus;
use landfall_e2e::wait::{holds_for, report};
use landfall_e2e::{Member, await_condition, now, run, with_temp_ns};
use serde_json::{Value, json};

const EAST: &str = "east";
const ADDRESS: &str = "10.1.0.1";
const PODS: [&str; 4] = ["10.1.1.1", "10.1.1.2", "10.1.1.3", "10.1.1.4"];

/// A pod is said to bear so much, and 160 requests a second make four of them busy by 0.8: they bear 50 each.
const RPS_PER_POD: f64 = 100.0;
const LOAD_RPS: f64 = 160.0;
/// What a round believes of a difference at most, as a factor.
const MOST_STEP: f64 = 1.2;

/// A round and its jitter of a tenth, the one that was under way, and what comes after.
const ROUND: Duration = Duration::from_secs(45);

/// Meters are read every ten seconds.
const READ: Duration = Duration::from_secs(12);

#[test]
fn what_a_prometheus_says_is_what_the_broker_is_told_and_without_it_the_operator_goes_on_and_says_so_once() -> Result<()>
{
    run(async {
        let prometheus = Prometheus::start(&run_folder()?.join("metered-prometheus")).await?;
        let member = start(&prometheus).await?;
        with_temp_ns(&member, "metered", async |ns| {
            prometheus.export(&metrics(&ns));
            scenario(&ns, &prometheus).await
        })
        .await
    })
}

/// One cluster, in which the broker is, too.
async fn start(prometheus: &Prometheus) -> Result<Member> {
    let cluster = Cluster::start("metered", EAST, McsCrds::Current).await?;
    broker::prepare(&cluster, &[EAST]).await?;
    let way = broker::kubeconfig(&cluster, EAST, cluster.control_plane.api_address().port()).await?;
    Member::start_with(cluster, &[], |dns| {
        let replica = dns.landfall.admin.to_string();
        vec![
            "--broker-kubeconfig".into(),
            way.into(),
            "--dns-replica".into(),
            replica.into(),
            "--prometheus".into(),
            prometheus.url().into(),
        ]
    })
    .await
}

async fn scenario(ns: &Namespace<'_>, prometheus: &Prometheus) -> Result<()> {
    let queries = json!({
        "loadQuery": r#"sum(requests_rps{namespace="$namespace",service="$service"})"#,
        "utilisationQuery": r#"avg(busy{namespace="$namespace",service="$service"})"#,
    });
    let wrong = json!({"loadQuery": "sum(", "utilisationQuery": "busy"});
    for (service, queries) in [("pay", queries), ("wrong", wrong)] {
        ns.export(service, &[(EAST, ADDRESS)]).await?;
        ns.apply(objects::local_slice(service, &PODS, Health::Ready)).await?;
        ns.apply(policy(service, queries)).await?;
    }
    let since = now();
    let said = await_condition("the broker is told what was measured", ROUND, async || {
        let said = said(ns, "pay").await?;
        ensure!(number(&said, "loadRps")? > 0.0 && said["loadFromAnswers"].is_null(), "{said}");
        Ok(said)
    })
    .await?;
    report(&format!("metered: {said} after {:?}", since.elapsed()));
    ensure!((number(&said, "loadRps")? - LOAD_RPS).abs() < 1.0, "{said}");
    let configured = RPS_PER_POD * PODS.len() as f64;
    ensure!((number(&said, "capacityRps")? - configured / MOST_STEP).abs() < 1.0, "{said}");
    let other = self::said(ns, "wrong").await?;
    ensure!((number(&other, "capacityRps")? - configured).abs() < 1.0, "{other}");
    let complaints = complaints(ns, "wrong")?;
    ensure!(complaints.len() == 1, "{complaints:#?}");
    for words in ["parse error", "8 samples"] {
        ensure!(complaints[0].contains(words), "it does not say {words}: {complaints:?}");
    }

    prometheus.stop()?;
    await_condition("the operator says that Prometheus does not answer", READ + SOON, async || {
        let complaints = self::complaints(ns, "pay")?;
        ensure!(complaints.iter().any(|it| it.contains("cannot be asked")), "{complaints:?}");
        Ok(())
    })
    .await?;
    // Of a pod more the others are told at once.
    ns.apply(objects::local_slice("wrong", &[PODS.as_slice(), &["10.1.1.5"]].concat(), Health::Ready)).await?;
    holds_for("without Prometheus the operator goes on, and has said so", READ, async || {
        let complaints = self::complaints(ns, "pay")?;
        ensure!(complaints.len() == 1, "{complaints:#?}");
        ns.member.operator.process.check_running()?;
        ns.answers_now("pay", ADDRESS).await
    })
    .await?;
    await_condition("and tells the broker of one pod more", SOON, async || {
        let said = self::said(ns, "wrong").await?;
        ensure!(number(&said, "capacityRps")? > configured, "{said}");
        Ok(())
    })
    .await
}

fn policy(service: &str, queries: Value) -> Value {
    let mut optimized = json!({"roundSeconds": 30, "capacityRpsPerPod": RPS_PER_POD});
    for (name, query) in queries.as_object().into_iter().flatten() {
        optimized[name] = query.clone();
    }
    objects::policy(service, json!({"loadBalancing": "optimized", "optimized": optimized}))
}

/// Of the pods of `pay`, and of a service of the same name that is somebody else's.
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

/// What east says of a service on the broker.
async fn said(ns: &Namespace<'_>, service: &str) -> Result<Value> {
    let facts = broker::api(ns.member.cluster.client()).get("east-0").await?;
    let services = facts.data["spec"]["services"].as_array().context("nothing is said of any service")?;
    let said = services.iter().find(|it| it["namespace"] == ns.name && it["name"] == service);
    said.cloned().with_context(|| format!("nothing is said of {service}: {services:?}"))
}

fn number(said: &Value, field: &str) -> Result<f64> {
    said[field].as_f64().with_context(|| format!("no {field}: {said}"))
}

/// The lines of the operator's log by which nothing was measured of a service.
fn complaints(ns: &Namespace<'_>, service: &str) -> Result<Vec<String>> {
    let log = fs::read_to_string(ns.member.cluster.folder().join("log/landfall-operator-a.log"))?;
    let about = format!("{}/{service}", ns.name);
    let lines = log.lines().filter(|line| line.contains("not measured") && line.contains(&about));
    Ok(lines.map(String::from).collect())
}
