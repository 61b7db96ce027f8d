//! Broker that is overloaded and then broken: it answers 429, and then 500. The weights stay, the broker gets few
//! requests, and it receives the pending facts once it recovers. docs/failures.md has the figures.
//!
//! One cluster runs. The administrator of the broker writes the facts of two others, as in `hostile_facts`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::{Method, StatusCode};
use landfall_e2e::api_proxy::ApiProxy;
use landfall_e2e::broker::{self, facts};
use landfall_e2e::landfall::RELEASE_NAMESPACE;
use landfall_e2e::member::DEFAULT_TIMEOUT;
use landfall_e2e::objects::{self, Health};
use landfall_e2e::wait::{report, while_it_holds};
use landfall_e2e::{Fleet, Question, await_condition, now, run};
use serde_json::{Value, json};

const EAST: &str = "east";
const OTHERS: [(&str, &str); 2] = [("west", "10.2.0.1"), ("north", "10.3.0.1")];

/// Time for which the broker answers with each error, once a write was refused.
const ERROR_SPAN: Duration = Duration::from_secs(10);

/// Longest wait for an urgent write: it comes within ten seconds of the previous write.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest wait for changed credentials: the operator reads them within five seconds.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(15);

/// Pause between two checks. Each check queries the service, and frequent queries would count as demand.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Limit on the writes in ten seconds. Each failed write doubles the pause, which starts at one second: that makes four
/// writes, and one more on a slow machine.
const MAX_WRITES: usize = 5;

/// Limit on the requests in a time span. Lists are retried after 50, 100, 200 and 400 ms, and then twice a second.
/// Before that, up to four broken watches are resumed.
fn max_requests(span: Duration) -> usize {
    MAX_WRITES + 4 + 4 + 2 * usize::try_from(span.as_secs() + 1).unwrap_or(usize::MAX)
}

#[test]
fn broker_with_errors_changes_no_weight_gets_few_requests_and_receives_pending_facts_afterwards() -> Result<()> {
    run(async {
        let fleet = Fleet::start("broker-errors", 1).await?;
        let proxy = ApiProxy::start(&fleet.broker.control_plane).await?;
        let scene = Scene { fleet, proxy };
        let outcome = scene.play().await;
        if outcome.is_err() {
            scene.fleet.dump().await;
        }
        outcome
    })
}

struct Scene {
    fleet: Fleet,
    proxy: ApiProxy,
}

impl Scene {
    async fn play(&self) -> Result<()> {
        self.settle().await?;
        broker::kubeconfig(&self.fleet.broker, EAST, self.proxy.port).await?;
        await_condition("east reaches the broker through the proxy", CREDENTIALS_TIMEOUT, async || {
            let forwarded = self.proxy.forwarded();
            // One of the writes reads the broker's clock.
            let writes = forwarded.iter().filter(|it| it.method == Method::PATCH).count();
            ensure!(writes > 1 && forwarded.iter().any(|it| it.path.contains("watch=true")), "{forwarded:?}");
            Ok(())
        })
        .await?;

        let since = now();
        self.continues_while("the broker answers 429", self.too_many_requests()).await?;
        self.continues_while("the broker answers 500", self.broken()).await?;
        let (errors, refused) = (since.elapsed(), self.proxy.refused());
        let writes = refused.iter().filter(|it| it.method == Method::PATCH).count();
        report(&format!(
            "broker errors: in {errors:?} the broker got {} requests, {writes} of them writes",
            refused.len()
        ));
        ensure!(writes <= MAX_WRITES && refused.len() <= max_requests(errors), "{errors:?}: {refused:?}");
        ensure!(refused.len() > writes, "no list or watch reached the broken broker: {refused:?}");

        let since = now();
        self.proxy.forward();
        // No pause is longer than all earlier pauses together.
        let published = await_condition("the broker has the drain", errors, async || {
            let written = broker::api(self.fleet.broker.client()).get("east-0").await?;
            ensure!(written.data["spec"]["drain"]["overSeconds"] == 86_400, "{:?}", written.data["spec"]);
            Ok(since.elapsed())
        });
        let published = self.continues_while("the broker receives the pending facts", published).await?;
        report(&format!("broker errors: the broker has the pending facts {published:?} after its recovery"));
        self.logged_once()?;
        self.programs_run()
    }

