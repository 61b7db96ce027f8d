//! The bed itself: a test can only trust what it stands on.

use anyhow::{Context, Result, ensure};
use landfall_e2e::member::{SOON, run};
use landfall_e2e::{Cluster, await_condition, objects};
use serde_json::json;

#[test]
fn a_control_plane_restarts_with_its_objects() -> Result<()> {
    run(async {
        let cluster = Cluster::bare("bed-restart", "east").await?;
        let kept = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": "default"}, "data": {"a": "b"}});
        objects::apply(cluster.client(), &kept).await?;

        cluster.control_plane.stop_api_server()?;
        let config_maps = objects::api(cluster.client(), "v1", "ConfigMap", Some("default"));
        ensure!(config_maps.get("kept").await.is_err(), "a stopped API server answered");

        cluster.control_plane.start_api_server().await?;
        let read = config_maps.get("kept").await?;
        ensure!(read.data["data"] == kept["data"], "it came back as {:?}", read.data);
        Ok(())
    })
}

#[test]
fn nothing_a_cluster_started_outlives_it() -> Result<()> {
    run(async {
        let cluster = Cluster::bare("bed-ends", "east").await?;
        let folder = cluster.folder().to_owned();
        let mine = || processes_that_name(&folder.to_string_lossy());
        ensure!(mine()?.len() == 2, "etcd and the API server should run, and there are {:?}", mine()?);
        drop(cluster);
        ensure!(mine()?.is_empty(), "left behind: {:?}", mine()?);
        ensure!(!folder.join("etcd").exists(), "etcd's data is still there");
        Ok(())
    })
}

#[test]
fn a_deleted_namespace_takes_its_objects_with_it() -> Result<()> {
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
        await_condition("the namespace is gone", SOON, async || {
            let left = namespaces.get_opt("gone").await?;
            ensure!(left.is_none(), "{:?}", left.map(|it| it.data["status"].clone()));
            Ok(())
        })
        .await
    })
}

/// The ids of the processes with `text` in their command line.
fn processes_that_name(text: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        // Those that are no process, or ended since, have no command line.
        let Ok(command_line) = std::fs::read(path.join("cmdline")) else { continue };
        if String::from_utf8_lossy(&command_line).contains(text) {
            found.push(path.file_name().context("a path without a name")?.to_string_lossy().into_owned());
        }
    }
    Ok(found)
}
