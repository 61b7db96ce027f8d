//! Three clusters that share only a broker measure, publish and plan. They reach the split that an observer with all
//! inputs would choose, and they follow changes.
//!
//! One fleet serves all steps, because each step takes rounds of half a minute.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_e2e::exported::{ANSWER_LIFETIME, POD_RPS, REQUESTS_PER_ANSWER, Split, is_within};
use landfall_e2e::landfall::run_to_end;
use landfall_e2e::load::Load;
use landfall_e2e::optimum::{Optimum, Problem};
use landfall_e2e::wait::report;
use landfall_e2e::{Exported, Fleet, await_condition, now, run};
use serde_json::{Value, json};

const EAST: &str = "east";
const WEST: &str = "west";
const NORTH: &str = "north";
const CLUSTERS: [&str; 3] = [EAST, WEST, NORTH];

/// Demand of each cluster, in requests per second. The ten pods of each have a capacity of 100.
const DEMAND_RPS: [u32; 3] = [100, 50, 50];
const PODS: u8 = 10;

/// Longest round: 30 s, and a jitter of a tenth.
const MAX_ROUND: Duration = Duration::from_secs(33);

/// Longest time from the end of a round until its weights are published.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

const TOLERANCE_POINTS: f64 = 2.0;

/// Longest time until a dead cluster is in no answer.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn three_clusters_reach_the_optimum_and_follow_changes() -> Result<()> {
    run(async {
        let mut scene = Scene::start().await?;
        let outcome = scene.play().await;
        if outcome.is_err() {
            scene.fleet.dump().await;
        }
        outcome
    })
}

struct Scene {
    fleet: Fleet,
    web: Exported,
    /// Clients of each cluster, in the order of [`CLUSTERS`].
    loads: Vec<Load>,
}

impl Scene {
    async fn start() -> Result<Self> {
        let rtts = [(EAST, WEST, 80), (EAST, NORTH, 90), (WEST, NORTH, 80)];
        let mut fleet = Fleet::start_with_rtts("loop", CLUSTERS.len(), &rtts).await?;
        fleet.apply(&pricing(0.0, 0.0)).await?;
        let web = Exported::start(&mut fleet, "shop", "web", &CLUSTERS.map(|cluster| (cluster, PODS))).await?;
        web.set_policy(&fleet, policy("performance")).await?;
        let mut loads = Vec::new();
        for (cluster, rps) in CLUSTERS.iter().zip(DEMAND_RPS) {
            loads.push(web.load(&fleet, cluster, rps).await?);
        }
        Ok(Self { fleet, web, loads })
    }

    async fn play(&mut self) -> Result<()> {
        self.cold_start().await.context("cold start")?;
        self.dead_cluster().await.context("a dead cluster")?;
        self.half_capacity().await.context("half of the capacity")?;
        // A link's estimate changes slowly, and slowly back. In cost mode, prices outweigh it.
        self.longer_link().await.context("a link that takes five times as long")?;
        self.other_prices().await.context("other prices")
    }

    /// Reaches the optimum from nothing.
    async fn cold_start(&self) -> Result<()> {
        let since = now();
        self.reaches(initial, 2 * MAX_ROUND + PUBLISH_TIMEOUT).await?;
        report(&format!("loop: cold start → optimum ± {TOLERANCE_POINTS} points after {:?}", since.elapsed()));
        self.report_traffic("cold start", since);
        Ok(())
    }

    /// Lengthens a link. The median of the current round may still be the old value, and a round accepts only a part of
    /// a jump.
    async fn longer_link(&self) -> Result<()> {
        let before = self.split().await?[EAST].clone();
        let since = now();
        self.fleet.network.set_rtt(EAST, WEST, Duration::from_millis(400));
        await_condition("east sends less to west", 3 * MAX_ROUND + PUBLISH_TIMEOUT, async || {
            let now = self.split().await?[EAST].clone();
            let (less, more) = (before[WEST] - now[WEST], now[NORTH] - before[NORTH]);
            ensure!(less >= 0.01 && more > 0.0, "{before:?} → {now:?}");
            Ok(())
        })
        .await?;
        report(&format!("loop: a link's round-trip time × 5 → shares moved after {:?}", since.elapsed()));
        Ok(())
    }

