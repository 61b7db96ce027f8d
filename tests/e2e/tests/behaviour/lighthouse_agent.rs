//! Landfall beside a real Lighthouse agent: answers follow the agent's objects, and Landfall writes none of them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_e2e::dump::dump;
use landfall_e2e::lighthouse::{self, LighthouseAgent};
use landfall_e2e::member::DEFAULT_TIMEOUT;
use landfall_e2e::objects::{self, Health};
use landfall_e2e::wait::{holds_for, report};
use landfall_e2e::{Member, Question, await_condition, now, run};
use serde_json::{Value, json};

const NAMESPACE: &str = "shop";
const NAME: &str = "web.shop.svc.clusterset.local";

/// Service IPs. Both API servers have the same range, so the addresses are chosen to differ.
const EAST: &str = "10.96.1.1";
const WEST: &str = "10.96.2.1";

/// Time for which nothing may change after an agent was killed.
const AGENT_OUTAGE: Duration = Duration::from_secs(2);

#[test]
fn answers_follow_a_lighthouse_agent_and_landfall_writes_none_of_its_objects() -> Result<()> {
    run(async {
        let (east, west) = tokio::try_join!(Member::start("agent-east", "east"), Member::start("agent-west", "west"))?;
        // The broker is a namespace of east.
        let (agent, peer) = tokio::try_join!(
            LighthouseAgent::start(&east.cluster, "east", &east.cluster),
            LighthouseAgent::start(&west.cluster, "west", &east.cluster),
        )?;
        let mut bed = Bed { east, west, agent, peer };
        let outcome = scenario(&mut bed).await;
        if outcome.is_err() {
            dump(&bed.east.cluster, None).await;
            dump(&bed.west.cluster, None).await;
        }
        outcome
    })
}

struct Bed {
    east: Member,
    west: Member,
    agent: LighthouseAgent,
    peer: LighthouseAgent,
}

async fn scenario(bed: &mut Bed) -> Result<()> {
    for (member, address) in [(&bed.east, EAST), (&bed.west, WEST)] {
        apply(member, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})).await?;
        apply(member, service(address)).await?;
        apply(member, endpoints(Health::Ready)).await?;
    }
    bed.name_does_not_exist("before it is exported").await?;

    apply(&bed.west, export()).await?;
    bed.answered("an export of west", WEST, WEST).await?;
    apply(&bed.east, export()).await?;
    bed.answered("an export of east", EAST, WEST).await?;

    apply(&bed.west, endpoints(Health::NotReady)).await?;
    bed.answered("west is not ready", EAST, EAST).await?;
    apply(&bed.west, endpoints(Health::Ready)).await?;
    bed.answered("west is ready again", EAST, WEST).await?;

    objects::delete(bed.east.cluster.client(), &export()).await?;
    bed.answered("east no longer exports it", WEST, WEST).await?;
    apply(&bed.east, export()).await?;
    bed.answered("east exports it again", EAST, WEST).await?;

    headless(bed).await?;
    restarts(bed).await?;
    landfall_wrote_no_foreign_object(&bed.east)?;
    landfall_wrote_no_foreign_object(&bed.west)
}

/// Exports pods of west. East answers with all ready pods, and with each by its name.
async fn headless(bed: &Bed) -> Result<()> {
    apply(&bed.west, headless_service()).await?;
    apply(&bed.west, pods(&[("db-0", "10.244.2.1", true), ("db-1", "10.244.2.2", true)])).await?;
    apply(&bed.west, export_of("db")).await?;
    bed.pods_in_east("db.shop", &["10.244.2.1", "10.244.2.2"]).await?;
    bed.pods_in_east("db-1.west.db.shop", &["10.244.2.2"]).await?;
    apply(&bed.west, pods(&[("db-0", "10.244.2.1", true), ("db-1", "10.244.2.2", false)])).await?;
    bed.pods_in_east("db.shop", &["10.244.2.1"]).await?;
    bed.pods_in_east("db-0.west.db.shop", &["10.244.2.1"]).await
}

/// Changes made while an agent is down take effect once it is back, and until then nothing changes.
async fn restarts(bed: &mut Bed) -> Result<()> {
    bed.peer.stop()?;
    apply(&bed.west, endpoints(Health::NotReady)).await?;
    holds_for("answers stay the same without the agent of west", AGENT_OUTAGE, async || {
        bed.answered_now(&bed.east, EAST).await?;
        bed.answered_now(&bed.west, WEST).await
    })
    .await?;
    bed.peer.restart().await?;
    bed.answered("west's agent is back and west is not ready", EAST, EAST).await?;

    apply(&bed.west, endpoints(Health::Ready)).await?;
    bed.answered("west is ready", EAST, WEST).await?;
    bed.agent.restart().await?;
    bed.peer.restart().await?;
    bed.answered("both agents are restarted", EAST, WEST).await?;

    objects::delete(bed.east.cluster.client(), &export()).await?;
    objects::delete(bed.west.cluster.client(), &export()).await?;
    bed.name_does_not_exist("no cluster exports it").await
}

