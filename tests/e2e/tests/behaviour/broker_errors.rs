//! A broker that has too much to do, and then one that is broken: it answers, and says 429 and 500. What was agreed stays,
//! it is asked no more often than it can bear, and it is told what it missed. docs/failures.md has the figures.
//!
//! One cluster runs, and the administrator of the broker plays two others, as in `hostile_facts`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::{Method, StatusCode};
use landfall_e2e::broker::{self, facts};
use landfall_e2e::cluster::RELEASE_NAMESPACE;
use landfall_e2e::front::Front;
use landfall_e2e::member::SOON;
use landfall_e2e::objects::{self, Health};
use landfall_e2e::wait::{report, while_it_holds};
use landfall_e2e::{Fleet, Question, await_condition, now, run};
use serde_json::{Value, json};

const EAST: &str = "east";
const OTHERS: [(&str, &str); 2] = [("west", "10.2.0.1"), ("north", "10.3.0.1")];

/// How long it answers with each of the errors, once the first has met a write.
const ERRORS: Duration = Duration::from_secs(10);

/// Until a write of what cannot wait is tried: ten seconds after the one before.
const NEWS: Duration = Duration::from_secs(15);

/// Other credentials are found within five seconds.
const FOUND: Duration = Duration::from_secs(15);

/// Between two looks: each asks for the service, and who asks often is a demand.
const LOOK: Duration = Duration::from_millis(250);

/// Each write that fails doubles the pause before the next, from a second on: in ten seconds there are four, and one more
/// where the machine is slow.
const MOST_WRITES: usize = 5;

/// What was read is asked for again after 50, 100, 200, 400 ms, and then twice a second. Before, a watch that broke was
/// resumed up to four times.
fn most_requests(span: Duration) -> usize {
    MOST_WRITES + 4 + 4 + 2 * usize::try_from(span.as_secs() + 1).unwrap_or(usize::MAX)
}

#[test]
fn a_broker_that_answers_with_errors_moves_no_weight_is_not_besieged_and_is_told_when_it_recovers() -> Result<()> {
    run(async {
        let fleet = Fleet::start("broker-errors", 1).await?;
        let front = Front::start(&fleet.broker.control_plane).await?;
        let scene = Scene { fleet, front };
        let outcome = scene.play().await;
        if outcome.is_err() {
            scene.fleet.dump().await;
        }
        outcome
    })
}

struct Scene {
    fleet: Fleet,
    front: Front,
}

impl Scene {
    async fn play(&self) -> Result<()> {
        self.agree().await?;
        broker::kubeconfig(&self.fleet.broker, EAST, self.front.port).await?;
        await_condition("east goes to the broker through what stands before it", FOUND, async || {
            let passed = self.front.passed();
            // One of the writes asks for the time there.
            let writes = passed.iter().filter(|it| it.method == Method::PATCH).count();
            ensure!(writes > 1 && passed.iter().any(|it| it.what.contains("watch=true")), "{passed:?}");
            Ok(())
        })
        .await?;

        let since = now();
        self.goes_on("the broker answers 429", self.too_many_requests()).await?;
        self.goes_on("the broker answers 500", self.broken()).await?;
        let (errors, refused) = (since.elapsed(), self.front.refused());
        let writes = refused.iter().filter(|it| it.method == Method::PATCH).count();
        report(&format!(
            "broker errors: in {errors:?} it was asked {} times, {writes} of them to write",
            refused.len()
        ));
        ensure!(writes <= MOST_WRITES && refused.len() <= most_requests(errors), "{errors:?}: {refused:?}");
        ensure!(refused.len() > writes, "nobody asked the broken broker for anything: {refused:?}");

        let since = now();
        self.front.pass_on();
        // No pause is longer than all those before together.
        let told = await_condition("the broker is told", errors, async || {
            let written = broker::api(self.fleet.broker.client()).get("east-0").await?;
            ensure!(written.data["spec"]["drain"]["overSeconds"] == 86_400, "{:?}", written.data["spec"]);
            Ok(since.elapsed())
        });
        let told = self.goes_on("the broker is told what it missed", told).await?;
        report(&format!("broker errors: it is told what it missed {told:?} after it recovered"));
        self.complained_once()?;
        self.programs_run()
    }

