//! Optimized services of a plan.

use landfall_core::name::ServiceKey;
use landfall_core::optimize::objective::Objective;
use landfall_core::plan::{Plan, ServicePlan};
use landfall_core::snapshot::RuleSource;

/// Services whose served or shadow rule is optimized, in no particular order.
pub fn optimized(plan: &Plan) -> impl Iterator<Item = (&ServiceKey, &ServicePlan, Objective)> {
    plan.in_any_order().filter_map(|(key, planned)| Some((key, planned.as_ref(), objective(planned)?)))
}

/// Returns the objective of the optimized rule, or `None` if neither the served nor the shadow rule is optimized.
pub(super) fn objective(planned: &ServicePlan) -> Option<Objective> {
    let of = |rule_source: &RuleSource| match rule_source {
        RuleSource::Optimized(policy, ..) => Some(policy.objective),
        RuleSource::Policy(_) | RuleSource::Published(_) | RuleSource::Shadowed { .. } => None,
    };
    let rule_source = &planned.service.rule_source;
    of(rule_source.served()).or_else(|| rule_source.shadow().and_then(of))
}

/// Returns the shortest round of any service. One round serves all services, because a cluster writes all its facts at
/// once.
pub fn round_seconds(plan: &Plan) -> f64 {
    let shortest = plan.planned().filter_map(objective).map(|of| of.round_seconds).fold(f64::INFINITY, f64::min);
    if shortest.is_finite() { shortest } else { Objective::default().round_seconds }
}
