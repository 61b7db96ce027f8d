//! Three clusters and a broker with a settled split, for tests that cause faults.
//!
//! `web` is optimized for latency, and every cluster has a minimum share of a fifth: three fifths of a cluster's
//! clients stay, and the rest is split between the two others. A busy machine affects measured paths and loads, but not
//! that split; a cluster that is considered unreachable or silent does. Shares that depend on capacity are tested in
//! `agreement`, and in virtual time in `crates/controller/tests/fleet/faults.rs`. `each` has equal weights for all
//! clusters. It may be queried at any rate, because no plan depends on its demand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::base::iana::Rcode;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::ListParams;
use landfall_e2e::exported::{POD_RPS, REQUESTS_PER_ANSWER, Split, is_within};
use landfall_e2e::landfall::RELEASE_NAMESPACE;
use landfall_e2e::load::Load;
use landfall_e2e::objects::{self, Health};
use landfall_e2e::wait::{report, while_it_holds};
use landfall_e2e::{Exported, Fleet, Question, await_condition, broker, now};
use serde_json::{Value, json};

pub(crate) const EAST: &str = "east";
pub(crate) const WEST: &str = "west";
pub(crate) const NORTH: &str = "north";
pub(crate) const CLUSTERS: [&str; 3] = [EAST, WEST, NORTH];

const DEMAND_RPS: [u32; 3] = [30, 10, 10];
/// Pods of each cluster. The three clusters have a capacity of 240 requests per second.
const PODS: u8 = 8;
const RTT_MS: u64 = 40;
const MIN_SHARE: &str = "20%";

/// Longest round: 30 s, and a jitter of a tenth.
pub(crate) const MAX_ROUND: Duration = Duration::from_secs(33);

/// Longest time from the end of a round until its weights are published.
pub(crate) const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time until a dead cluster is in no answer.
pub(crate) const FAILOVER_TIMEOUT: Duration = Duration::from_secs(10);

/// Tolerance for an unchanged share, in percentage points: measured links differ from round to round.
pub(crate) const TOLERANCE_POINTS: f64 = 3.0;

/// Change of a share below which it has settled, in percentage points, within a round.
const SETTLED_POINTS: f64 = 1.0;

/// Tolerance between answered and published shares, in percentage points, for half a minute of a few clients.
const ANSWERED_TOLERANCE_POINTS: f64 = 10.0;

/// Pause between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(150);

pub(crate) struct FaultScene {
    pub(crate) fleet: Fleet,
    pub(crate) web: Exported,
    /// Clients of each cluster, in the order of [`CLUSTERS`].
    loads: Vec<Load>,
    each: Question,
    name: &'static str,
}

impl FaultScene {
    /// Starts the fleet and its clients.
    pub(crate) async fn start(name: &'static str) -> Result<Self> {
        let rtts = [(EAST, WEST, RTT_MS), (EAST, NORTH, RTT_MS), (WEST, NORTH, RTT_MS)];
        let mut fleet = Fleet::start_with_rtts(name, CLUSTERS.len(), &rtts).await?;
        let web = Exported::start(&mut fleet, "shop", "web", &CLUSTERS.map(|cluster| (cluster, PODS))).await?;
        web.set_policy(&fleet, policy()).await?;
        fleet.apply(&in_shop(objects::import("each", &CLUSTERS))).await?;
        let alike = json!({EAST: 1, WEST: 1, NORTH: 1});
        fleet.apply(&in_shop(objects::policy("each", objects::weighted(alike)))).await?;
        let mut loads = Vec::new();
        for (cluster, rps) in CLUSTERS.iter().zip(DEMAND_RPS) {
            loads.push(web.load(&fleet, cluster, rps).await?);
        }
        let each = Question::a("each.shop.svc.clusterset.local")?;
        let scene = Self { fleet, web, loads, each, name };
        for cluster in CLUSTERS {
            scene.set_health_of_each(cluster, Health::Ready).await?;
        }
        Ok(scene)
    }

    /// Waits until all shares have settled, and returns them. `agreement` tests that they are the optimum.
    pub(crate) async fn settled(&self) -> Result<Split> {
        let (mut split, mut since) = (self.split().await?, now());
        await_condition("the split has settled", 8 * MAX_ROUND, async || {
            tokio::time::sleep(POLL_INTERVAL).await;
            let next = self.split().await?;
            if is_within(&next, &split, SETTLED_POINTS).is_err() {
                (split, since) = (next, now());
            }
            ensure!(since.elapsed() >= MAX_ROUND, "{split:?}");
            for cluster in CLUSTERS {
                ensure!(split[cluster][cluster] > 0.5, "{cluster} does not prefer itself yet: {split:?}");
            }
            Ok(())
        })
        .await?;
        self.report(&format!("the split settles at {split:?}"));
        Ok(split)
    }