    /// West is busier than north, and so north has all of east's clients: whoever forgot what they said would give each a half.
    async fn agree(&self) -> Result<()> {
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
            objects::apply(self.fleet.broker.client(), &said(id, load_rps)).await?;
        }
        await_condition("north has all clients", SOON, async || self.as_agreed().await).await
    }

    /// With the watch as it is, east has something to tell that cannot wait.
    async fn too_many_requests(&self) -> Result<()> {
        self.front.refuse_with(StatusCode::TOO_MANY_REQUESTS);
        let client = self.fleet.of(EAST)?.member.cluster.client();
        objects::apply(client, &emptied()).await?;
        await_condition("a write is refused", NEWS, async || {
            let refused = self.front.refused();
            ensure!(refused.iter().any(|it| it.method == Method::PATCH), "{refused:?}");
            Ok(())
        })
        .await?;
        tokio::time::sleep(ERRORS).await;
        Ok(())
    }

    /// Everything breaks, and all that was read is to be read anew.
    async fn broken(&self) -> Result<()> {
        self.front.refuse_with(StatusCode::INTERNAL_SERVER_ERROR);
        self.front.cut();
        tokio::time::sleep(ERRORS).await;
        Ok(())
    }

    /// Does `action` while the weights stay, clients are answered by them, and the programs run.
    async fn goes_on<T>(&self, what: &str, action: impl Future<Output = Result<T>>) -> Result<T> {
        let look = async || {
            tokio::time::sleep(LOOK).await;
            self.programs_run()?;
            self.as_agreed().await
        };
        while_it_holds(what, look, action).await
    }

    async fn as_agreed(&self) -> Result<()> {
        let it = self.fleet.of(EAST)?;
        let status = it.selection("shop", "web").await?;
        let weight = |it: &Value| Some((it["cluster"].as_str()?.to_owned(), it["weight"].as_u64()?));
        let weights: BTreeMap<_, _> = status["clusters"].as_array().into_iter().flatten().filter_map(weight).collect();
        ensure!(weights == BTreeMap::from([("north".into(), 1000), ("west".into(), 0)]), "{status}");
        let reply = it.member.ask(&Question::a("web.shop.svc.clusterset.local")?).await?;
        ensure!(reply.is(OTHERS[1].1), "{reply}");
        Ok(())
    }

    fn programs_run(&self) -> Result<()> {
        let member = &self.fleet.of(EAST)?.member;
        member.operator.process.check_running()?;
        member.dns.landfall.process.check_running()
    }

    fn complained_once(&self) -> Result<()> {
        let log = self.fleet.of(EAST)?.member.cluster.folder().join("log/landfall-operator-a.log");
        let log = fs::read_to_string(&log).with_context(|| log.display().to_string())?;
        let complaints = log.matches("facts not written to the broker").count();
        ensure!(complaints == 1, "{complaints} complaints of one outage:\n{log}");
        Ok(())
    }
}

/// What a cluster says that exports the service.
fn said(cluster: &str, load_rps: u32) -> Value {
    let mut said = facts(&format!("{cluster}-0"), cluster);
    said["spec"]["services"] = json!([{
        "namespace": "shop", "name": "web", "capacityRps": 200, "loadRps": load_rps, "demandRps": load_rps,
    }]);
    said
}

/// That east is being emptied, which is nothing to its clients: it exports nothing. It is what others must know at once.
fn emptied() -> Value {
    json!({
        "apiVersion": "landfall.dev/v1alpha1",
        "kind": "ClusterFacts",
        "metadata": {"name": EAST, "namespace": RELEASE_NAMESPACE},
        "spec": {"cluster": EAST, "drain": {"since": "2026-01-01T00:00:00Z", "overSeconds": 86_400}},
    })
}
