//! What a policy gives each exporter, whoever is healthy at the moment.
//!
//! A rule holds until the policy or the set of exporters changes; in the optimised mode also until facts or readiness do. It is what the operator publishes beside the shares,
//! so that a DNS replica that sees an endpoint fail, or come back, needs nobody to tell it what follows.

pub mod optimized;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::name::{ByCluster, ClusterId};
use crate::optimize::agent::Expected;
use crate::optimize::report::Method;
use crate::policy::{LocalPreference, Mode, Policy, Weight};
use crate::rule::optimized::Terms;
use crate::snapshot::Export;

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
    /// Its part of [`TOTAL_WEIGHT`](crate::resolve::TOTAL_WEIGHT) that it gets at least while it is eligible.
    pub floor: u32,
    /// What its share comes from.
    pub basis: Reason,
    /// In the optimised mode, how large each of its costs is.
    pub terms: Option<Terms>,
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

/// What `policy` gives each of `exports` for the clients of `local`, in any mode but the optimised one, for which
/// [`optimized`](crate::rule::optimized::optimized) is.
pub fn rule(policy: &Policy, local: &ClusterId, exports: &ByCluster<Export>) -> Rule {
    let prefers_local = policy.local_preference() == LocalPreference::Prefer;
    let weights = weights(policy, local, exports);
    let weights = |cluster: &ClusterId| weights.get(cluster).copied().unwrap_or(Claim::Equal(Reason::Equal));
    let claims: Vec<(&ClusterId, Claim)> = exports
        .keys()
        .map(|cluster| (cluster, if prefers_local && cluster == local { Claim::Local } else { weights(cluster) }))
        .collect();

    let (mode, mut fallback) = match policy.mode {
        Mode::Optimized => (Mode::RoundRobin, Some(Fallback::NoFacts)),
        mode @ (Mode::RoundRobin | Mode::WeightedRoundRobin) => (mode, None),
    };
    let nobody_has_a_weight = claims.iter().all(|(_, claim)| matches!(claim, Claim::Local | Claim::None(_)));
    let others = claims.iter().any(|(_, claim)| matches!(claim, Claim::None(_)));
    let shared_equally = mode == Mode::WeightedRoundRobin && nobody_has_a_weight && others;
    if shared_equally {
        fallback = Some(Fallback::NoWeights);
    }
    let candidates = candidates(policy, &claims, shared_equally);
    Rule { mode, fallback, method: None, expected: None, policy: policy.name.clone(), candidates }
}

/// What one exporter can claim, before the others' claims are known.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Claim {
    Local,
    Zero,
    Equal(Reason),
    Inverse(f64),
    None(Reason),
}

fn weights(policy: &Policy, local: &ClusterId, exports: &ByCluster<Export>) -> BTreeMap<ClusterId, Claim> {
    let row = policy.row(local);
    let claim = |cluster: &ClusterId| match policy.mode {
        Mode::RoundRobin | Mode::Optimized => Claim::Equal(Reason::Equal),
        Mode::WeightedRoundRobin => match row.and_then(|row| row.weight(cluster)) {
            Some(Weight::Finite(weight)) => Claim::Inverse(weight),
            Some(Weight::Zero) => Claim::Zero,
            Some(Weight::Invalid) => Claim::None(Reason::InvalidWeight),
            None => Claim::None(Reason::NoWeight),
        },
    };
    exports.keys().map(|cluster| (cluster.clone(), claim(cluster))).collect()
}

fn candidates(policy: &Policy, claims: &[(&ClusterId, Claim)], shared_equally: bool) -> Vec<Candidate> {
    let any = |wanted: Claim| claims.iter().any(|(_, claim)| *claim == wanted);
    let after_local = u8::from(any(Claim::Local));
    let after_zero = after_local + u8::from(any(Claim::Zero));

    // p_j = (1/w_j) / Σ(1/w_k), with both sides times the smallest weight: no inverse can overflow so.
    let part = |claim: Claim| match claim {
        Claim::Equal(_) => 1.0,
        Claim::Inverse(weight) => smallest(claims) / weight,
        Claim::None(_) if shared_equally => 1.0,
        Claim::Local | Claim::Zero | Claim::None(_) => 0.0,
    };
    let sum: f64 = claims.iter().map(|&(_, claim)| part(claim)).sum();
    let shared = |claim: Claim| match part(claim) {
        0.0 => 0,
        part => nominal(part / sum),
    };

    let candidate = |&(cluster, claim): &(&ClusterId, Claim)| {
        let (priority, nominal, basis) = match claim {
            Claim::Local => (0, NOMINAL_TOTAL, Reason::Local),
            Claim::Zero => (after_local, NOMINAL_TOTAL, Reason::ZeroWeight),
            Claim::Equal(basis) => (after_zero, shared(claim), basis),
            Claim::Inverse(_) => (after_zero, shared(claim), Reason::Weighted),
            Claim::None(Reason::NoWeight) if shared_equally => (after_zero, shared(claim), Reason::Equal),
            Claim::None(basis) => (after_zero, shared(claim), basis),
        };
        Candidate {
            cluster: cluster.clone(),
            priority,
            nominal,
            floor: policy.min_shares.get(cluster),
            basis,
            terms: None,
        }
    };
    claims.iter().map(candidate).collect()
}

fn smallest(claims: &[(&ClusterId, Claim)]) -> f64 {
    let weight = |&(_, claim): &(&ClusterId, Claim)| match claim {
        Claim::Inverse(weight) => Some(weight),
        Claim::Local | Claim::Zero | Claim::Equal(_) | Claim::None(_) => None,
    };
    claims.iter().filter_map(weight).fold(f64::MAX, f64::min)
}

/// At least 1, so that a candidate with a weight, however small its part, can be told from one without.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part is between 0 and 1")]
fn nominal(part: f64) -> u32 {
    ((part * f64::from(NOMINAL_TOTAL)).round() as u32).max(1)
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
