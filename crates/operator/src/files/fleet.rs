//! The clusters of a folder, each with its own pipeline, and the exchange of facts between them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::{FilesError, Folder, folders, strays as strays_in};
use crate::clock::unix_seconds;
use landfall_controller::change::PeerEvent;
use landfall_controller::facts::ClusterFacts;
use landfall_controller::observe::perspective::{Age, Perspective, RulesFrom};
use landfall_controller::pipeline::Pipeline;
use landfall_core::name::ClusterId;

/// Returns one pipeline per sub-folder, by cluster id. Nothing is read yet.
pub fn clusters(dir: &Path, namespace: &str) -> Result<Vec<(Folder, Pipeline)>, FilesError> {
    let pipeline = |local: &ClusterId| {
        let perspective = Perspective {
            local: local.clone(),
            namespace: namespace.into(),
            submariner_namespace: None,
            rules_from: RulesFrom::Policies,
        };
        Pipeline::new(perspective, Age::Saved)
    };
    Ok(folders(dir)?.into_iter().map(|folder| (pipeline(&folder.cluster), folder)).map(|(p, f)| (f, p)).collect())
}

/// Returns the clusters of a folder with all manifests read and all facts exchanged.
pub fn load(dir: &Path, namespace: &str) -> Result<Vec<(Folder, Pipeline)>, FilesError> {
    let mut clusters = clusters(dir, namespace)?;
    for (folder, pipeline) in &mut clusters {
        pipeline.apply(folder.load(), unix_seconds());
    }
    exchange_facts(&mut clusters);
    Ok(clusters)
}

/// Gives every cluster the facts of the others, as a broker would. It takes two rounds: the first one brings the
/// locations, and the price of traffic between two clusters depends on the locations of both.
pub fn exchange_facts(clusters: &mut [(Folder, Pipeline)]) {
    const ROUNDS: usize = 2;
    for _ in 0..ROUNDS {
        let facts = |pipeline: &Pipeline| (pipeline.perspective().local.clone(), Arc::new(pipeline.own_facts()));
        let published: Vec<(ClusterId, Arc<ClusterFacts>)> =
            clusters.iter().map(|(_, pipeline)| facts(pipeline)).collect();
        for (folder, pipeline) in clusters.iter_mut() {
            let peers = peers_of(&folder.cluster, &published);
            pipeline.apply(peers.cloned().map(PeerEvent::Reported), unix_seconds());
        }
    }
}

/// Returns the entries of all clusters but one.
pub fn peers_of<'a, T>(cluster: &ClusterId, all: &'a [(ClusterId, T)]) -> impl Iterator<Item = &'a T> {
    all.iter().filter(move |(id, _)| id != cluster).map(|(_, entry)| entry)
}

/// Returns a line for each manifest that lies beside the folders of the clusters.
pub fn strays(dir: &Path) -> Vec<String> {
    let line =
        |path: PathBuf| format!("ignored: {}: in no cluster's folder; move it into one, or into each", path.display());
    strays_in(dir).into_iter().map(line).collect()
}
