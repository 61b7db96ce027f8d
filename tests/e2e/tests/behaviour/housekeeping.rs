//! The operator leaves no objects behind, and does not rewrite unchanged objects.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_e2e::member::{DEFAULT_TIMEOUT, Namespace};
use landfall_e2e::objects::{self, Health};
use landfall_e2e::wait::{holds_for, while_it_holds};
use landfall_e2e::{Member, await_condition, run, two_clusters, with_temp_ns};
use serde_json::{Value, json};

const IMPORT: (&str, &str) = ("multicluster.x-k8s.io/v1beta1", "ServiceImport");
const SELECTION: (&str, &str) = ("landfall.dev/v1alpha1", "ServiceSelection");

/// Time for which objects are rewritten without a change that matters.
const REWRITE_SPAN: Duration = Duration::from_secs(5);

#[test]
fn selection_is_deleted_with_its_import_even_if_the_operator_was_away() -> Result<()> {
    run(async {
        let member = Member::start("orphans", "east").await?;
        with_temp_ns(&member, "orphans", async |ns| {
            for service in ["first", "second", "third"] {
                ns.export(service, &[("west", "10.2.0.1")]).await?;
                published(&ns, service).await?;
            }
            ns.delete(IMPORT.0, IMPORT.1, "first").await?;
            gone(&ns, "first").await?;

            // SIGTERM releases the lease, so the next operator need not wait until it expires.
            member.operator.process.terminate(DEFAULT_TIMEOUT).await?;
            ns.delete(IMPORT.0, IMPORT.1, "second").await?;
            let operator = member.start_operator("operator-b").await?;
            operator.ready().await?;
            gone(&ns, "second").await?;
            published(&ns, "third").await
        })
        .await
    })
}

#[test]
fn deleted_or_changed_selection_is_written_again() -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "again", async |ns| {
            ns.export("pay", &[("west", "10.2.0.1")]).await?;
            published(&ns, "pay").await?;
            ns.delete(SELECTION.0, SELECTION.1, "pay").await?;
            published(&ns, "pay").await?;
            let mut changed = ns.selection("pay").await?;
            let status = changed["status"].take();
            changed =
                json!({"apiVersion": SELECTION.0, "kind": SELECTION.1, "metadata": {"name": "pay"}, "status": status});
            changed["status"]["clusters"][0]["weight"] = json!(7);
            ns.apply(changed).await?;
            published(&ns, "pay").await
        })
        .await
    })
}

#[test]
fn events_without_a_change_cause_no_write() -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "quiet", async |ns| {
            ns.export("pay", &[("west", "10.2.0.1"), ("north", "10.3.0.1")]).await?;
            ns.apply(objects::policy("pay", objects::weighted(json!({"north": 1, "west": 2})))).await?;
            await_condition("the policy is accepted and published", DEFAULT_TIMEOUT, async || {
                let policy = ns.read("landfall.dev/v1alpha1", "SelectionPolicy", "pay").await?;
                ensure!(policy["status"]["services"] == 1, "{}", policy["status"]);
                ensure!(
                    ns.selection("pay").await?["status"]["policy"] == format!("{}/pay", ns.name),
                    "another policy is published"
                );
                Ok(())
            })
            .await?;
            let before = versions(&ns).await?;
            let same = async || {
                let now = versions(&ns).await?;
                ensure!(now == before, "{now:?} instead of {before:?}");
                Ok(())
            };
            while_it_holds("nothing is written", same, noise(&ns)).await?;
            holds_for("nothing is written afterwards", Duration::from_secs(1), same).await
        })
        .await
    })
}

/// Rewrites the import and a slice with a meaningless annotation for a while.
async fn noise(ns: &Namespace<'_>) -> Result<()> {
    let mut round = 0;
    let mut rewrite = async || {
        round += 1;
        let annotations = json!({"example.com/round": round.to_string()});
        let import = objects::import("pay", &["west", "north"]);
        let slice = objects::slice("pay", "west", "10.2.0.1", Health::Ready);
        for mut object in [import, slice] {
            object["metadata"]["annotations"] = annotations.clone();
            ns.apply(object).await?;
        }
        Ok(())
    };
    holds_for("objects are rewritten", REWRITE_SPAN, &mut rewrite).await?;
    ensure!(round >= 20, "only {round} rounds of rewriting fitted into {REWRITE_SPAN:?}");
    Ok(())
}

/// Returns the resource versions of the objects that the operator writes.
async fn versions(ns: &Namespace<'_>) -> Result<[Value; 2]> {
    let policy = ns.read("landfall.dev/v1alpha1", "SelectionPolicy", "pay").await?;
    let selection = ns.selection("pay").await?;
    Ok([policy, selection].map(|object| object["metadata"]["resourceVersion"].clone()))
}

/// Waits until the selection gives its only cluster the whole weight.
async fn published(ns: &Namespace<'_>, service: &str) -> Result<()> {
    await_condition(&format!("the selection of {service} is published"), DEFAULT_TIMEOUT, async || {
        let selection = ns.selection(service).await?;
        let clusters = selection["status"]["clusters"].as_array().context("no clusters")?;
        ensure!(clusters.len() == 1 && clusters[0]["weight"] == 1000, "{clusters:?}");
        Ok(())
    })
    .await
}

async fn gone(ns: &Namespace<'_>, service: &str) -> Result<()> {
    await_condition(&format!("the selection of {service} is gone"), DEFAULT_TIMEOUT, async || {
        let api = objects::api(ns.member.cluster.client(), SELECTION.0, SELECTION.1, Some(ns.name));
        let left = api.get_opt(service).await?;
        ensure!(left.is_none(), "it still exists: {:?}", left.map(|it| it.metadata));
        Ok(())
    })
    .await
}
