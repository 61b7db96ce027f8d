//! Output of a failed test: the objects as they are, and the end of every log.

use std::fs;

use crate::cluster::Cluster;
use crate::process::last_lines;

const MAX_LANDFALL_LINES: usize = 60;
const MAX_CONTROL_PLANE_LINES: usize = 10;

/// Limit on the objects that are printed: thousands of endpoints would bury the logs.
const MAX_OBJECT_CHARACTERS: usize = 20_000;

const KINDS: &str = "serviceselections.landfall.dev,selectionpolicies.landfall.dev,clusterfacts.landfall.dev,serviceimports.multicluster.x-k8s.io,endpointslices.discovery.k8s.io";

/// Prints the state of a cluster to standard error: of one namespace, or of all (`None`).
pub async fn dump(cluster: &Cluster, namespace: Option<&str>) {
    let scope = namespace.map_or_else(|| vec!["--all-namespaces"], |name| vec!["--namespace", name]);
    let objects = cluster.kubectl(&[&["get", KINDS, "--output", "yaml"], scope.as_slice()].concat()).await;
    let objects = objects.map_or_else(|error| format!("{error:#}"), |output| output.stdout + &output.stderr);
    let objects: String = objects.chars().take(MAX_OBJECT_CHARACTERS).collect();
    eprintln!("──── {}: objects\n{objects}", cluster.name());
    for (name, lines) in logs(cluster) {
        eprintln!("──── {}: end of {name}\n{lines}", cluster.name());
    }
}

fn logs(cluster: &Cluster) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(cluster.folder().join("log")) else { return Vec::new() };
    let mut logs: Vec<(String, String)> = entries
        .filter_map(Result::ok)
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let count = if name.starts_with("landfall") { MAX_LANDFALL_LINES } else { MAX_CONTROL_PLANE_LINES };
            let lines = last_lines(&entry.path(), count);
            (name, lines)
        })
        .collect();
    logs.sort();
    logs
}
