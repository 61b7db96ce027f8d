//! `landfall drain` is refused if the other clusters lack the capacity. Otherwise the cluster is drained over a period,
//! every query is answered meanwhile, and the drain can be undone.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_e2e::exported::{POD_RPS, REQUESTS_PER_ANSWER};
use landfall_e2e::landfall::RELEASE_NAMESPACE;
use landfall_e2e::landfall::run_to_end;
use landfall_e2e::load::Load;
use landfall_e2e::wait::report;
use landfall_e2e::{Exported, Fleet, await_condition, now, objects, run};
use serde_json::{Value, json};

const EAST: &str = "east";
const WEST: &str = "west";
const CLUSTERS: [&str; 2] = [EAST, WEST];

/// Demand of each cluster, in requests per second. Each serves its own clients. East can serve all 56 at less than its
/// target utilization of 0.9; west cannot.
const DEMAND_RPS: [u32; 2] = [36, 20];
const PODS: [u8; 2] = [8, 4];
const RTT_MS: u64 = 20;

/// Period of the drain. A cluster publishes its capacity at most every ten seconds, so one value between all and
/// nothing is seen.
const DRAIN_PERIOD: Duration = Duration::from_secs(15);

/// Longest wait for an urgent fact: a cluster publishes it within ten seconds, and the others follow.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest wait until the demand is known, which needs queries over some time.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(45);

/// Longest run of the command. It lists everything, and waits until the drain is published.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(40);

