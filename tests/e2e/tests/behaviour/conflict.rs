//! Precedence of policies for the same service: one is in force, and the other has a condition that says so.

use std::time::Duration;

use anyhow::{Result, ensure};
use landfall_e2e::member::{DEFAULT_TIMEOUT, Namespace};
use landfall_e2e::wait::holds_for;
use landfall_e2e::{await_condition, objects, run, two_clusters, with_temp_ns};
use serde_json::{Value, json};

const WEST: &str = "10.2.0.1";
const NORTH: &str = "10.3.0.1";

#[test]
fn older_of_two_policies_stays_in_force_and_the_newer_gets_a_condition() -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "conflict", async |ns| {
            ns.export("pay", &[("west", WEST), ("north", NORTH)]).await?;
            // By name, the other policy would come first.
            let older = named("z-older", objects::policy("pay", objects::weighted(json!({"west": 0}))));
            let newer = named("a-newer", objects::policy("pay", objects::weighted(json!({"north": 0}))));
            ns.apply(older).await?;
            ns.answers("pay", WEST, DEFAULT_TIMEOUT).await?;
            apply_in_a_later_second(&ns, newer).await?;

            let message = refused(&ns, "a-newer", "Conflicted").await?;
            ensure!(message.contains("z-older"), "the message does not name the policy in force: {message}");
            accepted(&ns, "z-older").await?;
            let still = async || ns.answers_now("pay", WEST).await;
            holds_for("the older policy is in force", Duration::from_secs(1), still).await?;

            ns.delete("landfall.dev/v1alpha1", "SelectionPolicy", "z-older").await?;
            ns.answers("pay", NORTH, DEFAULT_TIMEOUT).await?;
            accepted(&ns, "a-newer").await
        })
        .await
    })
}

#[test]
fn policy_for_a_service_overrides_the_policy_of_its_namespace() -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "specific", async |ns| {
            ns.export("pay", &[("west", WEST), ("north", NORTH)]).await?;
            ns.apply(objects::namespace_policy("all", objects::weighted(json!({"north": 0})))).await?;
            ns.answers("pay", NORTH, DEFAULT_TIMEOUT).await?;
            ns.apply(objects::policy("pay", objects::weighted(json!({"west": 0})))).await?;
            ns.answers("pay", WEST, DEFAULT_TIMEOUT).await?;
            accepted(&ns, "all").await?;
            accepted(&ns, "pay").await
        })
        .await
    })
}

#[test]
fn policy_for_a_missing_service_gets_a_condition() -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "target", async |ns| {
            ns.apply(objects::policy("pay", objects::weighted(json!({"west": 0})))).await?;
            let message = refused(&ns, "pay", "TargetNotFound").await?;
            ensure!(message.contains(&format!("{}/pay", ns.name)), "the message does not name the service: {message}");
            ns.export("pay", &[("west", WEST), ("north", NORTH)]).await?;
            accepted(&ns, "pay").await
        })
        .await
    })
}

fn named(name: &str, mut policy: Value) -> Value {
    policy["metadata"]["name"] = json!(name);
    policy
}

/// Applies a policy until it has a later creation time than the older policy. Creation times have whole seconds.
async fn apply_in_a_later_second(ns: &Namespace<'_>, policy: Value) -> Result<()> {
    let created = async |name| anyhow::Ok(policy_named(ns, name).await?["metadata"]["creationTimestamp"].clone());
    let older = created("z-older").await?;
    await_condition("the newer policy is newer", DEFAULT_TIMEOUT, async || {
        ns.apply(policy.clone()).await?;
        let newer = created("a-newer").await?;
        if newer == older {
            ns.delete("landfall.dev/v1alpha1", "SelectionPolicy", "a-newer").await?;
        }
        ensure!(newer != older, "both were created at {older}");
        Ok(())
    })
    .await
}

async fn policy_named(ns: &Namespace<'_>, name: &str) -> Result<Value> {
    ns.read("landfall.dev/v1alpha1", "SelectionPolicy", name).await
}

async fn accepted(ns: &Namespace<'_>, name: &str) -> Result<()> {
    condition(ns, name, "True", "Accepted").await?;
    Ok(())
}

async fn refused(ns: &Namespace<'_>, name: &str, reason: &str) -> Result<String> {
    condition(ns, name, "False", reason).await
}

/// Waits until the condition `Accepted` has this status and reason for the present spec. Returns its message.
async fn condition(ns: &Namespace<'_>, name: &str, status: &str, reason: &str) -> Result<String> {
    await_condition(&format!("{name} has Accepted={status}"), DEFAULT_TIMEOUT, async || {
        let policy = policy_named(ns, name).await?;
        let condition = &policy["status"]["conditions"][0];
        let as_expected =
            condition["type"] == "Accepted" && condition["status"] == status && condition["reason"] == reason;
        ensure!(
            as_expected && condition["observedGeneration"] == policy["metadata"]["generation"],
            "{}",
            policy["status"]
        );
        Ok(condition["message"].as_str().unwrap_or_default().to_owned())
    })
    .await
}
