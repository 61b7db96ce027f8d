//! Edits: hypothetical changes of the present fleet.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::optimize::objective::Objective;
use landfall_core::policy::Policy;

use crate::facts::ClusterFacts;

/// A hypothetical change.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// No endpoint of the cluster is ready. Its demand remains.
    Outage(ClusterId),
    Demand(ClusterId, Amount),
    Capacity(ClusterId, Amount),
    /// Price in USD per GB from the first cluster to the second.
    Price(ClusterId, ClusterId, f64),
    /// Round-trip time in ms between two clusters, in both directions.
    Rtt(ClusterId, ClusterId, f64),
    /// A new cluster. It exports the services for which its facts have a capacity.
    Add(Arc<ClusterFacts>),
    /// A policy on trial, as applied by [`apply_trials`](super::apply_trials).
    Policy(AppliedTrial),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    Times(f64),
    Rps(f64),
}

impl Amount {
    pub(super) fn of(self, now: f64) -> f64 {
        match self {
            Self::Times(factor) => now * factor,
            Self::Rps(rps) => rps,
        }
    }
}

impl Edit {
    /// Returns the clusters that must exist for this edit.
    pub fn clusters(&self) -> Vec<&ClusterId> {
        match self {
            Self::Outage(cluster) | Self::Demand(cluster, _) | Self::Capacity(cluster, _) => vec![cluster],
            Self::Price(a, b, _) | Self::Rtt(a, b, _) => vec![a, b],
            Self::Add(_) | Self::Policy(_) => Vec::new(),
        }
    }

    /// Returns the cluster whose report is edited.
    pub(super) fn edited_report(&self) -> Option<&ClusterId> {
        match self {
            Self::Demand(cluster, _) | Self::Capacity(cluster, _) => Some(cluster),
            Self::Outage(_) | Self::Price(..) | Self::Rtt(..) | Self::Add(_) | Self::Policy(_) => None,
        }
    }

    pub(super) fn added(&self) -> Option<&Arc<ClusterFacts>> {
        if let Self::Add(facts) = self { Some(facts) } else { None }
    }

    /// Returns the cluster whose demand is multiplied.
    pub(super) fn multiplied(&self) -> Option<&ClusterId> {
        if let Self::Demand(cluster, Amount::Times(_)) = self { Some(cluster) } else { None }
    }

    pub(super) fn applied_trial(&self) -> Option<&AppliedTrial> {
        if let Self::Policy(trial) = self { Some(trial) } else { None }
    }

    pub(super) fn is_outage_of(&self, cluster: &ClusterId) -> bool {
        matches!(self, Self::Outage(out) if out == cluster)
    }
}

/// A policy on trial that has been applied to all clusters.
#[derive(Debug, Clone, PartialEq)]
pub struct AppliedTrial {
    /// Name in plans.
    pub(super) name: String,
    /// Previous round length of each service. Reports keep aging with it.
    pub(super) round_seconds: BTreeMap<ServiceKey, f64>,
}

impl AppliedTrial {
    /// Returns the objective that all clusters use for the service. Returns `None` if another policy applies to it.
    pub(super) fn objective(&self, key: &ServiceKey, policy: &Policy) -> Option<Objective> {
        let applies = policy.name.as_deref() == Some(self.name.as_str());
        let round_seconds = self.round_seconds.get(key).copied().unwrap_or(policy.objective.round_seconds);
        applies.then_some(Objective { round_seconds, ..policy.objective })
    }
}
