//! Objects on the broker are not trusted: impossible values are left out and named, and change no weight.
//!
//! One cluster runs. The administrator of the broker is exempt from the policy and writes the facts of all others:
//! first of two good clusters that export a service, and then of hostile ones.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::{Patch, PatchParams};
use landfall_e2e::broker::{self, BROKER_NAMESPACE, facts};
use landfall_e2e::exported::{Split, is_within};
use landfall_e2e::member::DEFAULT_TIMEOUT;
use landfall_e2e::objects::{self, Health};
use landfall_e2e::wait::holds_for;
use landfall_e2e::{Fleet, await_condition, run};
use serde_json::{Value, json};

const EAST: &str = "east";
const GOOD: [(&str, &str); 2] = [("west", "10.2.0.1"), ("north", "10.3.0.1")];

/// Longest round: 30 s, a jitter of a tenth, and the time to publish.
const MAX_ROUND: Duration = Duration::from_secs(38);

/// Tolerance for a weight, in percentage points. The weights must stay; their exact values do not matter.
const TOLERANCE_POINTS: f64 = 1.0;

const SUBMARINER: (&str, &str, &str) = ("submariner.io/v1alpha1", "Submariner", "submariner-operator");

#[test]
fn impossible_facts_are_left_out_and_named_and_the_older_of_two_clusters_with_one_id_continues() -> Result<()> {
    run(async {
        let scene = Scene { fleet: Fleet::start("hostile", 1).await? };
        let outcome = scene.play().await;
        if outcome.is_err() {
            scene.fleet.dump().await;
        }
        outcome
    })
}

struct Scene {
    fleet: Fleet,
}

impl Scene {
    async fn play(&self) -> Result<()> {
        self.export().await?;
        self.good_facts().await.context("good facts")?;
        self.hostile_facts().await.context("hostile facts")?;
        self.broken_meter().await.context("a broken meter")?;
        self.older_duplicate().await.context("an older duplicate id")?;
        self.refused_writes().await.context("refused writes")
    }

    /// Applies the objects that an agent and Submariner's operator leave in east: two other clusters export a service.
    async fn export(&self) -> Result<()> {
        let shop = |mut object: Value| {
            object["metadata"]["namespace"] = json!("shop");
            object
        };
        let policy = json!({"loadBalancing": "optimized", "optimized": {"roundSeconds": 30, "capacityRpsPerPod": 100}});
        let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.fleet.apply(&namespace("shop")).await?;
        self.fleet.apply(&namespace(SUBMARINER.2)).await?;
        self.fleet.apply(&submariner()).await?;
        self.fleet.apply(&shop(objects::import("web", &GOOD.map(|(id, _)| id)))).await?;
        for (id, address) in GOOD {
            self.fleet.apply(&shop(objects::slice("web", id, address, Health::Ready))).await?;
        }
        self.fleet.apply(&shop(objects::policy("web", policy))).await
    }

    /// Publishes facts by which west is busier than north and gets no share. Then publishes equal facts, which give
    /// each a half, so that any change in the facts of one cluster shows.
    async fn good_facts(&self) -> Result<()> {
        self.write(&service_facts("west", 200.0, 150.0)).await?;
        self.write(&service_facts("north", 200.0, 100.0)).await?;
        self.reaches(&[("west", 0.0), ("north", 1.0)]).await?;
        self.write(&service_facts("west", 200.0, 100.0)).await?;
        self.reaches(&[("west", 0.5), ("north", 0.5)]).await?;
        await_condition("east has written its own facts", MAX_ROUND, async || self.own_instance().await.map(drop))
            .await?;
        self.has_condition("True", "Connected", "").await
    }

    /// Publishes objects with a foreign name, of a future version, and with impossible numbers.
    async fn hostile_facts(&self) -> Result<()> {
        let before = self.split().await?;
        let mut misnamed = service_facts("west", 1e9, 0.0);
        misnamed["metadata"]["name"] = json!("mallory-0");
        let mut another_part = service_facts("north", 0.0, 1e9);
        another_part["metadata"]["name"] = json!("north-2");
        another_part["spec"]["part"] = json!(3);
        let mut from_the_future = service_facts("north", 1e9, 0.0);
        from_the_future["spec"]["version"] = json!(99);
        for hostile in [misnamed, another_part, from_the_future, impossible("mars")] {
            self.write(&hostile).await?;
        }
        self.rejects(&[("not_its_owners", 2), ("version", 1), ("field", 1)]).await?;
        for name in ["mallory-0", "mars-0", "north-0", "north-2"] {
            self.has_condition("True", "FactsLeftOut", &format!("ClusterFacts {name}: ")).await?;
        }
        holds_for("the weights stay", MAX_ROUND, async || is_within(&self.split().await?, &before, TOLERANCE_POINTS))
            .await?;
        for name in ["mallory-0", "mars-0", "north-2"] {
            self.delete(name).await?;
        }
        self.write(&service_facts("north", 200.0, 100.0)).await?;
        self.rejects(&[]).await?;
        self.has_condition("True", "Connected", "").await
    }