    /// Publishes facts by which west is busier than north, so north gets all clients of east. Without these facts, each
    /// would get a half.
    async fn settle(&self) -> Result<()> {
        let shop = |mut object: Value| {
            object["metadata"]["namespace"] = json!("shop");
            object
        };
        let policy = json!({"loadBalancing": "optimized", "optimized": {"roundSeconds": 30, "capacityRpsPerPod": 100}});
        self.fleet.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})).await?;
        self.fleet.apply(&shop(objects::import("web", &OTHERS.map(|(id, _)| id)))).await?;
        for (id, address) in OTHERS {
            self.fleet.apply(&shop(objects::slice("web", id, address, Health::Ready))).await?;
        }
        self.fleet.apply(&shop(objects::policy("web", policy))).await?;
        for (id, load_rps) in [("west", 150), ("north", 100)] {
            objects::apply(self.fleet.broker.client(), &service_facts(id, load_rps)).await?;
        }
        await_condition("north has all clients", DEFAULT_TIMEOUT, async || self.weights_unchanged().await).await
    }

    /// Answers 429 while the watch stays open, and gives east facts that must be written at once.
    async fn too_many_requests(&self) -> Result<()> {
        self.proxy.refuse_with(StatusCode::TOO_MANY_REQUESTS);
        let client = self.fleet.of(EAST)?.member.cluster.client();
        objects::apply(client, &drained_facts()).await?;
        await_condition("a write is refused", PUBLISH_TIMEOUT, async || {
            let refused = self.proxy.refused();
            ensure!(refused.iter().any(|it| it.method == Method::PATCH), "{refused:?}");
            Ok(())
        })
        .await?;
        tokio::time::sleep(ERROR_SPAN).await;
        Ok(())
    }

    /// Answers 500 and closes all connections, so that everything must be listed again.
    async fn broken(&self) -> Result<()> {
        self.proxy.refuse_with(StatusCode::INTERNAL_SERVER_ERROR);
        self.proxy.cut();
        tokio::time::sleep(ERROR_SPAN).await;
        Ok(())
    }

    /// Runs `action` while the weights stay, DNS answers by them, and the programs run.
    async fn continues_while<T>(&self, what: &str, action: impl Future<Output = Result<T>>) -> Result<T> {
        let look = async || {
            tokio::time::sleep(POLL_INTERVAL).await;
            self.programs_run()?;
            self.weights_unchanged().await
        };
        while_it_holds(what, look, action).await
    }

    async fn weights_unchanged(&self) -> Result<()> {
        let it = self.fleet.of(EAST)?;
        let status = it.selection("shop", "web").await?;
        let weight = |it: &Value| Some((it["cluster"].as_str()?.to_owned(), it["weight"].as_u64()?));
        let weights: BTreeMap<_, _> = status["clusters"].as_array().into_iter().flatten().filter_map(weight).collect();
        ensure!(weights == BTreeMap::from([("north".into(), 1000), ("west".into(), 0)]), "{status}");
        let reply = it.member.query(&Question::a("web.shop.svc.clusterset.local")?).await?;
        ensure!(reply.is(OTHERS[1].1), "{reply}");
        Ok(())
    }

    fn programs_run(&self) -> Result<()> {
        let member = &self.fleet.of(EAST)?.member;
        member.operator.process.check_running()?;
        member.dns.landfall.process.check_running()
    }

    fn logged_once(&self) -> Result<()> {
        let log = self.fleet.of(EAST)?.member.cluster.folder().join("log/landfall-operator-a.log");
        let log = fs::read_to_string(&log).with_context(|| log.display().to_string())?;
        let warnings = log.matches("facts not written to the broker").count();
        ensure!(warnings == 1, "{warnings} warnings about one outage:\n{log}");
        Ok(())
    }
}

/// Builds facts of a cluster that exports the service.
fn service_facts(cluster: &str, load_rps: u32) -> Value {
    let mut service_facts = facts(&format!("{cluster}-0"), cluster);
    service_facts["spec"]["services"] = json!([{
        "namespace": "shop", "name": "web", "capacityRps": 200, "loadRps": load_rps, "demandRps": load_rps,
    }]);
    service_facts
}

/// Builds an object by which east is drained. East exports nothing, so its clients are not affected, but the fact must
/// be published at once.
fn drained_facts() -> Value {
    json!({
        "apiVersion": "landfall.dev/v1alpha1",
        "kind": "ClusterFacts",
        "metadata": {"name": EAST, "namespace": RELEASE_NAMESPACE},
        "spec": {"cluster": EAST, "drain": {"since": "2026-01-01T00:00:00Z", "overSeconds": 86_400}},
    })
}
