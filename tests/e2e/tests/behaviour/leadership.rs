//! Two replicas of the operator: one writes, and the other takes over when the first one ends, with or without notice.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_e2e::dump::dump;
use landfall_e2e::landfall::RELEASE_NAMESPACE;
use landfall_e2e::member::{DEFAULT_TIMEOUT, MAX_DELAY, Namespace};
use landfall_e2e::wait::{report, while_it_holds};
use landfall_e2e::{Member, await_condition, now, objects, run, with_temp_ns};
use serde_json::{Value, json};

/// Longest time until another replica leads after a crash of the leader.
const CRASH_TAKEOVER_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest time until another replica leads after the leader was terminated.
const TERMINATION_TAKEOVER_TIMEOUT: Duration = Duration::from_secs(2);

#[test]
fn killed_leader_is_replaced_within_15_seconds_while_dns_continues() -> Result<()> {
    run(async {
        let member = Member::start("leader-killed", "east").await?;
        leads(&member, "operator-a", DEFAULT_TIMEOUT).await?;
        let standby = member.start_operator("operator-b").await?;
        standby.ready().await?;
        with_temp_ns(&member, "first", async |ns| follows_weights(&ns, DEFAULT_TIMEOUT).await).await?;

        let died = now();
        member.operator.process.kill()?;
        let outcome = with_temp_ns(&member, "second", async |ns| {
            ns.export("web", &[("east", "10.1.0.1"), ("west", "10.2.0.1")]).await?;
            ns.answers("web", "10.1.0.1", MAX_DELAY).await?;
            let answered = async || ns.answers_now("web", "10.1.0.1").await;
            while_it_holds("DNS answers", answered, leads(&member, "operator-b", CRASH_TAKEOVER_TIMEOUT)).await?;
            report(&format!("a killed leader is replaced after {:?}", died.elapsed()));
            follows_weights(&ns, CRASH_TAKEOVER_TIMEOUT.saturating_sub(died.elapsed())).await
        })
        .await;
        outcome.context("after the leader was killed")
    })
}

#[test]
fn terminated_leader_hands_over_within_2_seconds_and_only_leaders_write() -> Result<()> {
    run(async {
        let member = Member::start("leader-stopped", "east").await?;
        leads(&member, "operator-a", DEFAULT_TIMEOUT).await?;
        let standby = member.start_operator("operator-b").await?;
        standby.ready().await?;
        with_temp_ns(&member, "first", async |ns| follows_weights(&ns, DEFAULT_TIMEOUT).await).await?;
        let first = writers(&member)?;
        ensure!(first.len() == 1, "{} credentials wrote selections, but one operator led: {first:?}", first.len());

        let leader = &member.operator.process;
        let (status, took) = leader.terminate(TERMINATION_TAKEOVER_TIMEOUT).await?;
        ensure!(status.success(), "the leader ended with {status}:\n{}", leader.last_lines(20));
        leads(&member, "operator-b", TERMINATION_TAKEOVER_TIMEOUT.saturating_sub(took)).await?;

        with_temp_ns(&member, "second", async |ns| follows_weights(&ns, DEFAULT_TIMEOUT).await).await?;
        let both = writers(&member)?;
        ensure!(both.len() == 2 && both.is_superset(&first), "the new leader did not write by itself: {both:?}");
        Ok(())
    })
}

/// Waits until `identity` holds the Lease.
async fn leads(member: &Member, identity: &str, timeout: Duration) -> Result<()> {
    let leases = objects::api(member.cluster.client(), "coordination.k8s.io/v1", "Lease", Some(RELEASE_NAMESPACE));
    let outcome = await_condition(&format!("{identity} leads"), timeout, async || {
        let holders: Vec<Value> =
            leases.list(&kube::api::ListParams::default()).await?.items.into_iter().map(holder).collect();
        ensure!(holders == [identity], "the holders of leases are {holders:?}");
        Ok(())
    })
    .await;
    if outcome.is_err() {
        dump(&member.cluster, None).await;
    }
    outcome
}

fn holder(lease: kube::api::DynamicObject) -> Value {
    lease.data["spec"]["holderIdentity"].clone()
}

/// Applies a policy and waits until DNS answers by it, which proves that an operator works.
async fn follows_weights(ns: &Namespace<'_>, timeout: Duration) -> Result<()> {
    ns.export("pay", &[("east", "10.1.0.1"), ("west", "10.2.0.1")]).await?;
    ns.apply(objects::policy("pay", objects::weighted(json!({"west": 0})))).await?;
    ns.answers("pay", "10.2.0.1", timeout).await
}

/// Returns the ids of the credentials that wrote ServiceSelections, from the audit log of the API server. Each replica
/// has its own token, and each token has an id.
fn writers(member: &Member) -> Result<BTreeSet<String>> {
    let log = fs::read_to_string(member.cluster.control_plane.audit_log())?;
    let mut writers = BTreeSet::new();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("the audit log has {line:?}"))?;
        if event["objectRef"]["resource"] == "serviceselections" {
            let id = &event["user"]["extra"]["authentication.kubernetes.io/credential-id"][0];
            writers.insert(id.as_str().with_context(|| format!("no credential id in {line}"))?.to_owned());
        }
    }
    Ok(writers)
}
