//! What a dashboard shows of the fleet: how old what the others say is, how weights were computed, what is saved, and whether
//! answers went where they should.
//!
//! Labels name services and clusters here, because that is what the figures are of. There are as many as the plan has, and
//! they go with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::achieved::Achieved;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::savings::Savings;

use crate::broker::connection::Hearing;
use crate::pipeline::Pipeline;
use crate::publish::selection::{method, savings_of};
use crate::rounds::optimized;

/// Of one process.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub round: i64,
    /// `None`: there is no broker.
    pub heard: Option<bool>,
    pub duplicate: bool,
    /// When what each cluster says was last written, in seconds since 1970.
    pub written: BTreeMap<ClusterId, u64>,
    /// What is left out, by reason.
    pub rejected: BTreeMap<&'static str, usize>,
    /// Optimised services, by how their weights were computed.
    pub methods: BTreeMap<&'static str, usize>,
    /// As of the beginning of the round: it takes as long as planning.
    pub savings: Arc<BTreeMap<ServiceKey, Savings>>,
    pub achieved: Arc<BTreeMap<ServiceKey, Vec<Achieved>>>,
}

impl Figures {
    /// `before`: those of a moment ago.
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
            // Whoever leads now tells them.
            false => Arc::default(),
        };
        let mut methods = BTreeMap::new();
        for (_, planned, _) in pipeline.plan().iter().flat_map(|plan| optimized(plan)) {
            if let Some(of) = planned.rule.method {
                *methods.entry(method(of)).or_default() += 1;
            }
        }
        Self {
            round,
            heard: broker.map(|_| matches!(pipeline.hearing(), Hearing::Clear { .. })),
            duplicate: broker.is_some_and(|broker| broker.double.is_some()),
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
