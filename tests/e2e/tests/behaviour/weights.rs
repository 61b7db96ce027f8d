//! DNS answers follow the weights of a SelectionPolicy.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use landfall_e2e::member::{DEFAULT_TIMEOUT, MAX_DELAY, Namespace};
use landfall_e2e::wait::{percentile, report};
use landfall_e2e::{Question, await_condition, now, objects, run, two_clusters, with_temp_ns};
use serde_json::{Value, json};

const EAST: &str = "10.1.0.1";
const WEST: &str = "10.2.0.1";
const NORTH: &str = "10.3.0.1";

#[test]
fn answers_follow_changed_weights_within_a_second() -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "weights", async |ns| {
            ns.export("pay", &[("east", EAST), ("west", WEST)]).await?;
            let mut delays = Vec::new();
            for repeat in 0..50 {
                let (east, west, expected) = if repeat % 2 == 0 { (0, 1000, EAST) } else { (1000, 0, WEST) };
                let policy = objects::policy("pay", objects::weighted(json!({"east": east, "west": west})));
                delays.push(until_answered(&ns, policy, expected).await?);
            }
            // The first change also waits for the selection to appear. It counts nevertheless.
            let p99 = percentile(&mut delays, 0.99);
            report(&format!("weights → answers, 50 changes: p50 {:?}, p99 {p99:?}", percentile(&mut delays, 0.5)));
            ensure!(p99 <= MAX_DELAY, "p99 is {p99:?}: {delays:?}");
            Ok(())
        })
        .await
    })
}

/// Returns the time from applying a policy to the first answer that follows it.
async fn until_answered(ns: &Namespace<'_>, policy: Value, expected: &str) -> Result<Duration> {
    let sent = now();
    ns.apply(policy).await?;
    ns.answers("pay", expected, DEFAULT_TIMEOUT).await?;
    Ok(sent.elapsed())
}

#[test]
fn lower_weight_gives_a_higher_share() -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "shares", async |ns| {
            ns.export("pay", &[("east", EAST), ("west", WEST), ("north", NORTH)]).await?;
            ns.apply(objects::policy("pay", objects::weighted(json!({"east": 1, "west": 1, "north": 4})))).await?;
            let published = json!([["east", 445], ["north", 111], ["west", 444]]);
            await_condition("the weights are published", DEFAULT_TIMEOUT, async || {
                let weights = published_weights(&ns.selection("pay").await?);
                ensure!(weights == published, "{weights}");
                Ok(())
            })
            .await?;
            // DNS sees the selection at the same time as the test, so answers may follow a moment later.
            await_condition("900 answers are split by the weights", DEFAULT_TIMEOUT, async || {
                let counts = count_answers(&ns, "pay", 900).await?;
                for (address, share) in [(EAST, 400), (WEST, 400), (NORTH, 100)] {
                    let count = counts.get(address).copied().unwrap_or_default();
                    ensure!(count.abs_diff(share) <= 20, "{counts:?}, and {address} should have about {share}");
                }
                Ok(())
            })
            .await
        })
        .await
    })
}

#[test]
fn each_source_cluster_has_its_own_row_of_weights() -> Result<()> {
    run(async {
        let clusters = two_clusters().await?;
        for (member, expected) in [(&clusters.east, WEST), (&clusters.west, NORTH)] {
            with_temp_ns(member, "rows", async |ns| {
                ns.export("pay", &[("east", EAST), ("west", WEST), ("north", NORTH)]).await?;
                let mut spec = objects::weighted(json!({"north": 0}));
                spec["weights"] = json!([{"source": "east", "clusters": {"west": 0}}, spec["weights"][0]]);
                until_answered(&ns, objects::policy("pay", spec), expected).await?;
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
}

#[test]
fn clients_stay_in_their_own_cluster_without_a_policy() -> Result<()> {
    run(async {
        let clusters = two_clusters().await?;
        for (member, source, expected) in [(&clusters.east, "east", EAST), (&clusters.west, "west", WEST)] {
            with_temp_ns(member, "default", async |ns| {
                ns.export("pay", &[("east", EAST), ("west", WEST)]).await?;
                await_condition("only the local cluster has a share", DEFAULT_TIMEOUT, async || {
                    let selection = ns.selection("pay").await?;
                    let status = &selection["status"];
                    ensure!(status["source"] == source && status["mode"] == "round-robin", "{status}");
                    let counts = count_answers(&ns, "pay", 20).await?;
                    ensure!(counts == BTreeMap::from([(expected.to_owned(), 20)]), "{counts:?}");
                    Ok(())
                })
                .await
            })
            .await?;
        }
        Ok(())
    })
}

#[test]
fn minimum_share_is_kept() -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "floor", async |ns| {
            ns.export("pay", &[("east", EAST), ("west", WEST)]).await?;
            let spec =
                json!({"loadBalancing": "round-robin", "localPreference": "Prefer", "minShares": {"west": "10%"}});
            ns.apply(objects::policy("pay", spec)).await?;
            await_condition("west has its tenth", DEFAULT_TIMEOUT, async || {
                let weights = published_weights(&ns.selection("pay").await?);
                ensure!(weights == json!([["east", 900], ["west", 100]]), "{weights}");
                let counts = count_answers(&ns, "pay", 200).await?;
                let west = counts.get(WEST).copied().unwrap_or_default();
                ensure!(west.abs_diff(20) <= 5, "{counts:?}");
                Ok(())
            })
            .await
        })
        .await
    })
}

/// Returns `[["east", 500], …]`, in published order.
fn published_weights(selection: &Value) -> Value {
    let clusters = selection["status"]["clusters"].as_array().cloned().unwrap_or_default();
    clusters.iter().map(|it| json!([it["cluster"], it["weight"]])).collect()
}

/// Counts the answers by address.
async fn count_answers(ns: &Namespace<'_>, service: &str, times: usize) -> Result<BTreeMap<String, usize>> {
    let question = Question::a(&ns.host(service))?;
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        let reply = ns.member.query(&question).await?;
        ensure!(reply.addresses.len() == 1, "one address should be answered: {reply}");
        *counts.entry(reply.addresses[0].to_string()).or_default() += 1;
    }
    Ok(counts)
}