    /// Removes half of west's pods. Their load moves elsewhere, and no cluster is overloaded. A smaller capacity is
    /// accepted step by step.
    async fn half_capacity(&self) -> Result<()> {
        let half = |mut problem: Problem| {
            problem.capacity_rps[1] = f64::from(u32::from(PODS) * POD_RPS) / 2.0;
            problem
        };
        let predicted = self.predicted(&["--capacity", "west=x0.5"]).await?;
        let since = now();
        self.web.set_pods(&self.fleet, WEST, PODS / 2).await?;
        self.reaches(half, 4 * MAX_ROUND).await?;
        is_within(&self.split().await?, &predicted, TOLERANCE_POINTS)
            .context("split that simulate --live predicted")?;
        report(&format!("loop: capacity × 0.5 → optimum ± {TOLERANCE_POINTS} points after {:?}", since.elapsed()));

        tokio::time::sleep(ANSWER_LIFETIME).await;
        let settled = now();
        tokio::time::sleep(MAX_ROUND).await;
        self.report_traffic("half of west", settled);
        for (cluster, load) in CLUSTERS.iter().zip(&self.loads) {
            let lost = load.since(settled).lost_share();
            ensure!(lost < 0.01, "{:.1} % of the requests from {cluster} are lost", 100.0 * lost);
        }
        self.web.set_pods(&self.fleet, WEST, PODS).await?;
        self.reaches(initial, 4 * MAX_ROUND).await.context("full capacity again")
    }

    /// Kills west, which gets the largest foreign share from east, and revives it.
    async fn dead_cluster(&mut self) -> Result<()> {
        let since = now();
        self.fleet.kill(WEST)?;
        tokio::time::sleep(3 * FAILOVER_TIMEOUT).await;
        for (cluster, load) in CLUSTERS.iter().zip(&self.loads).filter(|(cluster, _)| **cluster != WEST) {
            assert_out(cluster, load, since)?;
        }
        self.report_traffic("west dead", since + FAILOVER_TIMEOUT);

        let since = now();
        self.fleet.revive(WEST).await?;
        let ready = now();
        await_condition("east sends clients to west again", MAX_ROUND + PUBLISH_TIMEOUT, async || {
            ensure!(!self.loads[0].answers_of(WEST, since).is_empty(), "not yet: {:?}", self.split().await?);
            Ok(())
        })
        .await?;
        report(&format!("loop: a revived cluster is answered again {:?} after it is ready", ready.elapsed()));
        self.reaches(initial, 3 * MAX_ROUND).await.context("as before it died")
    }

    /// Swaps the prices of west and north in cost mode. Clients follow the cheap egress.
    async fn other_prices(&self) -> Result<()> {
        self.fleet.apply(&pricing(0.01, 0.12)).await?;
        self.web.set_policy(&self.fleet, policy("cost")).await?;
        self.reaches(|problem| in_cost_mode(problem, [0.01, 0.12]), MAX_ROUND + PUBLISH_TIMEOUT)
            .await
            .context("west is cheap")?;

        let since = now();
        self.fleet.apply(&pricing(0.12, 0.01)).await?;
        self.reaches(|problem| in_cost_mode(problem, [0.12, 0.01]), MAX_ROUND + PUBLISH_TIMEOUT)
            .await
            .context("north is cheap")?;
        report(&format!("loop: other prices → optimum ± {TOLERANCE_POINTS} points after {:?}", since.elapsed()));
        Ok(())
    }

