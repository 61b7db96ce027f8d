//! Checks before a cluster is drained: can the other clusters carry its load?

use std::sync::Arc;

use landfall_core::drain::{Deficit, deficit_without};
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::plan::ServicePlan;
use landfall_core::policy::Mode;
use landfall_core::snapshot::{RuleSource, ServiceKind};

use crate::findings::broker_problem;
use crate::pipeline::Pipeline;

/// Reasons against draining a cluster.
#[derive(Debug)]
pub struct DrainCheck {
    /// Why the capacity of the other clusters is unknown. `None` if it is known.
    pub unknown: Option<String>,
    /// Services for which the other clusters lack capacity.
    pub deficits: Vec<(ServiceKey, Deficit)>,
}

impl DrainCheck {
    /// Checks whether `cluster` can be drained.
    pub fn new(pipeline: &Pipeline, cluster: &ClusterId) -> Self {
        Self { unknown: unknown(pipeline, cluster), deficits: deficits(pipeline, cluster) }
    }

    /// Returns true if there is no reason against draining.
    pub fn passed(&self) -> bool {
        self.unknown.is_none() && self.deficits.is_empty()
    }
}

/// Returns the services of the cluster that are not optimized: draining does not move their clients.
pub fn unaffected_services(pipeline: &Pipeline, cluster: &ClusterId) -> Vec<ServiceKey> {
    let is_optimized = |planned: &ServicePlan| {
        let draws_cluster = planned.service.kind != ServiceKind::Headless && planned.clusterset_ips().is_empty();
        draws_cluster && planned.rule.mode == Mode::Optimized
    };
    let unaffected = exported(pipeline, cluster).filter(|(_, planned)| !is_optimized(planned));
    unaffected.map(|(key, _)| key.clone()).collect()
}

/// Returns why the capacity of the other clusters is unknown.
fn unknown(pipeline: &Pipeline, cluster: &ClusterId) -> Option<String> {
    let no_facts = broker_problem(pipeline).map(|_| "their facts are not known".to_owned());
    no_facts.or_else(|| wrong_cluster(pipeline, cluster)).or_else(|| unknown_demand(pipeline, cluster))
}

/// Returns why the kubeconfig probably belongs to a different cluster.
fn wrong_cluster(pipeline: &Pipeline, cluster: &ClusterId) -> Option<String> {
    let stores = pipeline.stores();
    if stores.facts.broker.as_ref().is_some_and(|broker| broker.duplicate_id.is_some()) {
        return Some(format!("the broker knows a different cluster as {cluster}; check --kubeconfig"));
    }
    let exports = || stores.services.imports.exporters().any(|exporter| exporter == cluster);
    (!stores.facts.peers.contains_key(cluster) && !exports())
        .then(|| format!("no cluster {cluster} is known: none reports facts or exports a service under that id"))
}

/// Returns a message that names the optimized services of the cluster whose demand is unknown.
fn unknown_demand(pipeline: &Pipeline, cluster: &ClusterId) -> Option<String> {
    let is_unknown = |planned: &ServicePlan| match planned.service.rule_source.served() {
        RuleSource::Optimized(_, known, _) => known.facts.demand_unknown,
        RuleSource::Policy(_) | RuleSource::Published(_) | RuleSource::Shadowed { .. } => false,
    };
    let services = exported(pipeline, cluster).filter(|(_, planned)| is_unknown(planned));
    let services: Vec<String> = services.map(|(key, _)| key.to_string()).collect();
    (!services.is_empty()).then(|| format!("the demand is not known of {}", services.join(", ")))
}

/// Returns the services for which the other clusters lack capacity. Clusters that are being drained do not count.
fn deficits(pipeline: &Pipeline, cluster: &ClusterId) -> Vec<(ServiceKey, Deficit)> {
    let peers = pipeline.stores().facts.peers.iter();
    let drained = peers.filter(|(_, facts)| facts.drain.is_some()).map(|(cluster, _)| cluster.clone()).collect();
    let deficit = |(key, planned): (&ServiceKey, &Arc<ServicePlan>)| {
        let RuleSource::Optimized(policy, known, _) = planned.service.rule_source.served() else { return None };
        Some((key.clone(), deficit_without(known, &policy.objective, cluster, &drained)?))
    };
    services(pipeline).filter_map(deficit).collect()
}

fn exported<'a>(
    pipeline: &'a Pipeline,
    cluster: &ClusterId,
) -> impl Iterator<Item = (&'a ServiceKey, &'a Arc<ServicePlan>)> {
    services(pipeline).filter(move |(_, planned)| planned.service.exports.contains_key(cluster))
}

fn services(pipeline: &Pipeline) -> impl Iterator<Item = (&ServiceKey, &Arc<ServicePlan>)> {
    pipeline.plan().into_iter().flat_map(|plan| plan.services())
}
