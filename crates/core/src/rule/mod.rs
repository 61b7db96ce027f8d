//! What a policy gives each exporter, whoever is healthy at the moment.
//!
//! A rule holds until the policy or the set of exporters changes; in the optimised mode also until facts or readiness do. It is what the operator publishes beside the shares,
//! so that a DNS replica that sees an endpoint fail, or come back, needs nobody to tell it what follows.

pub mod optimized;
pub mod weighted;

use std::fmt;
use std::sync::Arc;

use crate::name::ClusterId;
use crate::optimize::agent::Expected;
use crate::optimize::report::Method;
use crate::policy::Mode;

/// What the nominal weights of one priority add up to, give or take the rounding: parts per million, so that a
/// renormalisation over the few that are left stays within a thousandth.
pub const NOMINAL_TOTAL: u32 = 1_000_000;

#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The mode in force, which is not the one asked for when there is a `fallback`.
    pub mode: Mode,
    pub fallback: Option<Fallback>,
    /// In the optimised mode, how it was computed.
    pub method: Option<Method>,
    /// In the optimised mode, what the plan of all brings to the local export; `None` when nobody knows what all will do.
    pub expected: Option<Arc<Expected>>,
    /// `namespace/name` of the policy; `None` for the cluster-wide default.
    pub policy: Option<Arc<str>>,
    /// In the order of their cluster ids, one per exporting cluster.
    pub candidates: Vec<Candidate>,
}

/// One exporting cluster, and its claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub cluster: ClusterId,
    /// Lower goes first: a candidate gets a share while nobody of a lower priority is eligible.
    pub priority: u8,
    /// Its part of [`NOMINAL_TOTAL`] among those of its priority; 0 for none.
    pub nominal: u32,
    /// Its part of [`TOTAL_WEIGHT`](crate::apportion::TOTAL_WEIGHT) that it gets at least while it is eligible.
    pub floor: u32,
    /// What its share comes from.
    pub basis: Reason,
    /// In the optimised mode, how large each of its costs is.
    pub terms: Option<Terms>,
}

/// What a share comes from: the lower latency, price, service time and congestion together, the more of its capacity a
/// candidate gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// `None`: nobody knows a way there.
    pub latency_ms: Option<f64>,
    /// The price of a request, exchanged for time.
    pub price_ms: Option<f64>,
    pub usd_per_million: Option<f64>,
    pub service_ms: f64,
    /// What a request waits there on average, by the model.
    pub wait_ms: f64,
    /// What a request more costs all that are served there, itself included.
    pub congestion_ms: f64,
    pub capacity_rps: f64,
    /// As all clusters together plan it, minimum shares and local preference aside; above 1 in an overload.
    pub utilisation: f64,
}

impl Terms {
    /// Until a request is answered, as far as it is known.
    pub fn answered_ms(&self) -> Option<f64> {
        Some(self.latency_ms? + self.service_ms + self.wait_ms)
    }
}

/// Why a candidate has the share that it has. Users read these words in `ServiceSelection.status.clusters[].reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// An equal part.
    Equal,
    /// A part by its weight.
    Weighted,
    /// The local cluster, which is preferred.
    Local,
    /// Its weight is 0: always chosen.
    ZeroWeight,
    /// The part it was promised by `minShares`.
    MinShare,
    /// Eligible, and waits for a preferred cluster to fail.
    Standby,
    /// Its row has no weight for it.
    NoWeight,
    /// Its weight is negative or not a finite number.
    InvalidWeight,
    /// A part by the plan of all clusters.
    Optimized,
    /// It has published no capacity.
    NoCapacity,
    /// No ready endpoint.
    NoReadyEndpoints,
    /// The network says it cannot be reached from here.
    Unreachable,
    /// It cannot be reached, but nor can any other ready cluster, so the probe is taken to be wrong.
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

/// Why the mode in force is not the one that was asked for, or what it had to do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// `weighted-round-robin`, and no exporter has a weight for this source: equal shares.
    NoWeights,
    /// `optimized`, and no ready exporter has any capacity: the weights from before, or equal shares.
    NoCapacity,
    /// `optimized`, and the solver gave up: the weights from before, or equal shares.
    Unsolved,
    /// `optimized`, and nobody has published anything, or not for long: the weights from before, or equal shares.
    NoFacts,
    /// `optimized`, and the demands that were published explain less than half of the loads, or a cluster plans with other
    /// settings: the plan is made from what is known.
    DemandsUnexplained,
    /// `optimized`, and not everybody who publishes anything has published a demand: half of the capacity, from all alike.
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
    /// The rule with a claimless candidate for each exporter it does not know: a cluster that exports since the rule was
    /// published answers when nobody else can, and waits for its weight until then.
    pub fn covering<'a>(self: &Arc<Self>, exporters: impl Iterator<Item = &'a ClusterId>) -> Arc<Self> {
        let unknown: Vec<Candidate> = exporters
            .filter(|cluster| self.candidates.binary_search_by(|known| known.cluster.cmp(cluster)).is_err())
            .map(|cluster| Candidate {
                cluster: cluster.clone(),
                priority: 0,
                nominal: 0,
                floor: 0,
                basis: Reason::NoWeight,
                terms: None,
            })
            .collect();
        if unknown.is_empty() {
            return Arc::clone(self);
        }
        let mut rule = Self::clone(self);
        rule.candidates.extend(unknown);
        rule.candidates.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        Arc::new(rule)
    }
}
