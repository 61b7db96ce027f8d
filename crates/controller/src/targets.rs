//! What is to be measured: the exports of this cluster, and the paths to its peers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::plan::ServicePlan;

use crate::accept::Queries;
use crate::observe::precedence::Precedence;
use crate::pipeline::Pipeline;
use crate::rounds::optimized;

/// An own export to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    pub queries: Queries,
    /// The ready ones.
    pub pods: BTreeSet<Box<str>>,
}

pub type Meters = BTreeMap<ServiceKey, Meter>;

/// Where to probe each peer. Any of its addresses will do.
pub type Targets = BTreeMap<ClusterId, Vec<SocketAddr>>;

/// The exports of this cluster for which an optimiser decides.
pub fn meters(pipeline: &Pipeline) -> Meters {
    let Some(plan) = pipeline.plan().filter(|_| pipeline.rounds().is_some()) else { return Meters::new() };
    let (stores, perspective) = (pipeline.stores(), pipeline.perspective());
    let precedence = Precedence::new(stores, &perspective.namespace);
    let exported = |planned: &ServicePlan| planned.service.exports.contains_key(&perspective.local);
    let meter = |key: &ServiceKey| {
        let winner = precedence.winner(key).or_else(|| precedence.shadow(key));
        let pods = stores.services.pods.ready(key).into_iter().flatten().map(Into::into).collect();
        Meter { queries: winner.map(|policy| policy.queries.clone()).unwrap_or_default(), pods }
    };
    optimized(plan).filter(|(_, planned, _)| exported(planned)).map(|(key, ..)| (key.clone(), meter(key))).collect()
}

/// Where the others can be probed, as they say themselves.
pub fn probe_targets(pipeline: &Pipeline) -> Targets {
    let stores = pipeline.stores();
    let local = &pipeline.perspective().local;
    let said = stores.facts.objects.iter().chain(&stores.facts.peers).filter(|(cluster, _)| *cluster != local);
    let mut targets: BTreeMap<ClusterId, BTreeSet<SocketAddr>> = BTreeMap::new();
    for (cluster, facts) in said.filter(|(_, facts)| !facts.probe_addresses.is_empty()) {
        // What was heard last counts.
        targets.insert(cluster.clone(), facts.probe_addresses.iter().copied().collect());
    }
    targets.into_iter().map(|(cluster, addresses)| (cluster, addresses.into_iter().collect())).collect()
}