impl Bed {
    /// Waits until east answers with one address and west with the other.
    async fn answered(&self, what: &str, in_east: &str, in_west: &str) -> Result<()> {
        let since = now();
        await_condition(what, DEFAULT_TIMEOUT, async || {
            self.answered_now(&self.east, in_east).await?;
            self.answered_now(&self.west, in_west).await
        })
        .await?;
        report(&format!("lighthouse agent: {what}: answered after {:?}", since.elapsed()));
        Ok(())
    }

    async fn answered_now(&self, member: &Member, address: &str) -> Result<()> {
        let reply = member.query(&Question::a(NAME)?).await?;
        ensure!(reply.is(address), "{} answers {reply} instead of {address}", member.cluster.name());
        Ok(())
    }

    /// Waits until east answers with exactly these addresses.
    async fn pods_in_east(&self, name: &str, addresses: &[&str]) -> Result<()> {
        let question = Question::a(&format!("{name}.svc.clusterset.local"))?;
        await_condition(&format!("{name} is answered"), DEFAULT_TIMEOUT, async || {
            let reply = self.east.query(&question).await?;
            let mut answered: Vec<String> = reply.addresses.iter().map(ToString::to_string).collect();
            answered.sort();
            ensure!(answered == addresses, "{reply} instead of {addresses:?}");
            Ok(())
        })
        .await
    }

    async fn name_does_not_exist(&self, what: &str) -> Result<()> {
        await_condition(what, DEFAULT_TIMEOUT, async || {
            for member in [&self.east, &self.west] {
                let reply = member.query(&Question::a(NAME)?).await?;
                ensure!(reply.rcode.to_string() == "NXDOMAIN", "{} answers {reply}", member.cluster.name());
            }
            Ok(())
        })
        .await
    }
}

/// Checks the audit log: the agent wrote its objects, Landfall wrote others, and Landfall wrote none of the agent's.
fn landfall_wrote_no_foreign_object(member: &Member) -> Result<()> {
    let log = fs::read_to_string(member.cluster.control_plane.audit_log())?;
    let (mut by_agent, mut by_landfall) = (0, 0);
    for line in log.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("the audit log has {line:?}"))?;
        let (user, resource) = (event["user"]["username"].as_str(), event["objectRef"]["resource"].as_str());
        let user = user.with_context(|| format!("no user in {line}"))?;
        let is_foreign = matches!(resource, Some("serviceexports" | "serviceimports" | "endpointslices"));
        ensure!(!(is_foreign && user.contains("landfall")), "{user} wrote to {}", event["objectRef"]);
        by_agent += usize::from(is_foreign && user == lighthouse::USER);
        by_landfall += usize::from(!is_foreign && user.contains("landfall"));
    }
    let cluster = member.cluster.name();
    ensure!(by_agent > 0, "the audit log of {cluster} has no write of the agent, so it proves nothing");
    ensure!(by_landfall > 0, "the audit log of {cluster} has no write of Landfall, so it proves nothing");
    report(&format!(
        "lighthouse agent: in {cluster} the agent wrote {by_agent} times, Landfall {by_landfall} times and none of the agent's objects"
    ));
    Ok(())
}

async fn apply(member: &Member, object: Value) -> Result<()> {
    objects::apply(member.cluster.client(), &object).await?;
    Ok(())
}

fn export() -> Value {
    export_of("web")
}

fn export_of(service: &str) -> Value {
    json!({
        "apiVersion": "multicluster.x-k8s.io/v1beta1",
        "kind": "ServiceExport",
        "metadata": {"name": service, "namespace": NAMESPACE},
    })
}

fn headless_service() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "db", "namespace": NAMESPACE},
        "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"name": "sql", "port": 5432}]},
    })
}

/// Builds the slice of the headless service from name, address and readiness of each pod.
fn pods(pods: &[(&str, &str, bool)]) -> Value {
    let mut slice = objects::local_slice("db", &[], Health::Ready);
    slice["metadata"]["namespace"] = json!(NAMESPACE);
    slice["endpoints"] = pods
        .iter()
        .map(|(name, address, ready)| {
            json!({
                "addresses": [address],
                "hostname": name,
                "conditions": {"ready": ready, "serving": ready, "terminating": false},
                "targetRef": {"kind": "Pod", "name": name, "namespace": NAMESPACE},
            })
        })
        .collect();
    slice
}

fn service(address: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {"clusterIP": address, "selector": {"app": "web"}, "ports": [{"name": "http", "port": 8080}]},
    })
}

/// Builds the slice that Kubernetes' controller writes for two pods that are both ready or both not.
fn endpoints(health: Health) -> Value {
    let mut slice = objects::local_slice("web", &["10.244.0.11", "10.244.0.12"], health);
    slice["metadata"]["namespace"] = json!(NAMESPACE);
    slice
}
