//! ServiceSelections that an operator published.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use landfall_api as api;
use landfall_api::ServiceSelectionStatus;
use landfall_api::labels::{FIELD_MANAGER, MANAGED_BY};
use landfall_core::apportion::TOTAL_WEIGHT;
use landfall_core::policy::Mode;
use landfall_core::rule::{Candidate, NOMINAL_TOTAL, Reason, Rule};

use super::accepted::{Accepted, Selection};
use super::refused::{Refused, cluster, service};

pub(super) fn accept_selection(selection: api::ServiceSelection) -> Result<Accepted, Refused> {
    let namespace = selection.metadata.namespace.as_deref().unwrap_or_default();
    let key = service("metadata", namespace, selection.metadata.name.as_deref().unwrap_or_default())?;
    let labels = selection.metadata.labels.unwrap_or_default();
    let ours = labels.get(MANAGED_BY).is_some_and(|manager| manager == FIELD_MANAGER);
    let status = selection.status.unwrap_or_default();
    let fingerprint = fingerprint(&status);
    let mode = Mode::parse(&status.mode).ok_or_else(|| Refused::Mode(status.mode.clone()))?;
    let candidate = |(i, selected): (usize, &api::SelectedCluster)| {
        Ok(Candidate {
            cluster: cluster(&format!("status.clusters[{i}].cluster"), &selected.cluster)?,
            priority: selected.priority,
            nominal: selected.nominal_weight.min(NOMINAL_TOTAL),
            floor: selected.min_weight.min(TOTAL_WEIGHT),
            basis: Reason::ALL
                .into_iter()
                .find(|reason| reason.as_str() == selected.reason)
                .unwrap_or(Reason::Weighted),
            terms: None,
        })
    };
    let mut candidates: Vec<_> = status.clusters.iter().enumerate().map(candidate).collect::<Result<_, Refused>>()?;
    candidates.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    candidates.dedup_by(|a, b| a.cluster == b.cluster);
    let policy = status.policy.as_deref().map(Arc::from);
    let rule = Rule { mode, fallback: None, method: None, planned_load: None, policy, candidates };
    Ok(Accepted::Selection(Selection { key, rule: Arc::new(rule), fingerprint, ours }))
}

/// Hash that is equal for two selections with the same content. Times and round-trip times are left out: they change
/// all the time, and each change would be a write.
pub fn fingerprint(status: &ServiceSelectionStatus) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&status.source, &status.mode, &status.reason, &status.policy, &status.summary).hash(&mut hasher);
    status.method.hash(&mut hasher);
    if let Some(shadow) = &status.shadow {
        (&shadow.policy, &shadow.mode, &shadow.reason, &shadow.weights).hash(&mut hasher);
    }
    for selected in &status.clusters {
        (&selected.cluster, selected.weight, selected.eligible, &selected.reason).hash(&mut hasher);
        (selected.priority, selected.nominal_weight, selected.min_weight).hash(&mut hasher);
    }
    hasher.finish()
}
