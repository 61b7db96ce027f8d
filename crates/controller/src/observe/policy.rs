//! The policy in force for a service.

use landfall_core::policy::{LocalPreference, Mode, Policy, Weight, WeightRow};
use litemap::LiteMap;

use super::perspective::Perspective;
use super::precedence::submariner;
use crate::accept::{Import, SelectionPolicy};
use crate::stores::Stores;

/// Returns the policy in force. Settings that the winning policy leaves open come from the annotations of the import
/// and from the cluster's default.
pub(super) fn policy_in_force(
    stores: &Stores,
    perspective: &Perspective,
    winner: Option<&SelectionPolicy>,
    import: &Import,
) -> Policy {
    let mut policy = winner.and_then(|winner| winner.policy.clone()).unwrap_or_default();
    let annotated = annotated_row(stores, perspective, import);
    let default = submariner(stores, perspective)
        .map(|(_, submariner)| submariner)
        .filter(|submariner| submariner.service_discovery);
    let by_annotation = annotated.is_some().then_some(Mode::WeightedRoundRobin);
    let mode = winner.and_then(|winner| winner.mode).or_else(|| default.and_then(|default| default.mode));
    policy.mode = mode.or(by_annotation).unwrap_or_default();
    if policy.rows.is_empty() && policy.mode == Mode::WeightedRoundRobin {
        policy.rows.extend(annotated);
    }
    policy.local_preference = policy.local_preference.or_else(|| annotated_preference(stores, import));
    let settings = winner.and_then(|winner| winner.optimized).unwrap_or_default();
    policy.objective = settings.objective(default.and_then(|default| default.params));
    policy
}

/// Returns the weights of the exporters for this cluster from Lighthouse's annotations. The aggregated import takes
/// precedence over the exporters' own imports. If several weights are 0, all but the first become invalid.
fn annotated_row(stores: &Stores, perspective: &Perspective, import: &Import) -> Option<WeightRow> {
    let local = &perspective.local;
    let mut weights = import.weights.get(local).cloned().unwrap_or_default();
    for own in stores.services.export_weights.get(&import.key).into_iter().flat_map(LiteMap::values) {
        if let Some(&weight) = own.weights.get(local) {
            weights.entry(own.exporter.clone()).or_insert(weight);
        }
    }
    let mut zeros = 0;
    for weight in weights.values_mut().filter(|weight| **weight == Weight::Zero) {
        zeros += 1;
        if zeros > 1 {
            *weight = Weight::Invalid;
        }
    }
    if weights.is_empty() { None } else { WeightRow::new(Some(local.clone()), weights).ok() }
}

/// Returns the local preference from Lighthouse's annotations, in the same order of precedence.
fn annotated_preference(stores: &Stores, import: &Import) -> Option<LocalPreference> {
    let own = stores.services.export_weights.get(&import.key).into_iter().flat_map(LiteMap::values);
    import.local_preference.or_else(|| own.filter_map(|weights| weights.local_preference).next())
}
