//! Landfall shares the Submariner resource with Submariner's own operator.

use anyhow::{Context, Result, ensure};
use landfall_e2e::member::{DEFAULT_TIMEOUT, Namespace};
use landfall_e2e::{Member, await_condition, objects, run, with_temp_ns};
use serde_json::{Value, json};

const API: (&str, &str, &str) = ("submariner.io/v1alpha1", "Submariner", "submariner-operator");

#[test]
fn foreign_conditions_stay_and_the_own_condition_names_the_mode_in_force() -> Result<()> {
    run(async {
        let member = Member::start("submariner", "east").await?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": API.2}});
        objects::apply(member.cluster.client(), &namespace).await?;
        with_temp_ns(&member, "shared", async |ns| {
            ns.export("web", &[("west", "10.2.0.1"), ("north", "10.3.0.1")]).await?;

            objects::apply(member.cluster.client(), &submariner(Some("optimized"), true)).await?;
            has_condition(&member, "True", "Accepted").await?;
            in_force(&ns, "optimized", json!("DemandUnknown")).await?;

            objects::apply(member.cluster.client(), &submariner(Some("round-robin"), true)).await?;
            has_condition(&member, "True", "Accepted").await?;
            in_force(&ns, "round-robin", Value::Null).await?;

            objects::apply(member.cluster.client(), &submariner(Some("round-robin"), false)).await?;
            has_condition(&member, "False", "ServiceDiscoveryDisabled").await
        })
        .await
    })
}

/// Builds the resource as Submariner's operator writes it, with a condition and a field of its own.
fn submariner(mode: Option<&str>, service_discovery: impl Into<Value>) -> Value {
    json!({
        "apiVersion": API.0,
        "kind": API.1,
        "metadata": {"name": "submariner", "namespace": API.2},
        "spec": {
            "broker": "k8s",
            "brokerK8sApiServer": "broker.example.com:6443",
            "brokerK8sRemoteNamespace": "submariner-k8s-broker",
            "clusterID": "east",
            "namespace": API.2,
            "clusterCIDR": "",
            "serviceCIDR": "",
            "natEnabled": true,
            "debug": false,
            "ceIPSecDebug": false,
            "serviceDiscoveryEnabled": service_discovery.into(),
            "serviceDiscoveryLoadBalancing": mode,
        },
    })
}

/// Waits for Landfall's condition. Checks that the status of Submariner's operator is unchanged, before and after it
/// writes again.
async fn has_condition(member: &Member, status: &str, reason: &str) -> Result<()> {
    let api = objects::api(member.cluster.client(), API.0, API.1, Some(API.2));
    write_foreign_status(member).await?;
    await_condition(&format!("Landfall's condition is {status}, {reason}"), DEFAULT_TIMEOUT, async || {
        let object = api.get("submariner").await?;
        let found = &object.data["status"];
        let conditions = found["conditions"].as_array().context("no conditions")?;
        let of_type = |kind: &str| conditions.iter().find(|it| it["type"] == kind).cloned().unwrap_or_default();
        let own = of_type("landfall.dev/LoadBalancing");
        ensure!(own["status"] == status && own["reason"] == reason, "{found}");
        ensure!(of_type("Ready") == foreign_status()["conditions"][0], "the foreign condition changed: {found}");
        ensure!(found["networkPlugin"] == "generic", "the foreign field changed: {found}");
        Ok(())
    })
    .await
}

/// Writes the status as Submariner's operator does: it reads the object, changes its own part, and writes the whole
/// status back.
async fn write_foreign_status(member: &Member) -> Result<()> {
    let api = objects::api(member.cluster.client(), API.0, API.1, Some(API.2));
    await_condition("the foreign status is written", DEFAULT_TIMEOUT, async || {
        let mut object = api.get("submariner").await?;
        let foreign = foreign_status();
        let mut conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|it| it["type"] != "Ready");
        conditions.push(foreign["conditions"][0].clone());
        object.data["status"] = json!({"conditions": conditions, "networkPlugin": foreign["networkPlugin"]});
        // A conflict with a write of Landfall is possible; Submariner's operator retries as well.
        api.replace_status("submariner", &kube::api::PostParams::default(), &object).await?;
        Ok(())
    })
    .await
}

fn foreign_status() -> Value {
    json!({
        "networkPlugin": "generic",
        "conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "AllDeployed",
            "message": "all components are deployed",
            "lastTransitionTime": "2026-11-21T10:00:00Z",
        }],
    })
}

async fn in_force(ns: &Namespace<'_>, mode: &str, reason: Value) -> Result<()> {
    await_condition(&format!("{mode} is published with reason {reason}"), DEFAULT_TIMEOUT, async || {
        let status = ns.selection("web").await?["status"].clone();
        ensure!(status["mode"] == mode && status["reason"] == reason, "{status}");
        Ok(())
    })
    .await
}
