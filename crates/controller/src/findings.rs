//! Problems with the objects of a cluster, one line each.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::observe::precedence::{Precedence, submariner};
use crate::pipeline::Pipeline;

/// Returns the problems with the objects of a cluster: malformed objects, and objects whose condition would be false.
pub fn problems(pipeline: &Pipeline) -> BTreeSet<String> {
    let malformed = pipeline.stores().problems().map(in_file);
    malformed.chain(refused(pipeline)).chain(misnamed(pipeline)).collect()
}

/// Returns the line for a field or an object of a file that was ignored.
pub fn in_file(problem: impl Display) -> String {
    format!("ignored: {problem}")
}

/// Returns the policies that are not in force, and why.
fn refused(pipeline: &Pipeline) -> Vec<String> {
    let stores = pipeline.stores();
    let precedence = Precedence::new(stores, &pipeline.perspective().namespace);
    let refused = |(object, policy)| {
        let verdict = precedence.verdict(object, policy);
        let place = format!("not in force in {}: SelectionPolicy {object}", pipeline.perspective().local);
        (!verdict.accepted).then(|| format!("{place}: {}: {}", verdict.reason, verdict.message))
    };
    stores.settings.policies.iter().filter_map(refused).collect()
}

/// Returns the Submariner resource in force if its cluster id differs from the name of the folder.
fn misnamed(pipeline: &Pipeline) -> Option<String> {
    let (object, submariner) = submariner(pipeline.stores(), pipeline.perspective())?;
    let local = &pipeline.perspective().local;
    let id = submariner.cluster_id.as_ref().filter(|id| *id != local)?;
    Some(format!(
        "Submariner {object}: spec.clusterID {id} differs from the name of its folder, {local}; {local} is used"
    ))
}

/// Returns why the facts of the other clusters are unknown. Returns `None` if they have been read from the broker.
pub fn broker_problem(pipeline: &Pipeline) -> Option<String> {
    match &pipeline.stores().facts.broker {
        None => Some(
            "no Submariner resource here names a broker, so the facts of the other clusters are not known; if the operator \
             has a broker, name it with --broker-kubeconfig"
                .to_owned(),
        ),
        Some(broker) => broker.lost.as_ref().map(|why| format!("cannot read the facts of the other clusters from the broker: {why}")),
    }
}
