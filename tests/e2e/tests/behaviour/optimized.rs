//! The optimized mode on a real API server: facts decide the split, and DNS answers follow it.

use anyhow::{Result, ensure};
use landfall_e2e::landfall::RELEASE_NAMESPACE;
use landfall_e2e::member::{DEFAULT_TIMEOUT, MAX_DELAY, Namespace};
use landfall_e2e::objects::Health;
use landfall_e2e::optimum::Problem;
use landfall_e2e::wait::holds_for;
use landfall_e2e::{Member, await_condition, objects, run, with_temp_ns};
use serde_json::{Value, json};

const EAST: &str = "10.1.0.1";
const WEST: &str = "10.2.0.1";
const NORTH: &str = "10.3.0.1";

#[test]
fn facts_decide_the_split_and_health_needs_no_operator() -> Result<()> {
    run(async {
        let member = Member::start("optimized", "east").await?;
        let client = member.cluster.client();
        objects::apply(client, &node()).await?;
        objects::apply(client, &pricing()).await?;
        with_temp_ns(&member, "optimized", async |ns| {
            ns.export("pay", &[("east", EAST), ("west", WEST), ("north", NORTH)]).await?;
            ns.apply(policy("performance")).await?;
            let demands = [("east", 1500), ("west", 0), ("north", 0)];
            for (cluster, demand) in demands {
                ns.apply(facts(&ns, cluster, demand)).await?;
            }
            published(&ns, "clients stay in their cluster without facts", Some("DemandUnknown"), |w| w == [1000, 0, 0])
                .await?;
            holds_for("facts in another namespace do not count", MAX_DELAY, async || {
                let status = ns.selection("pay").await?["status"].clone();
                ensure!(status["reason"] == "DemandUnknown", "{status}");
                Ok(())
            })
            .await?;

            for (cluster, demand) in demands {
                publish_facts(&ns, cluster, demand).await?;
            }
            let spilled = |w: [u64; 3]| (500..700).contains(&w[0]) && w[1] > 300 && w[2] < 50;
            let clusters =
                published(&ns, "demand beyond the capacity goes to the nearest cluster", None, spilled).await?;
            ensure!(number(&clusters, "east", "utilization") < 0.95, "{clusters}");
            ensure!((number(&clusters, "west", "latencyMs") - 20.0).abs() < 0.01, "{clusters}");
            // A request costs 10 kB out of gcp and 1 kB out of aws.
            ensure!((number(&clusters, "west", "usdPerMillion") - (1.2 + 0.09)).abs() < 0.01, "{clusters}");

            ns.apply(policy("cost")).await?;
            let free = |w: [u64; 3]| w[0] > 500 && w[1] < 50 && w[2] > 300;
            published(&ns, "in cost mode it goes to the cluster with free egress", None, free).await?;

            ns.apply(policy("performance")).await?;
            publish_facts(&ns, "east", 500).await?;
            published(&ns, "a smaller demand stays in its own cluster", None, |w| w == [1000, 0, 0]).await?;
            ns.answers("pay", EAST, DEFAULT_TIMEOUT).await?;
            member.operator.process.kill()?;
            ns.apply(objects::slice("pay", "east", EAST, Health::NotReady)).await?;
            ns.answers("pay", WEST, DEFAULT_TIMEOUT).await?;
            ns.apply(objects::slice("pay", "west", WEST, Health::NotReady)).await?;
            ns.answers("pay", NORTH, DEFAULT_TIMEOUT).await
        })
        .await
    })
}

#[test]
fn published_weights_match_an_independent_solution() -> Result<()> {
    run(async {
        let member = Member::start("optimum", "east").await?;
        with_temp_ns(&member, "optimum", async |ns| {
            ns.export("pay", &[("east", EAST), ("west", WEST), ("north", NORTH)]).await?;
            for (cluster, demand) in [("east", 1100), ("west", 300), ("north", 500)] {
                publish_facts(&ns, cluster, demand).await?;
            }
            ns.apply(policy("performance")).await?;
            let cost_ms = vec![vec![0.0, 20.0, 80.0], vec![20.0, 0.0, 80.0], vec![80.0, 80.0, 0.0]];
            let problem = Problem {
                demand_rps: vec![1100.0, 300.0, 500.0],
                capacity_rps: vec![1000.0; 3],
                cost_ms,
                burstiness: 1.0,
            };
            let optimum = problem.solve();
            let near =
                |w: [u64; 3]| w.iter().zip(&optimum.shares[0]).all(|(w, s)| (*w as f64 / 1000.0 - s).abs() < 0.005);
            published(&ns, &format!("{optimum:?}"), None, near).await?;
            Ok(())
        })
        .await
    })
}