    /// Returns the split that `landfall simulate --live` predicts for a change. Checks that `explain` shows the present
    /// split.
    async fn predicted(&self, change: &[&str]) -> Result<Split> {
        let east = self.fleet.of(EAST)?;
        let kubeconfig = east.member.cluster.control_plane.admin_kubeconfig()?;
        let broker = self.fleet.broker.control_plane.admin_kubeconfig()?;
        let service = format!("{}/{}", self.web.namespace, self.web.service);
        let run_command = async |command: &[&str]| -> Result<Value> {
            let mut arguments: Vec<OsString> = command.iter().map(OsString::from).collect();
            arguments.extend(["--cluster-id", EAST, "-o", "json", "--kubeconfig"].map(OsString::from));
            arguments.extend([kubeconfig.clone().into(), "--broker-kubeconfig".into(), broker.clone().into()]);
            let log = east.member.cluster.folder().join(format!("log/{}.json", command[0]));
            let (_, printed) = run_to_end(&arguments, &log, 2 * PUBLISH_TIMEOUT).await?;
            // Findings are printed before it, on the other stream.
            let begin = printed.find(['{', '[']).unwrap_or_default();
            let mut values = serde_json::Deserializer::from_str(&printed[begin..]).into_iter();
            let value = values.next().and_then(Result::ok);
            value.with_context(|| format!("{arguments:?}: {printed}"))
        };
        let explained = run_command(&["explain", &service, "--from", EAST]).await?;
        let in_force = self.split().await?[EAST].clone();
        for candidate in explained["clusters"].as_array().context("no candidates")? {
            let (cluster, weight) = (candidate["cluster"].as_str(), candidate["weight"].as_f64());
            let (cluster, weight) = cluster.zip(weight).context("a candidate without a name or a weight")?;
            ensure!(
                (weight / 1000.0 - in_force[cluster]).abs() < 0.002,
                "{in_force:?} is published, and explain shows {candidate}"
            );
        }
        let simulated = run_command(&[&["simulate", "--live", "--service", &service], change].concat()).await?;
        let rows = simulated[0]["sources"].as_array().context("no sources")?;
        let row = |row: &Value| -> Option<(String, BTreeMap<String, f64>)> {
            let share = |(to, weight): (&String, &Value)| Some((to.clone(), weight.as_f64()? / 1000.0));
            Some((row["source"].as_str()?.to_owned(), row["after"].as_object()?.iter().filter_map(share).collect()))
        };
        Ok(rows.iter().filter_map(row).collect())
    }

    /// Waits until all clusters publish the optimum of the inputs that `change` derives from the present ones.
    async fn reaches(&self, change: impl Fn(Problem) -> Problem, timeout: Duration) -> Result<()> {
        await_condition("the clusters reach the optimum", timeout, async || {
            let expected = named(&change(self.present().await?).solve());
            is_within(&self.split().await?, &expected, TOLERANCE_POINTS)
        })
        .await
    }

    /// Returns the present inputs. Demand and capacity are the true ones, and the published demand must be near. Path
    /// costs are the measured ones, because a busy machine lengthens the round-trip times.
    async fn present(&self) -> Result<Problem> {
        let mut cost_ms = vec![vec![0.5; 3]; 3];
        let facts = self.fleet.facts().await?;
        for (i, cluster) in CLUSTERS.iter().enumerate() {
            let published = facts.iter().find(|it| it["spec"]["cluster"] == *cluster && it["spec"]["part"] == 0);
            let spec = &published.with_context(|| format!("{cluster} has published nothing"))?["spec"];
            let service = &spec["services"][0];
            let demand = service["measuredDemandRps"].as_f64().or_else(|| service["demandRps"].as_f64());
            let demand = demand.with_context(|| format!("{cluster} has published no demand: {spec}"))?;
            let asked = f64::from(DEMAND_RPS[i]);
            ensure!(
                (demand - asked).abs() < 0.1 * asked,
                "the demand of {cluster} is {asked}, and {demand} is published"
            );
            for (j, peer) in CLUSTERS.iter().enumerate().filter(|(j, _)| *j != i) {
                let links = spec["links"].as_array().context("no links")?;
                let link = links.iter().find(|it| it["cluster"] == *peer).unwrap_or(&Value::Null);
                let rtt_ms = link["rttMs"]
                    .as_f64()
                    .with_context(|| format!("{cluster} has published no link to {peer}: {spec}"))?;
                let loss = link["loss"].as_f64().unwrap_or_default();
                cost_ms[i][j] = rtt_ms + link["jitterMs"].as_f64().unwrap_or_default() + 200.0 * loss / (1.0 - loss);
            }
        }
        Ok(Problem { cost_ms, ..initial(Problem::default()) })
    }