    /// Publishes one impossible number of a good cluster. The rest of its facts still counts.
    async fn broken_meter(&self) -> Result<()> {
        let before = self.split().await?;
        self.write(&service_facts("north", 1e300, 100.0)).await?;
        self.rejects(&[("field", 1)]).await?;
        self.has_condition("True", "FactsLeftOut", "services[0].capacityRps").await?;
        self.write(&service_facts("north", 200.0, 100.0)).await?;
        self.rejects(&[]).await?;
        await_condition("the weights are as before", DEFAULT_TIMEOUT, async || {
            is_within(&self.split().await?, &before, TOLERANCE_POINTS)
        })
        .await
    }

    async fn older_duplicate(&self) -> Result<()> {
        let own = self.own_instance().await?;
        let before = self.split().await?;
        let mut duplicate = facts("east-0", EAST);
        duplicate["spec"]["instance"] = json!("another");
        duplicate["spec"]["since"] = json!("2020-01-01T00:00:00Z");
        self.write(&duplicate).await?;
        self.has_condition("False", "DuplicateClusterId", "instance another").await?;
        self.has_metric("landfall_duplicate_cluster_id", 1).await?;
        self.rejects(&[("own_id", 1)]).await?;
        holds_for("east writes no facts and keeps its weights", MAX_ROUND, async || {
            let instance = self.own_instance().await?;
            ensure!(instance == "another", "the facts are of instance {instance}");
            is_within(&self.split().await?, &before, TOLERANCE_POINTS)
        })
        .await?;

        self.delete("east-0").await?;
        await_condition("east writes again", DEFAULT_TIMEOUT, async || {
            let instance = self.own_instance().await?;
            ensure!(instance == own, "the facts are of instance {instance}");
            Ok(())
        })
        .await?;
        self.has_condition("True", "Connected", "").await?;
        self.has_metric("landfall_duplicate_cluster_id", 0).await?;

        // The younger instance gives way: east soon overwrites its facts.
        duplicate["spec"]["since"] = json!("2120-01-01T00:00:00Z");
        self.write(&duplicate).await?;
        await_condition("east overwrites the facts", DEFAULT_TIMEOUT, async || {
            let instance = self.own_instance().await?;
            ensure!(instance == own, "the facts are of instance {instance}");
            Ok(())
        })
        .await
    }

    /// Takes east the right to write. The other clusters would plan without it, so a condition must report it.
    async fn refused_writes(&self) -> Result<()> {
        let east = broker::client(&self.fleet.broker, EAST).await?;
        self.grant(&["get", "list", "watch"]).await?;
        await_condition("east must not write", DEFAULT_TIMEOUT, async || {
            let tried = broker::api(&east).patch("east-0", &PatchParams::default(), &Patch::Merge(json!({}))).await;
            ensure!(tried.is_err_and(|error| error.to_string().contains("forbidden")), "the write was accepted");
            Ok(())
        })
        .await?;
        self.delete("east-0").await?;
        self.has_condition("False", "NotWritten", "is forbidden").await?;
        self.grant(&["get", "list", "watch", "create", "patch", "update", "delete"]).await?;
        self.has_condition("True", "Connected", "").await?;
        self.own_instance().await.map(drop)
    }

