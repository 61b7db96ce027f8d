//! Policy in shadow mode: its weights are published beside the served ones, and the served ones are those without it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Result, ensure};
use landfall_e2e::member::{DEFAULT_TIMEOUT, Namespace};
use landfall_e2e::{Question, await_condition, objects, run, two_clusters, with_temp_ns};
use serde_json::{Value, json};

const EAST: &str = "10.1.0.1";
const WEST: &str = "10.2.0.1";

/// Number of answers in a sample. Draws are spread evenly, so a count is off by at most two.
const ANSWERS: usize = 40;
const TOLERANCE: usize = 2;

#[test]
fn policy_in_shadow_mode_is_published_and_is_served_once_enforced() -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "shadow", async |ns| {
            ns.export("pay", &[("east", EAST), ("west", WEST)]).await?;
            ns.apply(shadow_policy("pay", "Shadow")).await?;
            let (alone, shadowed) = (json!({"east": 1000, "west": 0}), json!({"east": 250, "west": 750}));
            publishes(&ns, "with no other policy", &alone, None, Some(&shadowed)).await?;
            answers(&ns, ANSWERS).await?;

            let namespace = objects::namespace_policy("all", objects::weighted(json!({"east": 1, "west": 1})));
            ns.apply(namespace).await?;
            let (alike, all) = (json!({"east": 500, "west": 500}), format!("{}/all", ns.name));
            publishes(&ns, "with one of the namespace", &alike, Some(&all), Some(&shadowed)).await?;
            answers(&ns, ANSWERS / 2).await?;

            ns.apply(shadow_policy("pay", "Enforce")).await?;
            let pay = format!("{}/pay", ns.name);
            publishes(&ns, "when it is enforced", &shadowed, Some(&pay), None).await?;
            answers(&ns, ANSWERS / 4).await
        })
        .await
    })
}

/// Builds a policy that gives a quarter to east and the rest to west.
fn shadow_policy(service: &str, enforcement: &str) -> Value {
    let mut spec = objects::weighted(json!({"east": 3, "west": 1}));
    spec["enforcement"] = json!(enforcement);
    objects::policy(service, spec)
}

/// Waits until `served` is published as served, by `policy`, and `shadowed` as the result of the policy in shadow mode.
async fn publishes(
    ns: &Namespace<'_>,
    what: &str,
    served: &Value,
    policy: Option<&str>,
    shadowed: Option<&Value>,
) -> Result<()> {
    await_condition(what, DEFAULT_TIMEOUT, async || {
        let status = ns.selection("pay").await?["status"].clone();
        let weight = |it: &Value| Some((it["cluster"].as_str()?.to_owned(), it["weight"].clone()));
        let weights: serde_json::Map<_, _> =
            status["clusters"].as_array().into_iter().flatten().filter_map(weight).collect();
        ensure!(Value::from(weights) == *served && status["policy"] == json!(policy), "{status}");
        let shadow = shadowed.map(|weights| {
            json!({
                "policy": format!("{}/pay", ns.name),
                "mode": "weighted-round-robin",
                "summary": "east 25% west 75%",
                "weights": weights,
            })
        });
        ensure!(status["shadow"] == json!(shadow), "{status}");
        Ok(())
    })
    .await
}

/// Waits until `of_east` answers name east. DNS sees a change at the same time as the test and may follow a moment
/// later.
async fn answers(ns: &Namespace<'_>, of_east: usize) -> Result<()> {
    let question = Question::a(&ns.host("pay"))?;
    let (east, west): (IpAddr, IpAddr) = (EAST.parse()?, WEST.parse()?);
    await_condition(&format!("{of_east} of {ANSWERS} answers name east"), DEFAULT_TIMEOUT, async || {
        let mut counts: BTreeMap<Vec<IpAddr>, usize> = BTreeMap::new();
        for _ in 0..ANSWERS {
            *counts.entry(ns.member.query(&question).await?.addresses).or_default() += 1;
        }
        let count = |address: IpAddr| counts.get(&vec![address]).copied().unwrap_or_default();
        ensure!(count(east) + count(west) == ANSWERS && count(east).abs_diff(of_east) <= TOLERANCE, "{counts:?}");
        Ok(())
    })
    .await
}
