//! One cluster with the broker in it, for tests of the facts that a cluster publishes about its own exports.

use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use landfall_e2e::cluster::{Cluster, McsCrds};
use landfall_e2e::member::Namespace;
use landfall_e2e::objects;
use landfall_e2e::{Member, broker};
use serde_json::{Value, json};

pub(crate) const EAST: &str = "east";
pub(crate) const ADDRESS: &str = "10.1.0.1";

/// Configured capacity of a pod.
pub(crate) const RPS_PER_POD: f64 = 100.0;

/// Longest wait for a round: the one under way, the next one with its jitter of a tenth, and the time to publish.
pub(crate) const MAX_ROUND: Duration = Duration::from_secs(45);

/// Longest wait for a measurement; measurements are taken every ten seconds.
pub(crate) const MEASUREMENT_TIMEOUT: Duration = Duration::from_secs(12);

/// Starts the cluster. `more` are further arguments of its operator.
pub(crate) async fn start(name: &str, more: Vec<OsString>) -> Result<Member> {
    let cluster = Cluster::start(name, EAST, McsCrds::Current).await?;
    broker::prepare(&cluster, &[EAST]).await?;
    let kubeconfig = broker::kubeconfig(&cluster, EAST, cluster.control_plane.api_address().port()).await?;
    Member::start_with(cluster, &[], |dns| {
        let replica = dns.landfall.admin.to_string();
        let mut arguments =
            vec!["--broker-kubeconfig".into(), kubeconfig.into(), "--dns-replica".into(), replica.into()];
        arguments.extend(more);
        arguments
    })
    .await
}

/// Builds a policy that optimizes a service, with further settings.
pub(crate) fn policy(service: &str, more: &Value) -> Value {
    let mut optimized = json!({"roundSeconds": 30, "capacityRpsPerPod": RPS_PER_POD});
    for (name, setting) in more.as_object().into_iter().flatten() {
        optimized[name] = setting.clone();
    }
    objects::policy(service, json!({"loadBalancing": "optimized", "optimized": optimized}))
}

/// Returns the facts that east has published about a service.
pub(crate) async fn published(ns: &Namespace<'_>, service: &str) -> Result<Value> {
    let facts = broker::api(ns.member.cluster.client()).get("east-0").await?;
    let services = facts.data["spec"]["services"].as_array().context("no service is published")?;
    let published = services.iter().find(|it| it["namespace"] == ns.name && it["name"] == service);
    published.cloned().with_context(|| format!("{service} is not published: {services:?}"))
}

pub(crate) fn number(published: &Value, field: &str) -> Result<f64> {
    published[field].as_f64().with_context(|| format!("no {field}: {published}"))
}

/// Returns the lines of the operator's log that report a failed measurement of `about`.
pub(crate) fn warnings(member: &Member, about: &str) -> Result<Vec<String>> {
    let log = fs::read_to_string(member.cluster.folder().join("log/landfall-operator-a.log"))?;
    let lines = log.lines().filter(|line| line.contains("not measured") && line.contains(about));
    Ok(lines.map(String::from).collect())
}