    pub(crate) fn report(&self, what: &str) {
        report(&format!("{}: {what}", self.name));
    }

    /// Returns the published shares.
    pub(crate) async fn split(&self) -> Result<Split> {
        self.web.split(&self.fleet, &CLUSTERS).await
    }

    /// Sets the readiness of both services in a cluster.
    pub(crate) async fn set_health(&self, cluster: &str, health: Health) -> Result<()> {
        self.set_health_of_each(cluster, health).await?;
        self.web.set_health(&self.fleet, cluster, health).await
    }

    async fn set_health_of_each(&self, cluster: &str, health: Health) -> Result<()> {
        let address = self.fleet.of(cluster)?.exported_address().to_string();
        self.fleet.apply(&in_shop(objects::slice("each", cluster, &address, health))).await
    }

    /// Returns the cluster that DNS in `source` answers for `each`. Fails unless the answer is one of the three.
    pub(crate) async fn answer_in(&self, source: &str) -> Result<&str> {
        let reply = self.fleet.of(source)?.member.query(&self.each).await.with_context(|| format!("in {source}"))?;
        ensure!(reply.rcode == Rcode::NOERROR && reply.addresses.len() == 1, "{source} answers {reply}");
        let named = self.fleet.members().find(|it| reply.addresses == [it.exported_address()]);
        Ok(named.with_context(|| format!("{source} answers {reply}"))?.id())
    }

    /// Runs `action` while all `sources` answer and publish these shares.
    pub(crate) async fn continues_while<T>(
        &self,
        what: &str,
        sources: &[&str],
        before: &Split,
        action: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let expected = before.iter().filter(|(source, _)| sources.contains(&source.as_str()));
        let expected: Split = expected.map(|(source, row)| (source.clone(), row.clone())).collect();
        let look = async || {
            tokio::time::sleep(POLL_INTERVAL).await;
            for source in sources {
                self.answer_in(source).await?;
            }
            is_within(&self.web.split(&self.fleet, sources).await?, &expected, TOLERANCE_POINTS)
        };
        while_it_holds(what, look, action).await
    }

    /// Lets time pass while all `sources` answer and publish these shares.
    pub(crate) async fn continues_for(
        &self,
        what: &str,
        span: Duration,
        sources: &[&str],
        before: &Split,
    ) -> Result<()> {
        self.continues_while(what, sources, before, pass(span)).await
    }

    /// Lets time pass while all `sources` answer, and never with the cluster that is gone.
    pub(crate) async fn continues_without(&self, gone: &str, span: Duration, sources: &[&str]) -> Result<()> {
        let look = async || {
            tokio::time::sleep(POLL_INTERVAL).await;
            for source in sources {
                ensure!(self.answer_in(source).await? != gone, "{source} names {gone}");
            }
            for (source, row) in self.web.split(&self.fleet, sources).await? {
                let sum: f64 = row.values().sum();
                ensure!(row[gone] < 1e-9 && (sum - 1.0).abs() < 0.01, "{source}: {row:?}");
            }
            Ok(())
        };
        while_it_holds(&format!("{gone} is out"), look, pass(span)).await
    }

    /// Watches the answers in all `sources`. The clusters in `gone` must not be named after the deadline, and every
    /// query must be answered. Returns how long after `since` one of them was last named, at most.
    pub(crate) async fn leaves(
        &self,
        gone: &[&str],
        sources: &[&str],
        since: Instant,
        timeout: Duration,
    ) -> Result<Duration> {
        // A cluster that is out at the first query was last named before it.
        let mut last = since.elapsed();
        // A third of the answers named each cluster, so a run of answers without it is not random.
        while since.elapsed() < timeout + Duration::from_secs(3) {
            for source in sources {
                if gone.contains(&self.answer_in(source).await?) {
                    last = since.elapsed();
                    ensure!(last <= timeout, "{source} names one of {gone:?} {last:?} after the fault");
                }
            }
            tokio::time::sleep(POLL_INTERVAL / 10).await;
        }
        Ok(last)
    }

    /// Waits until all `sources` name `back` again, and every query is answered meanwhile. Returns how long after
    /// `since` that was.
    pub(crate) async fn returns(
        &self,
        back: &str,
        sources: &[&str],
        since: Instant,
        timeout: Duration,
    ) -> Result<Duration> {
        let mut missing: BTreeSet<&str> = sources.iter().copied().collect();
        while !missing.is_empty() {
            for source in sources {
                if self.answer_in(source).await? == back {
                    missing.remove(source);
                }
            }
            ensure!(since.elapsed() <= timeout, "{missing:?} do not name {back} after {timeout:?}");
            tokio::time::sleep(POLL_INTERVAL / 10).await;
        }
        Ok(since.elapsed())
    }

