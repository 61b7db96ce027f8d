//! Measurement targets: the exports of the local cluster, and the network paths to its peers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::plan::ServicePlan;

use crate::accept::PrometheusQueries;
use crate::observe::precedence::Precedence;
use crate::pipeline::Pipeline;
use crate::rounds::optimized;

/// An export of the local cluster whose load is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadTarget {
    pub queries: PrometheusQueries,
    /// Names of the ready pods.
    pub pods: BTreeSet<Box<str>>,
}

pub type LoadTargets = BTreeMap<ServiceKey, LoadTarget>;

/// Probe addresses of each peer. One reachable address is enough.
pub type ProbeTargets = BTreeMap<ClusterId, Vec<SocketAddr>>;

/// Returns the optimized exports of the local cluster. Empty if this replica does not lead.
pub fn load_targets(pipeline: &Pipeline) -> LoadTargets {
    let Some(plan) = pipeline.plan().filter(|_| pipeline.rounds().is_some()) else { return LoadTargets::new() };
    let (stores, perspective) = (pipeline.stores(), pipeline.perspective());
    let precedence = Precedence::new(stores, &perspective.namespace);
    let exported = |planned: &ServicePlan| planned.service.exports.contains_key(&perspective.local);
    let load_target = |key: &ServiceKey| {
        let winner = precedence.winner(key).or_else(|| precedence.shadow(key));
        let pods = stores.services.pods.ready(key).into_iter().flatten().map(Into::into).collect();
        LoadTarget { queries: winner.map(|policy| policy.queries.clone()).unwrap_or_default(), pods }
    };
    optimized(plan)
        .filter(|(_, planned, _)| exported(planned))
        .map(|(key, ..)| (key.clone(), load_target(key)))
        .collect()
}

/// Returns the probe addresses that the peers report.
pub fn probe_targets(pipeline: &Pipeline) -> ProbeTargets {
    let stores = pipeline.stores();
    let local = &pipeline.perspective().local;
    let reported = stores.facts.objects.iter().chain(&stores.facts.peers).filter(|(cluster, _)| *cluster != local);
    let mut targets: BTreeMap<ClusterId, BTreeSet<SocketAddr>> = BTreeMap::new();
    for (cluster, facts) in reported.filter(|(_, facts)| !facts.probe_addresses.is_empty()) {
        // Addresses from the broker replace those from objects.
        targets.insert(cluster.clone(), facts.probe_addresses.iter().copied().collect());
    }
    targets.into_iter().map(|(cluster, addresses)| (cluster, addresses.into_iter().collect())).collect()
}