    async fn split(&self) -> Result<Split> {
        self.web.split(&self.fleet, &CLUSTERS).await
    }

    /// Prints what the clients saw since then.
    fn report_traffic(&self, what: &str, since: Instant) {
        for (cluster, load) in CLUSTERS.iter().zip(&self.loads) {
            let tally = load.since(since);
            if tally.latencies.is_empty() {
                continue;
            }
            let (p50, p99) = tally.latency();
            let lost = 100.0 * tally.lost_share();
            let shares = CLUSTERS.map(|to| format!("{:.0}", 100.0 * tally.answered_share(to))).join(":");
            report(&format!(
                "loop: {what}: {cluster} was answered {shares}, p50 {p50:?}, p99 {p99:?}, {lost:.2} % lost"
            ));
        }
    }
}

/// Checks that fewer than one in a hundred answers after ten seconds name the dead cluster.
fn assert_out(cluster: &str, load: &Load, since: Instant) -> Result<()> {
    let named = load.answers_of(WEST, since);
    let late = named.iter().filter(|after| **after > FAILOVER_TIMEOUT).count();
    let all: usize = load.since(since + FAILOVER_TIMEOUT).answers.values().sum();
    ensure!(all > 0, "no answers in {cluster}");
    let last = named.iter().max().copied().unwrap_or_default();
    report(&format!(
        "loop: {cluster} named the dead cluster until {last:?} after its death; {late} of {all} answers after {FAILOVER_TIMEOUT:?}"
    ));
    ensure!(late * 100 <= all, "{cluster}: {late} of {all} answers name the dead cluster");
    Ok(())
}

/// Returns the inputs before any change, with the measured path costs.
fn initial(measured: Problem) -> Problem {
    Problem {
        demand_rps: DEMAND_RPS.map(f64::from).into(),
        capacity_rps: vec![f64::from(u32::from(PODS) * POD_RPS); 3],
        burstiness: 1.0,
        ..measured
    }
}

/// Adds egress prices to the path costs. Leaving east costs 0.09 USD per GB, and leaving west and north costs the given
/// prices. A request has 1 kB, a response 10 kB, and a million milliseconds are worth 0.0001 USD.
fn in_cost_mode(mut problem: Problem, west_and_north: [f64; 2]) -> Problem {
    let leaving = [0.09, west_and_north[0], west_and_north[1]];
    for (from, costs) in problem.cost_ms.iter_mut().enumerate() {
        for (to, cost) in costs.iter_mut().enumerate().filter(|(to, _)| *to != from) {
            let usd_per_million = leaving[from] + 10.0 * leaving[to];
            *cost += usd_per_million / 0.0001;
        }
    }
    problem
}

fn named(optimum: &Optimum) -> Split {
    let row = |shares: &Vec<f64>| CLUSTERS.iter().zip(shares).map(|(to, share)| ((*to).to_owned(), *share)).collect();
    CLUSTERS.iter().zip(&optimum.shares).map(|(from, shares)| ((*from).to_owned(), row(shares))).collect()
}

fn policy(aim: &str) -> Value {
    json!({
        "loadBalancing": "optimized",
        "optimizedLoadBalancingParams": aim,
        "optimized": {
            "roundSeconds": 30,
            "capacityRpsPerPod": POD_RPS,
            "requestsPerAnswer": REQUESTS_PER_ANSWER,
        },
    })
}

/// Builds the prices: east is at aws, west at gcp and north at azure.
fn pricing(leaving_west: f64, leaving_north: f64) -> Value {
    json!({
        "apiVersion": "landfall.dev/v1alpha1",
        "kind": "NetworkPricing",
        "metadata": {"name": "e2e"},
        "spec": {"rules": [
            {"relation": "SameZone", "usdPerGb": 0},
            {"from": {"provider": "aws"}, "usdPerGb": if leaving_west + leaving_north > 0.0 { 0.09 } else { 0.0 }},
            {"from": {"provider": "gcp"}, "usdPerGb": leaving_west},
            {"from": {"provider": "azure"}, "usdPerGb": leaving_north},
            {"usdPerGb": 0},
        ]},
    })
}
