//! Metrics of the fleet: age of the facts, how weights were computed, savings, and achieved shares.
//!
//! Labels name services and clusters here, because the values belong to them. Their number is bounded by the plan, and
//! they disappear with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::achieved::Achieved;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::savings::Savings;

use crate::broker::connection::BrokerConnection;
use crate::pipeline::Pipeline;
use crate::publish::selection::savings_of;
use crate::rounds::optimized;

/// Fleet metrics of one process.
#[derive(Debug, Clone, Default)]
pub struct FleetMetrics {
    pub round: i64,
    /// `None` if there is no broker.
    pub broker_connected: Option<bool>,
    /// True if another cluster has the id of this one.
    pub duplicate: bool,
    /// Time of the last write of each cluster's facts, in seconds since 1970.
    pub written: BTreeMap<ClusterId, u64>,
    /// Number of rejected objects by category.
    pub rejected: BTreeMap<&'static str, usize>,
    /// Number of optimized services by method.
    pub methods: BTreeMap<&'static str, usize>,
    /// Computed once a round, because computing them takes as long as planning.
    pub savings: Arc<BTreeMap<ServiceKey, Savings>>,
    pub achieved: Arc<BTreeMap<ServiceKey, Vec<Achieved>>>,
}

impl FleetMetrics {
    /// Collects the metrics. `before` are the previous ones; their savings are reused within a round.
    pub fn of(pipeline: &Pipeline, before: &Self) -> Self {
        let stores = pipeline.stores();
        let broker = stores.facts.broker.as_ref();
        let mut rejected: BTreeMap<&'static str, usize> = BTreeMap::new();
        for (category, _) in broker.iter().flat_map(|broker| broker.rejected.values()) {
            *rejected.entry(category).or_default() += 1;
        }
        let round = pipeline.published().map_or(0, |own| own.generation);
        let savings = match pipeline.rounds().is_some() {
            true if round == before.round => Arc::clone(&before.savings),
            true => Arc::new(all_savings(pipeline)),
            // The leader exports them.
            false => Arc::default(),
        };
        let mut methods = BTreeMap::new();
        for (_, planned, _) in pipeline.plan().iter().flat_map(|plan| optimized(plan)) {
            if let Some(method) = planned.rule.method {
                *methods.entry(method.as_str()).or_default() += 1;
            }
        }
        Self {
            round,
            broker_connected: broker.map(|_| matches!(pipeline.hearing(), BrokerConnection::Connected { .. })),
            duplicate: broker.is_some_and(|broker| broker.duplicate_id.is_some()),
            written: stores
                .facts
                .peers
                .iter()
                .filter_map(|(cluster, facts)| Some((cluster.clone(), facts.observed?)))
                .collect(),
            rejected,
            methods,
            savings,
            achieved: pipeline.rounds().map(|rounds| Arc::clone(rounds.achieved())).unwrap_or_default(),
        }
    }
}

fn all_savings(pipeline: &Pipeline) -> BTreeMap<ServiceKey, Savings> {
    let plans = pipeline.plan().into_iter().flat_map(|plan| optimized(plan));
    plans.filter_map(|(key, planned, _)| Some((key.clone(), savings_of(planned, pipeline.view())?))).collect()
}
