//! Each member has an identity on the broker: it writes its own facts, and no others.

use anyhow::{Result, anyhow, ensure};
use kube::Client;
use kube::api::{DeleteParams, ListParams, PostParams};
use landfall_e2e::broker::{self, BROKER_NAMESPACE, POLICY, facts};
use landfall_e2e::cluster::McsCrds;
use landfall_e2e::{Cluster, objects, run};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

#[test]
fn member_creates_changes_and_deletes_its_own_facts() -> Result<()> {
    run(async {
        let east = member("east").await?;
        create(&east, &facts("east-7", "east"), 7).await?;
        for part in [7, 99] {
            let mut own = part_of(facts(&format!("east-{part}"), "east"), part);
            own["spec"]["generation"] = json!(12);
            let applied = objects::apply(&east, &own).await?;
            ensure!(applied.data["spec"]["generation"] == 12, "{:?}", applied.data);
            objects::delete(&east, &own).await?;
        }
        // A part without a number is the first. Some ids have a dot, and some end like the names of other members'
        // objects.
        for (id, name) in [("east", "east-0"), ("west.eu", "west.eu-0"), ("east-1", "east-1-0")] {
            let (client, own) = (member(id).await?, facts(name, id));
            objects::apply(&client, &own).await?;
            objects::delete(&client, &own).await?;
        }
        Ok(())
    })
}

#[test]
fn refusal_of_foreign_facts_names_the_policy_and_the_remedy() -> Result<()> {
    run(async {
        let east = member("east").await?;
        let foreign_name = "may write and delete east-0, east-1 and so on, and not";
        for (object, expected) in [
            (facts("west.eu-0", "west.eu"), foreign_name),
            (facts("west.eu-0", "east"), foreign_name),
            (facts("east-1-0", "east-1"), foreign_name),
            (facts("eastern-0", "east"), foreign_name),
            (facts("east", "east"), foreign_name),
            (facts("east-5", "west.eu"), "set spec.cluster to east"),
            (facts("east-5", "east"), "part 0 of the facts of east must be named east-0 and not east-5"),
            (part_of(facts("east-05", "east"), 5), "part 5 of the facts of east must be named east-5"),
        ] {
            refused(objects::apply(&east, &object).await, &object, expected)?;
            let part = object["spec"]["part"].as_i64().unwrap_or(0);
            refused(create(&east, &object, part).await, &object, expected)?;
        }
        Ok(())
    })
}

#[test]
fn member_cannot_turn_its_facts_into_those_of_another() -> Result<()> {
    run(async {
        let east = member("east").await?;
        let own = part_of(facts("east-3", "east"), 3);
        objects::apply(&east, &own).await?;
        let anothers = part_of(facts("east-3", "west.eu"), 3);
        refused(objects::apply(&east, &anothers).await, &anothers, "set spec.cluster to east")?;
        let moved = part_of(own.clone(), 4);
        refused(objects::apply(&east, &moved).await, &moved, "must be named east-4 and not east-3")?;
        objects::delete(&east, &own).await
    })
}

#[test]
fn member_can_read_foreign_facts_but_neither_change_nor_delete_them() -> Result<()> {
    run(async {
        let (north, east) = (member("north").await?, member("east").await?);
        let own = facts("north-0", "north");
        objects::apply(&north, &own).await?;
        let read = broker::api(&east).get("north-0").await?;
        ensure!(read.data["spec"]["cluster"] == "north", "{:?}", read.data);

        let expected = "cluster east may write and delete east-0";
        let mut changed = own.clone();
        changed["spec"]["generation"] = json!(99);
        refused(objects::apply(&east, &changed).await, &changed, expected)?;
        refused(objects::delete(&east, &own).await, &own, expected)?;
        let all = broker::api(&east).delete_collection(&DeleteParams::default(), &ListParams::default()).await;
        ensure!(
            all.is_err_and(|error| error.to_string().contains("cannot deletecollection")),
            "all facts were deleted"
        );
        let unchanged = broker::api(&north).get("north-0").await?;
        ensure!(unchanged.metadata.resource_version == read.metadata.resource_version, "{unchanged:?}");
        objects::delete(&north, &own).await
    })
}

#[test]
fn account_of_no_member_cannot_write_facts() -> Result<()> {
    run(async {
        let broker = broker().await?;
        let metadata = json!({"name": "shared", "namespace": BROKER_NAMESPACE});
        for object in [
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "landfall-broker"},
                "subjects": [{"kind": "ServiceAccount", "name": "shared", "namespace": BROKER_NAMESPACE}]}),
        ] {
            objects::apply(broker.client(), &object).await?;
        }
        let object = facts("shared-0", "shared");
        let outcome = objects::apply(&broker::client_of(broker, "shared").await?, &object).await;
        refused(outcome, &object, "service account shared belongs to no cluster")
    })
}

#[test]
fn administrator_writes_and_deletes_any_facts() -> Result<()> {
    run(async {
        let administrator = broker().await?.client();
        for object in [facts("south-0", "south"), facts("anything", "south")] {
            objects::apply(administrator, &object).await?;
            objects::delete(administrator, &object).await?;
        }
        Ok(())
    })
}

/// Returns the broker that these tests share.
async fn broker() -> Result<&'static Cluster> {
    static BROKER: OnceCell<Result<Cluster, String>> = OnceCell::const_new();
    let start = async || {
        let cluster = Cluster::start("identity", "broker", McsCrds::Current).await?;
        broker::prepare(&cluster, &["east", "west.eu", "east-1", "north"]).await?;
        anyhow::Ok(cluster)
    };
    let started = BROKER.get_or_init(async || start().await.map_err(|error| format!("{error:#}"))).await;
    started.as_ref().map_err(|error| anyhow!("the broker: {error}"))
}

async fn member(id: &str) -> Result<Client> {
    broker::client(broker().await?, id).await
}

fn part_of(mut facts: Value, part: i64) -> Value {
    facts["spec"]["part"] = json!(part);
    facts
}

async fn create(client: &Client, facts: &Value, part: i64) -> Result<()> {
    let object = serde_json::from_value(part_of(facts.clone(), part))?;
    broker::api(client).create(&PostParams::default(), &object).await?;
    Ok(())
}

fn refused<T>(outcome: Result<T>, object: &Value, expected: &str) -> Result<()> {
    let Err(error) = outcome else { return Err(anyhow!("accepted: {object}")) };
    let message = format!("{error:#}");
    for words in [POLICY, expected] {
        ensure!(message.contains(words), "the message does not contain {words:?}: {message}");
    }
    Ok(())
}
