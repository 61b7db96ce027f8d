//! The clusters of a folder, each with its own pipeline.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use landfall_core::name::ClusterId;
use landfall_operator::accept::Facts;
use landfall_operator::files::{self, FilesError, Folder, folders};
use landfall_operator::observe::{Guide, Perspective};
use landfall_operator::pipeline::{Age, Pipeline};
use landfall_operator::precedence::{Precedence, submariner};
use landfall_operator::run::unix_seconds;
use landfall_operator::stores::Change;

use crate::args;

/// One pipeline per sub-folder, by cluster id. Nothing is read yet.
pub fn clusters(args: &args::Fleet) -> Result<Vec<(Folder, Pipeline)>, FilesError> {
    let pipeline = |local: &ClusterId| {
        let namespace = args.namespace.as_str().into();
        let local = local.clone();
        Pipeline::new(Perspective { local, namespace, submariner_namespace: None, guide: Guide::Policies }, Age::Saved)
    };
    Ok(folders(&args.dir)?.into_iter().map(|folder| (pipeline(&folder.cluster), folder)).map(|(p, f)| (f, p)).collect())
}

/// The clusters of a folder with everything read, and what is wrong with it, one line each.
pub fn loaded(args: &args::Fleet) -> Result<(Vec<Pipeline>, Vec<String>), FilesError> {
    let mut clusters = clusters(args)?;
    let mut problems = strays(args);
    for (folder, pipeline) in &mut clusters {
        pipeline.apply(folder.load(), unix_seconds());
    }
    exchange(&mut clusters);
    for (folder, pipeline) in &clusters {
        let in_files = folder.problems().map(|problem| format!("skipped: {problem}"));
        problems.extend(in_files.chain(folder.duplicates()).chain(self::problems(pipeline)));
    }
    Ok((clusters.into_iter().map(|(_, pipeline)| pipeline).collect(), problems))
}

/// Every cluster learns what the others say of themselves, as it would over a broker: where they are, and after that, what it
/// costs them to send.
pub fn exchange(clusters: &mut [(Folder, Pipeline)]) {
    const TIMES: usize = 2;
    for _ in 0..TIMES {
        let said: Vec<Arc<Facts>> = clusters.iter().map(|(_, pipeline)| Arc::new(pipeline.own_facts())).collect();
        for (folder, pipeline) in clusters.iter_mut() {
            let others = said.iter().filter(|facts| facts.cluster != folder.cluster);
            pipeline.apply(others.cloned().map(Change::Peer), unix_seconds());
        }
    }
}

/// Manifests that belong to no cluster, one line each.
pub fn strays(args: &args::Fleet) -> Vec<String> {
    let line =
        |path: PathBuf| format!("skipped: {}: in no cluster's folder; move it into one, or into each", path.display());
    files::strays(&args.dir).into_iter().map(line).collect()
}

/// What is wrong with the objects of a cluster, one line each: malformed ones, and what a condition would say.
pub fn problems(pipeline: &Pipeline) -> BTreeSet<String> {
    let malformed = pipeline.stores().problems().map(|problem| format!("skipped: {problem}"));
    malformed.chain(refused(pipeline)).chain(misnamed(pipeline)).collect()
}

fn refused(pipeline: &Pipeline) -> Vec<String> {
    let stores = pipeline.stores();
    let precedence = Precedence::new(stores, &pipeline.perspective().namespace);
    let refused = |(object, policy)| {
        let verdict = precedence.verdict(object, policy);
        let place = format!("not in force in {}: SelectionPolicy {object}", pipeline.perspective().local);
        (!verdict.accepted).then(|| format!("{place}: {}: {}", verdict.reason, verdict.message))
    };
    stores.policies.iter().filter_map(refused).collect()
}

/// A folder whose Submariner resource says that it is another cluster.
fn misnamed(pipeline: &Pipeline) -> Option<String> {
    let (object, submariner) = submariner(pipeline.stores(), pipeline.perspective())?;
    let local = &pipeline.perspective().local;
    let says = submariner.cluster_id.as_ref().filter(|id| *id != local)?;
    Some(format!("folder {local}: Submariner {object} has clusterID {says}, but the folder's name counts"))
}
