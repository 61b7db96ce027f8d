//! One change of the present fleet.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::optimize::objective::Objective;
use landfall_core::policy::Policy;

use crate::facts::Facts;

/// One thing that is otherwise.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Nothing of the cluster answers. Its clients go on asking.
    Outage(ClusterId),
    Demand(ClusterId, Amount),
    Capacity(ClusterId, Amount),
    /// For every gigabyte from the first to the second.
    Price(ClusterId, ClusterId, f64),
    /// In milliseconds, as long from either end.
    Rtt(ClusterId, ClusterId, f64),
    /// A cluster more. It exports the services of which it says a capacity.
    Add(Arc<Facts>),
    /// See [`put_in_force`].
    Policy(Taken),
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
    /// Who must be there for it.
    pub fn clusters(&self) -> Vec<&ClusterId> {
        match self {
            Self::Outage(cluster) | Self::Demand(cluster, _) | Self::Capacity(cluster, _) => vec![cluster],
            Self::Price(a, b, _) | Self::Rtt(a, b, _) => vec![a, b],
            Self::Add(_) | Self::Policy(_) => Vec::new(),
        }
    }

    /// Whose word it takes the place of.
    pub(super) fn said_of(&self) -> Option<&ClusterId> {
        match self {
            Self::Demand(cluster, _) | Self::Capacity(cluster, _) => Some(cluster),
            Self::Outage(_) | Self::Price(..) | Self::Rtt(..) | Self::Add(_) | Self::Policy(_) => None,
        }
    }

    pub(super) fn added(&self) -> Option<&Arc<Facts>> {
        if let Self::Add(facts) = self { Some(facts) } else { None }
    }

    /// Whose clients ask for so many times what they do.
    pub(super) fn multiplied(&self) -> Option<&ClusterId> {
        if let Self::Demand(cluster, Amount::Times(_)) = self { Some(cluster) } else { None }
    }

    pub(super) fn taken(&self) -> Option<&Taken> {
        if let Self::Policy(taken) = self { Some(taken) } else { None }
    }

    pub(super) fn is_outage_of(&self, cluster: &ClusterId) -> bool {
        matches!(self, Self::Outage(out) if out == cluster)
    }
}

/// A policy that all clusters have from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// As plans have it.
    pub(super) name: String,
    /// How long a round was until now: what was said by then ages no faster.
    pub(super) round_seconds: BTreeMap<ServiceKey, f64>,
}

impl Taken {
    /// What all clusters plan the service with. `None`: another policy counts for it.
    pub(super) fn objective(&self, key: &ServiceKey, policy: &Policy) -> Option<Objective> {
        let counts = policy.name.as_deref() == Some(self.name.as_str());
        let round_seconds = self.round_seconds.get(key).copied().unwrap_or(policy.objective.round_seconds);
        counts.then_some(Objective { round_seconds, ..policy.objective })
    }
}
