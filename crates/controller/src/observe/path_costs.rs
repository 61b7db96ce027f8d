//! Costs of the paths between clusters, kept while nothing that they depend on changes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::name::ClusterId;
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::CostMatrix;
use landfall_core::pricing::PriceTable;
use landfall_core::snapshot::NetworkView;

use crate::facts::ClusterFacts;

/// Policies are few and services many: services with objectives that weigh alike share their costs.
#[derive(Debug, Default)]
pub struct PathCosts(RefCell<Option<CachedCosts>>);

/// What costs were computed from, and the costs.
#[derive(Debug)]
struct CachedCosts {
    view: NetworkView,
    pricing: PriceTable,
    /// Without their services: the facts of a round must not live for as long as costs do.
    clusters: Vec<ClusterFacts>,
    costs: Vec<(Objective, CostMatrix)>,
}

impl PathCosts {
    /// Forgets all costs if anything changed that they depend on.
    pub(super) fn refresh(
        &self,
        view: &NetworkView,
        pricing: &PriceTable,
        clusters: &BTreeMap<ClusterId, Arc<ClusterFacts>>,
    ) {
        let mut cached = self.0.borrow_mut();
        let is_current = |cached: &CachedCosts| {
            let networks = clusters.values().map(|facts| network(facts));
            cached.view == *view && cached.pricing == *pricing && cached.clusters.iter().map(network).eq(networks)
        };
        if cached.as_ref().is_some_and(is_current) {
            return;
        }
        let without_services = |facts: &Arc<ClusterFacts>| ClusterFacts {
            services: Arc::default(),
            answers_rps: Arc::default(),
            ..ClusterFacts::clone(facts)
        };
        let clusters = clusters.values().map(without_services).collect();
        *cached = Some(CachedCosts { view: view.clone(), pricing: pricing.clone(), clusters, costs: Vec::new() });
    }

    /// Returns the costs for an objective, computed at most once.
    pub(super) fn get(&self, objective: &Objective, compute: impl FnOnce() -> CostMatrix) -> CostMatrix {
        let mut cached = self.0.borrow_mut();
        let known = cached.iter().flat_map(|cached| &cached.costs).find(|(of, _)| of.costs_like(objective));
        if let Some((_, costs)) = known {
            return costs.clone();
        }
        let costs = compute();
        cached.iter_mut().for_each(|cached| cached.costs.push((*objective, costs.clone())));
        costs
    }
}

/// What the costs of paths depend on: where a cluster is, its links, and what it is billed.
fn network(facts: &ClusterFacts) -> impl PartialEq + use<'_> {
    (&facts.cluster, &facts.location, &facts.links, &facts.egress_usd_per_gb)
}
