//! What a policy gives each exporter, independent of health.
//!
//! A rule changes when the policy or the set of exporters changes. In optimized mode it also changes with facts and
//! readiness. The operator publishes it beside the shares, so a DNS replica can compute new shares by itself when an
//! endpoint fails or comes back.

pub mod optimized;
pub mod weighted;

use std::fmt;
use std::sync::Arc;

use crate::name::ClusterId;
use crate::optimize::agent::PlannedLoad;
use crate::optimize::report::Method;
use crate::policy::Mode;

/// Sum of the nominal weights of one priority, up to rounding. Parts per million, so that rescaling to the candidates
/// that are eligible stays within a thousandth.
pub const NOMINAL_TOTAL: u32 = 1_000_000;

/// Claims of all exporting clusters of a service on the requests of the local cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Mode in force; not the one of the policy if there is a `fallback`.
    pub mode: Mode,
    pub fallback: Option<Fallback>,
    /// Method by which the rule was computed, in optimized mode.
    pub method: Option<Method>,
    /// Load that the joint plan sends to the local export, in optimized mode; `None` without a joint plan.
    pub planned_load: Option<Arc<PlannedLoad>>,
    /// `namespace/name` of the policy; `None` for the cluster-wide default.
    pub policy: Option<Arc<str>>,
    /// One candidate per exporting cluster, in the order of their ids.
    pub candidates: Vec<Candidate>,
}

/// One exporting cluster and its claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub cluster: ClusterId,
    /// Failover priority, 0 first: a candidate gets a share while no candidate of a lower value is eligible.
    pub priority: u8,
    /// Weight within its priority, out of [`NOMINAL_TOTAL`]; 0 for none.
    pub nominal: u32,
    /// Minimum share out of [`TOTAL_WEIGHT`](crate::apportion::TOTAL_WEIGHT) while it is eligible.
    pub floor: u32,
    /// Reason for its claim.
    pub basis: Reason,
    /// Costs that its share comes from, in optimized mode.
    pub terms: Option<CostTerms>,
}

/// Cost terms of one share. The lower the sum of latency, price, service time and congestion, the larger the share per
/// capacity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CostTerms {
    /// `None` if no path to the cluster is known.
    pub latency_ms: Option<f64>,
    /// Price of a request, converted to time.
    pub price_ms: Option<f64>,
    pub usd_per_million: Option<f64>,
    pub service_ms: f64,
    /// Average wait of a request there, by the model.
    pub wait_ms: f64,
    /// Marginal cost of one more request at this cluster, in ms, for all its requests.
    pub congestion_ms: f64,
    pub capacity_rps: f64,
    /// Utilization by the joint plan, without minimum shares and local preference; above 1 in an overload.
    pub utilization: f64,
}

impl CostTerms {
    /// Returns the time until a request is answered: latency, service time and wait.
    pub fn answered_ms(&self) -> Option<f64> {
        Some(self.latency_ms? + self.service_ms + self.wait_ms)
    }
}

/// Reason for a share. Users read it in `ServiceSelection.status.clusters[].reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Equal share.
    Equal,
    /// Share by its weight.
    Weighted,
    /// Local cluster, which is preferred.
    Local,
    /// Weight 0: always chosen.
    ZeroWeight,
    /// Minimum share from `minShares`.
    MinShare,
    /// Eligible, and gets a share only if clusters of a lower priority fail.
    Standby,
    /// No weight in the row of the source cluster.
    NoWeight,
    /// Weight that is negative or not a finite number.
    InvalidWeight,
    /// Share by the joint plan of all clusters.
    Optimized,
    /// No capacity reported.
    NoCapacity,
    /// No ready endpoint.
    NoReadyEndpoints,
    /// Unreachable from the local cluster.
    Unreachable,
    /// Unreachable like every other ready cluster, so the probes are taken to be wrong.
    AllUnreachable,
}

impl Reason {
    pub const ALL: [Self; 13] = [
        Self::Equal,
        Self::Weighted,
        Self::Local,
        Self::ZeroWeight,
        Self::MinShare,
        Self::Standby,
        Self::NoWeight,
        Self::InvalidWeight,
        Self::Optimized,
        Self::NoCapacity,
        Self::NoReadyEndpoints,
        Self::Unreachable,
        Self::AllUnreachable,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::Weighted => "Weighted",
            Self::Local => "Local",
            Self::ZeroWeight => "ZeroWeight",
            Self::MinShare => "MinShare",
            Self::Standby => "Standby",
            Self::NoWeight => "NoWeight",
            Self::InvalidWeight => "InvalidWeight",
            Self::Optimized => "Optimized",
            Self::NoCapacity => "NoCapacity",
            Self::NoReadyEndpoints => "NoReadyEndpoints",
            Self::Unreachable => "Unreachable",
            Self::AllUnreachable => "AllUnreachable",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reason for a mode in force that is not that of the policy, or for a plan with incomplete input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// `weighted-round-robin`, but no exporter has a weight for this source cluster: equal shares.
    NoWeights,
    /// `optimized`, but no ready exporter has capacity: the previous weights, or equal shares.
    NoCapacity,
    /// `optimized`, but the solver found no solution: the previous weights, or equal shares.
    Unsolved,
    /// `optimized`, but no cluster has a recent report: the previous weights, or equal shares.
    NoFacts,
    /// `optimized`, but the reported demands explain less than half of the loads, or a cluster plans with other
    /// settings: each cluster plans for itself.
    DemandsUnexplained,
    /// `optimized`, but not all reports have a demand: the plan assumes half of the capacity, from all sources alike.
    DemandUnknown,
}

impl Fallback {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoWeights => "NoWeights",
            Self::NoCapacity => "NoCapacity",
            Self::Unsolved => "Unsolved",
            Self::NoFacts => "NoFacts",
            Self::DemandsUnexplained => "DemandsUnexplained",
            Self::DemandUnknown => "DemandUnknown",
        }
    }
}

impl Rule {
    /// Adds a candidate without weight for every exporter the rule does not list. Such a cluster began to export after
    /// the rule was published: it gets requests only if no other candidate is eligible.
    pub fn with_candidates_for<'a>(self: &Arc<Self>, exporters: impl Iterator<Item = &'a ClusterId>) -> Arc<Self> {
        let missing: Vec<Candidate> = exporters
            .filter(|cluster| self.candidates.binary_search_by(|candidate| candidate.cluster.cmp(cluster)).is_err())
            .map(|cluster| Candidate {
                cluster: cluster.clone(),
                priority: 0,
                nominal: 0,
                floor: 0,
                basis: Reason::NoWeight,
                terms: None,
            })
            .collect();
        if missing.is_empty() {
            return Arc::clone(self);
        }
        let mut rule = Self::clone(self);
        rule.candidates.extend(missing);
        rule.candidates.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        Arc::new(rule)
    }
}