    /// Sets the verbs that the members' role allows.
    async fn grant(&self, verbs: &[&str]) -> Result<()> {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "landfall-broker", "namespace": BROKER_NAMESPACE},
            "rules": [{"apiGroups": ["landfall.dev"], "resources": ["clusterfacts"], "verbs": verbs}],
        });
        self.write(&role).await
    }

    /// Applies an object as the administrator of the broker.
    async fn write(&self, object: &Value) -> Result<()> {
        objects::apply(self.fleet.broker.client(), object).await?;
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<()> {
        objects::delete(self.fleet.broker.client(), &facts(name, EAST)).await
    }

    /// Returns the instance in the facts of east.
    async fn own_instance(&self) -> Result<String> {
        let object = broker::api(self.fleet.broker.client()).get("east-0").await?;
        Ok(object.data["spec"]["instance"].as_str().context("no instance")?.to_owned())
    }

    async fn reaches(&self, shares: &[(&str, f64)]) -> Result<()> {
        let shares = shares.iter().map(|(cluster, share)| ((*cluster).to_owned(), *share)).collect();
        let expected = BTreeMap::from([(EAST.to_owned(), shares)]);
        await_condition("the weights follow", DEFAULT_TIMEOUT, async || {
            is_within(&self.split().await?, &expected, TOLERANCE_POINTS)
        })
        .await
    }

    async fn split(&self) -> Result<Split> {
        let status = self.fleet.of(EAST)?.selection("shop", "web").await?;
        let share = |it: &Value| -> Result<(String, f64)> {
            let weight = it["weight"].as_f64().context("no weight")?;
            Ok((it["cluster"].as_str().context("no cluster")?.into(), weight / 1000.0))
        };
        let clusters = status["clusters"].as_array().context("a selection without clusters")?;
        Ok(BTreeMap::from([(EAST.to_owned(), clusters.iter().map(share).collect::<Result<_>>()?)]))
    }

    /// Waits until the metric counts exactly these rejected objects, by reason.
    async fn rejects(&self, expected: &[(&str, u32)]) -> Result<()> {
        const METRIC: &str = "landfall_facts_rejected_objects{";
        let mut expected: Vec<String> =
            expected.iter().map(|(reason, count)| format!("{METRIC}reason=\"{reason}\"}} {count}")).collect();
        expected.sort();
        await_condition("the rejected objects are counted", DEFAULT_TIMEOUT, async || {
            let (_, page) = self.fleet.of(EAST)?.member.operator.admin_page("/metrics").await?;
            let mut counted: Vec<_> = page.lines().filter(|line| line.starts_with(METRIC)).collect();
            counted.sort_unstable();
            let counted: Vec<_> = counted.iter().map(|line| line.trim_end_matches(".0")).collect();
            ensure!(counted == expected, "{counted:?}");
            Ok(())
        })
        .await
    }

    async fn has_metric(&self, metric: &str, value: u32) -> Result<()> {
        await_condition(&format!("{metric} is {value}"), DEFAULT_TIMEOUT, async || {
            let (_, page) = self.fleet.of(EAST)?.member.operator.admin_page("/metrics").await?;
            let line = page.lines().find(|line| line.starts_with(metric)).context("no such metric")?;
            ensure!(line.trim_end_matches(".0") == format!("{metric} {value}"), "{line}");
            Ok(())
        })
        .await
    }

    /// Waits until the condition on the Submariner resource has this status and reason, and a message with `words`.
    async fn has_condition(&self, status: &str, reason: &str, words: &str) -> Result<()> {
        let client = self.fleet.of(EAST)?.member.cluster.client();
        let api = objects::api(client, SUBMARINER.0, SUBMARINER.1, Some(SUBMARINER.2));
        await_condition(&format!("the condition is {status}, {reason}"), DEFAULT_TIMEOUT, async || {
            let object = api.get("submariner").await?;
            let conditions = object.data["status"]["conditions"].as_array().context("no conditions")?;
            let broker = conditions
                .iter()
                .find(|it| it["type"] == "landfall.dev/Broker")
                .context("no condition landfall.dev/Broker")?;
            ensure!(broker["status"] == status && broker["reason"] == reason, "{broker}");
            ensure!(broker["message"].as_str().is_some_and(|message| message.contains(words)), "{broker}");
            Ok(())
        })
        .await
    }
}

/// Builds facts of a cluster that exports the service.
fn service_facts(cluster: &str, capacity_rps: f64, load_rps: f64) -> Value {
    let mut service_facts = facts(&format!("{cluster}-0"), cluster);
    service_facts["spec"]["services"] = json!([{
        "namespace": "shop", "name": "web", "capacityRps": capacity_rps, "loadRps": load_rps, "demandRps": load_rps,
    }]);
    service_facts
}

/// Builds facts with numbers that the schema accepts but that are impossible, and with addresses that must not be
/// probed.
fn impossible(cluster: &str) -> Value {
    let mut service_facts = facts(&format!("{cluster}-0"), cluster);
    service_facts["spec"]["services"] =
        json!([{"namespace": "shop", "name": "web", "capacityRps": 1e300, "deviation": 1e300}]);
    service_facts["spec"]["links"] =
        json!([{"cluster": "west", "rttMs": 1e300, "jitterMs": 1e300}, {"cluster": "-", "rttMs": 0}]);
    service_facts["spec"]["egress"] = json!([{"cluster": EAST, "usdPerGb": 1e300}]);
    service_facts["spec"]["probeAddresses"] = json!(["169.254.169.254:80", "[::]:0", "nonsense"]);
    service_facts["spec"]["parts"] = json!(100);
    service_facts["spec"]["generation"] = json!(i64::MAX);
    service_facts
}

/// Builds the Submariner resource as Submariner's operator writes it. Its broker is not in use, because
/// `--broker-kubeconfig` takes precedence.
fn submariner() -> Value {
    json!({
        "apiVersion": SUBMARINER.0,
        "kind": SUBMARINER.1,
        "metadata": {"name": "submariner", "namespace": SUBMARINER.2},
        "spec": {
            "broker": "k8s",
            "brokerK8sApiServer": "broker.example.com:6443",
            "brokerK8sRemoteNamespace": "elsewhere",
            "clusterID": EAST,
            "namespace": SUBMARINER.2,
            "clusterCIDR": "",
            "serviceCIDR": "",
            "natEnabled": true,
            "debug": false,
            "ceIPSecDebug": false,
            "serviceDiscoveryEnabled": true,
        },
    })
}
