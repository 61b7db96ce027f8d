//! Which of our exports are to be measured, and how: pure.

use landfall_core::name::ServiceKey;
use landfall_core::plan::ServicePlan;

use crate::measure::loads::{Meter, Meters};
use crate::observe::precedence::Precedence;
use crate::pipeline::Pipeline;
use crate::rounds::optimized;

/// The exports of this cluster for which an optimiser decides.
pub fn meters(pipeline: &Pipeline) -> Meters {
    let Some(plan) = pipeline.plan().filter(|_| pipeline.rounds().leads()) else { return Meters::new() };
    let (stores, perspective) = (pipeline.stores(), pipeline.perspective());
    let precedence = Precedence::new(stores, &perspective.namespace);
    let exported = |planned: &ServicePlan| planned.service.exports.contains_key(&perspective.local);
    let meter = |key: &ServiceKey| {
        let winner = precedence.winner(key).or_else(|| precedence.tried(key));
        let pods = stores.pods.ready(key).into_iter().flatten().map(Into::into).collect();
        Meter { queries: winner.map(|policy| policy.queries.clone()).unwrap_or_default(), pods }
    };
    optimized(plan).filter(|(_, planned, _)| exported(planned)).map(|(key, ..)| (key.clone(), meter(key))).collect()
}