    /// Waits until the published shares are as before.
    pub(crate) async fn shares_return(&self, before: &Split, timeout: Duration) -> Result<()> {
        await_condition("the shares are as before", timeout, async || {
            is_within(&self.split().await?, before, TOLERANCE_POINTS)
        })
        .await
    }

    /// Checks the traffic of the clients in these clusters since then: no request was lost, and the answers match the
    /// published shares.
    pub(crate) fn served_as_published(
        &self,
        what: &str,
        since: Instant,
        sources: &[&str],
        intended: &Split,
    ) -> Result<()> {
        for (cluster, load) in CLUSTERS.iter().zip(&self.loads).filter(|(cluster, _)| sources.contains(cluster)) {
            let tally = load.since(since);
            let lost = 100.0 * tally.lost_share();
            let answered: Vec<_> = CLUSTERS.map(|to| 100.0 * tally.answered_share(to)).into();
            self.report(&format!("{what}: {cluster} was answered {answered:.0?}, {lost:.2} % lost"));
            ensure!(lost < 1.0, "{what}: {lost:.1} % of the requests from {cluster} are lost");
            for (to, answered) in CLUSTERS.iter().zip(answered) {
                let intended = 100.0 * intended[*cluster].get(*to).copied().unwrap_or_default();
                ensure!(
                    (answered - intended).abs() <= ANSWERED_TOLERANCE_POINTS,
                    "{what}: {answered:.0} % of the answers in {cluster} name {to}, not {intended:.0} %"
                );
            }
        }
        Ok(())
    }

    /// Returns when each cluster last wrote its facts, in seconds since 1970 by the broker's clock.
    pub(crate) async fn published_at(&self) -> Result<BTreeMap<String, i64>> {
        let facts = broker::api(self.fleet.broker.client()).list(&ListParams::default()).await?;
        let mut published_at = BTreeMap::new();
        for object in facts {
            let times = object.metadata.managed_fields.iter().flatten().filter_map(|entry| entry.time.as_ref());
            let last = times.map(|time| time.0.as_second()).max().unwrap_or_default();
            let cluster = object.data["spec"]["cluster"].as_str().context("no cluster")?;
            let known = published_at.entry(cluster.to_owned()).or_insert(last);
            *known = last.max(*known);
        }
        Ok(published_at)
    }

    /// Waits until all these clusters have published since `before`. Returns how long after `since` that was.
    pub(crate) async fn publishes_again(
        &self,
        clusters: &[&str],
        before: &BTreeMap<String, i64>,
        since: Instant,
        timeout: Duration,
    ) -> Result<Duration> {
        await_condition("all clusters have published again", timeout, async || {
            tokio::time::sleep(POLL_INTERVAL).await;
            let published_at = self.published_at().await?;
            for cluster in clusters {
                ensure!(
                    published_at.get(*cluster) > before.get(*cluster),
                    "{cluster} has not published: {published_at:?}"
                );
            }
            Ok(since.elapsed())
        })
        .await
    }

    /// Returns the time of a cluster's operator, in seconds since 1970.
    pub(crate) async fn clock_of(&self, cluster: &str) -> Result<i64> {
        let client = self.fleet.of(cluster)?.member.cluster.client();
        let lease: Api<Lease> = Api::namespaced(client.clone(), RELEASE_NAMESPACE);
        let lease = lease.get("landfall-operator").await?;
        let renewed = lease.spec.and_then(|spec| spec.renew_time).context("a lease that was never renewed")?;
        Ok(renewed.0.as_second())
    }

    /// Prints the state of all clusters if the scenario failed.
    pub(crate) async fn finish(&self, outcome: Result<()>) -> Result<()> {
        if outcome.is_err() {
            self.fleet.dump().await;
        }
        outcome
    }
}

async fn pass(span: Duration) -> Result<()> {
    tokio::time::sleep(span).await;
    Ok(())
}

fn policy() -> Value {
    json!({
        "loadBalancing": "optimized",
        "optimizedLoadBalancingParams": "performance",
        "minShares": {EAST: MIN_SHARE, WEST: MIN_SHARE, NORTH: MIN_SHARE},
        "optimized": {
            "roundSeconds": 30,
            "capacityRpsPerPod": POD_RPS,
            "requestsPerAnswer": REQUESTS_PER_ANSWER,
        },
    })
}

fn in_shop(mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!("shop");
    object
}