fn policy(aim: &str) -> Value {
    objects::policy("pay", json!({"loadBalancing": "optimized", "optimizedLoadBalancingParams": aim}))
}

fn node() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "east-1", "labels": {
            "topology.kubernetes.io/region": "us-east-1",
            "topology.kubernetes.io/zone": "us-east-1a",
        }},
        "spec": {"providerID": "aws:///us-east-1a/i-0c1d5a41a3b7e2f60"},
    })
}

fn pricing() -> Value {
    json!({
        "apiVersion": "landfall.dev/v1alpha1",
        "kind": "NetworkPricing",
        "metadata": {"name": "e2e"},
        "spec": {"rules": [
            {"from": {"provider": "gcp"}, "usdPerGb": 0.12},
            {"from": {"provider": "aws"}, "to": {"provider": "gcp"}, "usdPerGb": 0.09},
            {"usdPerGb": 0},
        ]},
    })
}

/// Applies facts in the operator's namespace, where users set facts of clusters.
async fn publish_facts(ns: &Namespace<'_>, cluster: &str, demand_rps: u32) -> Result<()> {
    let mut facts = facts(ns, cluster, demand_rps);
    facts["metadata"]["namespace"] = json!(RELEASE_NAMESPACE);
    objects::apply(ns.member.cluster.client(), &facts).await?;
    Ok(())
}

/// Builds facts: west is 20 ms away and in another cloud, north 80 ms away and in a data center. Each has a capacity of
/// 1000 requests per second.
fn facts(ns: &Namespace<'_>, cluster: &str, demand_rps: u32) -> Value {
    let (provider, links) = match cluster {
        "east" => (None, json!([{"cluster": "west", "rttMs": 20}, {"cluster": "north", "rttMs": 80}])),
        "west" => (Some("gcp"), json!([{"cluster": "north", "rttMs": 80}])),
        _ => (Some("site"), json!([])),
    };
    let service = json!({
        "namespace": ns.name, "name": "pay", "demandRps": demand_rps, "capacityRps": 1000, "serviceTimeMs": 20,
    });
    let mut spec = json!({"cluster": cluster, "links": links, "services": [service]});
    if let Some(provider) = provider {
        spec["location"] = json!({"provider": provider});
    }
    json!({"apiVersion": "landfall.dev/v1alpha1", "kind": "ClusterFacts", "metadata": {"name": cluster}, "spec": spec})
}

/// Waits until the weights of east, west and north pass `expected`, with this reason. Returns the published clusters.
async fn published(
    ns: &Namespace<'_>,
    what: &str,
    reason: Option<&str>,
    expected: impl Fn([u64; 3]) -> bool,
) -> Result<Value> {
    await_condition(what, DEFAULT_TIMEOUT, async || {
        let status = ns.selection("pay").await?["status"].clone();
        let weight = |cluster| cluster_of(&status["clusters"], cluster)["weight"].as_u64().unwrap_or_default();
        let weights = ["east", "west", "north"].map(weight);
        ensure!(status["mode"] == "optimized" && status["reason"] == json!(reason) && expected(weights), "{status}");
        Ok(status["clusters"].clone())
    })
    .await
}

/// Returns a number of a cluster, or -1 if there is none.
fn number(clusters: &Value, cluster: &str, field: &str) -> f64 {
    cluster_of(clusters, cluster)[field].as_f64().unwrap_or(-1.0)
}

fn cluster_of<'a>(clusters: &'a Value, cluster: &str) -> &'a Value {
    let mut all = clusters.as_array().into_iter().flatten();
    all.find(|it| it["cluster"] == cluster).unwrap_or(&Value::Null)
}
