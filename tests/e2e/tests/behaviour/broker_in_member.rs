//! Broker in a namespace of a member cluster. The facts that clusters publish there are not mistaken for facts that
//! users write, which take precedence over measured ones.

use std::time::Duration;

use anyhow::{Result, ensure};
use landfall_e2e::broker::{self, facts};
use landfall_e2e::cluster::{Cluster, McsCrds};
use landfall_e2e::dump::dump;
use landfall_e2e::landfall::RELEASE_NAMESPACE;
use landfall_e2e::{Member, await_condition, objects, run};
use serde_json::json;

const EAST: &str = "east";

/// Longest wait for an urgent fact: a cluster publishes it within ten seconds.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn undone_drain_ends_if_the_broker_is_in_the_same_cluster() -> Result<()> {
    run(async {
        let cluster = Cluster::start("broker-at-home", EAST, McsCrds::Current).await?;
        broker::prepare(&cluster, &[EAST]).await?;
        let kubeconfig = broker::kubeconfig(&cluster, EAST, cluster.control_plane.api_address().port()).await?;
        let member =
            Member::start_with(cluster, &[], |_| vec!["--broker-kubeconfig".into(), kubeconfig.into()]).await?;
        let outcome = scenario(&member).await;
        if outcome.is_err() {
            dump(&member.cluster, None).await;
        }
        outcome
    })
}

async fn scenario(member: &Member) -> Result<()> {
    let client = member.cluster.client();
    let mut own = facts(EAST, EAST);
    own["metadata"]["namespace"] = json!(RELEASE_NAMESPACE);
    own["spec"]["drain"] = json!({"since": "2026-01-01T00:00:00Z", "overSeconds": 86_400});
    objects::apply(client, &own).await?;
    reports_drain(member, true).await?;
    objects::delete(client, &own).await?;
    reports_drain(member, false).await
}

/// Waits until the facts of east on the broker have a drain, or have none.
async fn reports_drain(member: &Member, expected: impl Into<serde_json::Value>) -> Result<()> {
    let expected = expected.into();
    await_condition(&format!("the broker has a drain of east: {expected}"), PUBLISH_TIMEOUT, async || {
        let published = broker::api(member.cluster.client()).get("east-0").await?;
        let spec = &published.data["spec"];
        ensure!(json!(spec["drain"].is_object()) == expected, "{spec}");
        Ok(())
    })
    .await
}