#[test]
fn cluster_is_drained_only_if_the_others_have_capacity_and_serves_again_after_undo() -> Result<()> {
    run(async {
        let scene = Scene::start().await?;
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
    loads: Vec<Load>,
}

impl Scene {
    async fn start() -> Result<Self> {
        let mut fleet = Fleet::start_with_rtts("drain", 2, &[(EAST, WEST, RTT_MS)]).await?;
        let web = Exported::start(&mut fleet, "shop", "web", &[(EAST, PODS[0]), (WEST, PODS[1])]).await?;
        web.set_policy(&fleet, policy()).await?;
        let mut loads = Vec::new();
        for (cluster, rps) in CLUSTERS.iter().zip(DEMAND_RPS) {
            loads.push(web.load(&fleet, cluster, rps).await?);
        }
        Ok(Self { fleet, web, loads })
    }

    async fn play(&self) -> Result<()> {
        let demand: u32 = DEMAND_RPS.iter().sum();
        await_condition("the demand is known, and west serves its own clients", SETTLE_TIMEOUT, async || {
            let mut known = 0.0;
            for cluster in CLUSTERS {
                known += self.published(cluster, "demandRps").await?;
            }
            ensure!((known - f64::from(demand)).abs() < 10.0, "the known demand is {known} requests/s of {demand}");
            self.west_serves_its_own().await
        })
        .await?;
        self.refuses_without_capacity().await.context("drain of east, whose load exceeds the capacity of west")?;
        self.refuses_wrong_cluster().await.context("drain of a cluster that the kubeconfig does not belong to")?;
        self.drains_by_force().await.context("forced drain of east")?;
        self.drains_gradually().await.context("drain of west, whose load fits into east")?;
        self.serves_again_after_undo().await.context("undo of the drain of west")?;
        self.reports_missing_operator().await.context("drain of west without its operator")?;
        self.keeps_foreign_drain().await.context("undo of a drain of west by another client")
    }

    async fn refuses_without_capacity(&self) -> Result<()> {
        let (code, printed) = self.drain(EAST, "refused", &[]).await?;
        ensure!(code == Some(1), "exit code {code:?}: {printed}");
        let left = 9 * u32::from(PODS[1]) * POD_RPS / 10;
        let words = format!("shop/web: the other clusters can serve {left} requests/s of ");
        let (_, rest) = printed.split_once(&words).with_context(|| format!("not {words:?}: {printed}"))?;
        let numbers =
            rest.split_once("; ").and_then(|(demand, rest)| Some((demand, rest.split_once(" are missing")?.0)));
        let (demand, missing) = numbers.with_context(|| printed.clone())?;
        let (demand, missing): (f64, f64) = (demand.parse()?, missing.parse()?);
        ensure!((demand - f64::from(left) - missing).abs() <= 1.0 && missing >= 10.0, "{printed}");
        let remedy = "east is not drained; add capacity to the other clusters first, or use --force";
        ensure!(printed.contains(remedy), "{printed}");
        let written = self.written(EAST).await?;
        ensure!(written.is_none(), "the drain was written: {written:?}");
        Ok(())
    }

    async fn refuses_wrong_cluster(&self) -> Result<()> {
        for (cluster, words) in [
            (WEST, "the broker knows a different cluster as west; check --kubeconfig"),
            ("wset", "no cluster wset is known"),
        ] {
            let (code, printed) = self.drain_in(EAST, cluster, &format!("mistaken-{cluster}"), &[]).await?;
            ensure!(code == Some(1) && printed.contains(words), "exit code {code:?}: {printed}");
            ensure!(self.written_in(EAST, cluster).await?.is_none(), "the drain was written");
        }
        Ok(())
    }

    /// Forces a drain over so long a period that no share changes before the undo.
    async fn drains_by_force(&self) -> Result<()> {
        let (code, printed) = self.drain(EAST, "forced", &["--force", "--over", "24h"]).await?;
        ensure!(code == Some(0) && printed.contains("are missing"), "exit code {code:?}: {printed}");
        ensure!(printed.contains("draining east over 24h; undo with: landfall drain east --undo"), "{printed}");
        let written = self.written(EAST).await?.context("the drain was not written")?;
        ensure!(written["drain"]["overSeconds"] == 86_400, "{written}");
        self.undo(EAST, "forced-undo").await
    }

    async fn drains_gradually(&self) -> Result<()> {
        let since = now();
        let (code, printed) = self.drain(WEST, "drained", &["--over", "15s"]).await?;
        ensure!(code == Some(0) && printed.starts_with("draining west over 15s"), "exit code {code:?}: {printed}");
        let mut capacities = vec![(Duration::ZERO, f64::from(u32::from(PODS[1]) * POD_RPS))];
        let drained = await_condition("west publishes no capacity", DRAIN_PERIOD + PUBLISH_TIMEOUT, async || {
            let capacity = self.published(WEST, "capacityRps").await?;
            if capacities.last().is_some_and(|(_, before)| (capacity - before).abs() > 1e-9) {
                capacities.push((since.elapsed(), capacity));
            }
            ensure!(capacity < 1e-9, "west publishes {capacities:?}");
            Ok(since.elapsed())
        })
        .await?;
        ensure!(capacities.is_sorted_by(|before, after| before.1 > after.1) && capacities.len() > 2, "{capacities:?}");
        // The start of a drain is written in whole seconds.
        ensure!(drained + Duration::from_secs(1) >= DRAIN_PERIOD, "it took less than {DRAIN_PERIOD:?}: {capacities:?}");
        await_condition("west has no share", PUBLISH_TIMEOUT, async || {
            let split = self.web.split(&self.fleet, &CLUSTERS).await?;
            ensure!(CLUSTERS.iter().all(|source| split[*source][WEST] < 1e-9), "{split:?}");
            Ok(())
        })
        .await?;
        report(&format!(
            "drain: west publishes {capacities:.1?} requests/s, and has no share after {:?}",
            since.elapsed()
        ));
        let (code, printed) = self.drain(WEST, "again", &["--over", "1h"]).await?;
        ensure!(
            code == Some(0) && printed.starts_with("west is already drained; nothing to do"),
            "{code:?}: {printed}"
        );
        self.all_were_answered(since)
    }

    async fn serves_again_after_undo(&self) -> Result<()> {
        let since = now();
        self.undo(WEST, "undone").await?;
        await_condition("west serves its own clients", PUBLISH_TIMEOUT, async || self.west_serves_its_own().await)
            .await?;
        report(&format!("drain: west serves its own clients again {:?} after the undo", since.elapsed()));
        self.all_were_answered(since)
    }

    async fn reports_missing_operator(&self) -> Result<()> {
        self.fleet.of(WEST)?.member.operator.process.kill()?;
        let (code, printed) = self.drain(WEST, "no-operator", &["--force", "--over", "24h"]).await?;
        let words = "undo with: landfall drain west --undo\nthis takes effect once the operator of west publishes it, which it did not within 20 s";
        ensure!(code == Some(1) && printed.contains(words), "exit code {code:?}: {printed}");
        self.undo(WEST, "no-operator-undo").await
    }

    async fn keeps_foreign_drain(&self) -> Result<()> {
        let client = self.fleet.of(WEST)?.member.cluster.client();
        let drain = json!({"since": "2026-01-01T00:00:00Z", "overSeconds": 60});
        let facts = json!({"apiVersion": "landfall.dev/v1alpha1", "kind": "ClusterFacts",
            "metadata": {"name": WEST, "namespace": RELEASE_NAMESPACE}, "spec": {"cluster": WEST, "drain": drain}});
        objects::apply(client, &facts).await?;
        let (code, printed) = self.drain(WEST, "kept", &["--undo"]).await?;
        let words = format!("spec.drain of ClusterFacts {RELEASE_NAMESPACE}/{WEST} belongs to e2e; remove it there");
        ensure!(code == Some(2) && printed.contains(&words), "exit code {code:?}: {printed}");
        ensure!(self.written(WEST).await?.context("the facts are gone")?["drain"] == drain, "the drain changed");
        Ok(())
    }

    async fn undo(&self, cluster: &str, name: &str) -> Result<()> {
        let (code, printed) = self.drain(cluster, name, &["--undo"]).await?;
        let says_so = printed.starts_with(&format!("{cluster} serves again"));
        ensure!(code == Some(0) && says_so, "exit code {code:?}: {printed}");
        let written = self.written(cluster).await?.context("the facts are gone")?;
        ensure!(written["drain"].is_null(), "{written}");
        Ok(())
    }

    fn all_were_answered(&self, since: Instant) -> Result<()> {
        for (cluster, load) in CLUSTERS.iter().zip(&self.loads) {
            let tally = load.since(since);
            ensure!(
                tally.failed == 0 && !tally.answers.is_empty(),
                "{cluster}: {} queries or requests failed, with answers {:?}",
                tally.failed,
                tally.answers
            );
        }
        Ok(())
    }

    /// Runs the command with the kubeconfigs of the cluster itself. Returns its exit code and its output.
    async fn drain(&self, cluster: &str, name: &str, more: &[&str]) -> Result<(Option<i32>, String)> {
        self.drain_in(cluster, cluster, name, more).await
    }

    /// Runs the command with the kubeconfigs of `at`.
    async fn drain_in(&self, at: &str, cluster: &str, name: &str, more: &[&str]) -> Result<(Option<i32>, String)> {
        let member = &self.fleet.of(at)?.member.cluster;
        let broker = self.fleet.broker.folder().join(format!("broker-{at}.kubeconfig"));
        let mut arguments: Vec<OsString> = ["drain", cluster].iter().chain(more).map(OsString::from).collect();
        arguments.extend(["--kubeconfig".into(), member.control_plane.admin_kubeconfig()?.into()]);
        arguments.extend(["--broker-kubeconfig".into(), broker.into()]);
        let log = member.folder().join("log").join(format!("drain-{name}.log"));
        let (status, printed) = run_to_end(&arguments, &log, COMMAND_TIMEOUT).await?;
        Ok((status.code(), printed))
    }

    /// Returns the spec of the facts that users wrote for a cluster, in its own API server.
    async fn written(&self, cluster: &str) -> Result<Option<Value>> {
        self.written_in(cluster, cluster).await
    }

    async fn written_in(&self, at: &str, cluster: &str) -> Result<Option<Value>> {
        let client = self.fleet.of(at)?.member.cluster.client();
        let api = objects::api(client, "landfall.dev/v1alpha1", "ClusterFacts", Some(RELEASE_NAMESPACE));
        Ok(api.get_opt(cluster).await?.map(|facts| facts.data["spec"].clone()))
    }

    /// Returns a number that a cluster has published for the service.
    async fn published(&self, cluster: &str, field: &str) -> Result<f64> {
        let facts = self.fleet.facts().await?;
        let own = facts.iter().filter(|facts| facts["spec"]["cluster"] == cluster);
        let services = own.filter_map(|facts| facts["spec"]["services"].as_array()).flatten();
        let published = services.filter(|it| it["name"] == "web").find_map(|it| it[field].as_f64());
        published.with_context(|| format!("{cluster} has published no {field}"))
    }

    async fn west_serves_its_own(&self) -> Result<()> {
        let split = self.web.split(&self.fleet, &CLUSTERS).await?;
        ensure!(split[WEST][WEST] > 0.5, "{split:?}");
        Ok(())
    }
}

fn policy() -> Value {
    json!({
        "loadBalancing": "optimized",
        "optimizedLoadBalancingParams": "performance",
        "optimized": {
            "roundSeconds": 30,
            "capacityRpsPerPod": POD_RPS,
            "requestsPerAnswer": REQUESTS_PER_ANSWER,
        },
    })
}
