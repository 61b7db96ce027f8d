//! The clusters of a folder, each with its own pipeline.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use landfall_operator::files::{Folder, folders};
use landfall_operator::observe::{Guide, Perspective};
use landfall_operator::pipeline::{Age, Pipeline};
use landfall_operator::precedence::Precedence;

use crate::args;

/// One pipeline per sub-folder, by cluster id. Nothing is read yet.
pub fn clusters(args: &args::Fleet) -> Result<Vec<(Folder, Pipeline)>> {
    let pipeline = |folder: &Folder| {
        let perspective = Perspective {
            local: folder.cluster.clone(),
            namespace: args.namespace.as_str().into(),
            guide: Guide::Policies,
        };
        Pipeline::new(perspective, Age::Saved)
    };
    Ok(folders(&args.dir)?.into_iter().map(|folder| (pipeline(&folder), folder)).map(|(p, f)| (f, p)).collect())
}

/// What is wrong with the manifests of a cluster, one line each.
pub fn problems(folder: &Folder, pipeline: &Pipeline) -> BTreeSet<String> {
    let in_files = folder.problems().map(ToString::to_string);
    let in_objects = pipeline.stores().problems().map(|problem| match folder.file_of(problem.kind, &problem.object) {
        Some(file) => format!("{}: {problem}", file.display()),
        None => problem.to_string(),
    });
    let refused = refused(pipeline);
    in_files.chain(in_objects).chain(refused).chain(misnamed(folder, pipeline)).collect()
}

/// What a condition would say in a cluster.
fn refused(pipeline: &Pipeline) -> Vec<String> {
    let stores = pipeline.stores();
    let precedence = Precedence::new(stores, &pipeline.perspective().namespace);
    let refused = |(object, policy)| {
        let verdict = precedence.verdict(object, policy);
        let place = format!("{}: SelectionPolicy {object}", pipeline.perspective().local);
        (!verdict.accepted).then(|| format!("{place}: {}: {}", verdict.reason, verdict.message))
    };
    stores.policies.iter().filter_map(refused).collect()
}

/// A folder whose Submariner resource says that it is another cluster: the folder's name counts.
fn misnamed(folder: &Folder, pipeline: &Pipeline) -> Option<String> {
    let (object, submariner) = landfall_operator::precedence::submariner(pipeline.stores())?;
    let says = submariner.cluster_id.as_ref().filter(|id| **id != folder.cluster)?;
    let folder: &Path = &folder.path;
    Some(format!("{}: Submariner {object} has clusterID {says}, but the folder's name counts", folder.display()))
}
