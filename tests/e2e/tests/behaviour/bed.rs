//! Tests of the test bed itself: control planes, clean-up, and the network of a fleet.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_e2e::exported::{SERVICE_TIME, is_within};
use landfall_e2e::load::Load;
use landfall_e2e::member::{DEFAULT_TIMEOUT, run};
use landfall_e2e::network::Cut;
use landfall_e2e::wait::holds_for;
use landfall_e2e::{Cluster, Exported, Fleet, await_condition, now, objects};
use serde_json::json;

#[test]
fn control_plane_restarts_with_its_objects() -> Result<()> {
    run(async {
        let cluster = Cluster::bare("bed-restart", "east").await?;
        let kept = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": "default"}, "data": {"a": "b"}});
        objects::apply(cluster.client(), &kept).await?;

        cluster.control_plane.stop_api_server()?;
        let config_maps = objects::api(cluster.client(), "v1", "ConfigMap", Some("default"));
        ensure!(config_maps.get("kept").await.is_err(), "a stopped API server answered");

        cluster.control_plane.start_api_server().await?;
        let read = config_maps.get("kept").await?;
        ensure!(read.data["data"] == kept["data"], "it has the data {:?}", read.data);
        Ok(())
    })
}

#[test]
fn processes_of_a_cluster_end_with_it() -> Result<()> {
    run(async {
        let cluster = Cluster::bare("bed-ends", "east").await?;
        let folder = cluster.folder().to_owned();
        let mine = || processes_that_name(&folder.to_string_lossy());
        ensure!(mine()?.len() == 2, "expected etcd and the API server, found {:?}", mine()?);
        drop(cluster);
        ensure!(mine()?.is_empty(), "still running: {:?}", mine()?);
        ensure!(!folder.join("etcd").exists(), "the data of etcd still exist");
        Ok(())
    })
}

#[test]
fn objects_are_deleted_with_their_namespace() -> Result<()> {
    run(async {
        let mut cluster = Cluster::bare("bed-namespace", "east").await?;
        cluster.control_plane.start_controllers()?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gone"}});
        let config_map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "it", "namespace": "gone"}});
        objects::apply(cluster.client(), &namespace).await?;
        objects::apply(cluster.client(), &config_map).await?;
        objects::delete(cluster.client(), &namespace).await?;
        let namespaces = objects::api(cluster.client(), "v1", "Namespace", None);
        await_condition("the namespace is gone", DEFAULT_TIMEOUT, async || {
            let left = namespaces.get_opt("gone").await?;
            ensure!(left.is_none(), "{:?}", left.map(|it| it.data["status"].clone()));
            Ok(())
        })
        .await
    })
}

#[test]
fn fleet_serves_the_answered_clusters_over_links_with_delays_and_cuts() -> Result<()> {
    run(async {
        let mut fleet = Fleet::start("bed-fleet", 2).await?;
        fleet.set_rtts(&[("east", "west", 60)]);
        let web = Exported::start(&mut fleet, "shop", "web", &[("east", 5), ("west", 5)]).await?;
        let in_turn = json!({"loadBalancing": "round-robin", "localPreference": "Balance"});
        web.set_policy(&fleet, in_turn).await?;
        await_condition("both halves are published", DEFAULT_TIMEOUT, async || {
            let half = BTreeMap::from(["east", "west"].map(|to| (to.to_owned(), 0.5)));
            let both = ["east", "west"].map(|from| (from.to_owned(), half.clone())).into();
            is_within(&web.split(&fleet, &["east", "west"]).await?, &both, 0.1)
        })
        .await?;
        let outcome = async {
            let load = web.load(&fleet, "east", 50).await?;
            both_serve(&load).await?;
            fleet.network.cut("east", "west", Cut::Reset);
            west_is_lost(&load).await?;
            fleet.network.restore("east", "west");
            fleet.kill("west")?;
            west_is_lost(&load).await?;
            fleet.revive("west").await?;
            both_serve(&load).await
        }
        .await;
        if outcome.is_err() {
            fleet.dump().await;
        }
        outcome
    })
}

/// Waits until each cluster serves about half, and the far one takes longer by its round-trip time.
async fn both_serve(load: &Load) -> Result<()> {
    let since = now();
    await_condition("both clusters serve", 2 * DEFAULT_TIMEOUT, async || {
        let tally = load.since(since);
        let share = tally.served_share("west");
        ensure!(tally.latencies.len() > 200 && (0.35..0.65).contains(&share), "{:?}", tally.served);
        ensure!(tally.lost_share() < 0.05, "{} failed, and {:?} were refused", tally.failed, tally.refused);
        let (fastest, slowest) = (tally.latencies.iter().min().copied(), tally.latency().1);
        let near = SERVICE_TIME..SERVICE_TIME + Duration::from_millis(40);
        ensure!(fastest.is_some_and(|it| near.contains(&it)), "the near cluster took {fastest:?}");
        ensure!(slowest >= SERVICE_TIME + Duration::from_millis(60), "the far cluster took {slowest:?}");
        Ok(())
    })
    .await
}

/// Waits until requests to west fail and requests to east succeed.
async fn west_is_lost(load: &Load) -> Result<()> {
    let since = now();
    await_condition("requests to west fail", DEFAULT_TIMEOUT, async || {
        let tally = load.since(since);
        ensure!(tally.failed > 10 && tally.served.get("east").is_some_and(|served| *served > 10), "{tally:?}");
        Ok(())
    })
    .await?;
    let settled = now();
    holds_for("west serves no request", Duration::from_secs(1), async || {
        let served = load.since(settled).served;
        ensure!(!served.contains_key("west"), "{served:?}");
        Ok(())
    })
    .await
}

/// Returns the ids of the processes with `text` in their command line.
fn processes_that_name(text: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        // Entries of other kinds, and of ended processes, have no command line.
        let Ok(command_line) = std::fs::read(path.join("cmdline")) else { continue };
        if String::from_utf8_lossy(&command_line).contains(text) {
            found.push(path.file_name().context("a path without a name")?.to_string_lossy().into_owned());
        }
    }
    Ok(found)
}
