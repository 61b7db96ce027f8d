//! The rule of the modes without an optimizer: round robin and weighted round robin.

use std::collections::BTreeMap;

use crate::export::Export;
use crate::name::{ByCluster, ClusterId};
use crate::policy::{LocalPreference, Mode, Policy, Weight};
use crate::rule::{Candidate, Fallback, NOMINAL_TOTAL, Reason, Rule};

/// Returns the rule for the clients of `local`. A policy in optimized mode gets equal shares, because it has no facts
/// here; see [`optimized_rule`](crate::rule::optimized::optimized_rule).
pub fn weighted_rule(policy: &Policy, local: &ClusterId, exports: &ByCluster<Export>) -> Rule {
    let prefers_local = policy.local_preference() == LocalPreference::Prefer;
    let weights = weights(policy, local, exports);
    let weights = |cluster: &ClusterId| weights.get(cluster).copied().unwrap_or(WeightClaim::Equal(Reason::Equal));
    let claims: Vec<(&ClusterId, WeightClaim)> = exports
        .keys()
        .map(|cluster| (cluster, if prefers_local && cluster == local { WeightClaim::Local } else { weights(cluster) }))
        .collect();

    let (mode, mut fallback) = match policy.mode {
        Mode::Optimized => (Mode::RoundRobin, Some(Fallback::NoFacts)),
        mode @ (Mode::RoundRobin | Mode::WeightedRoundRobin) => (mode, None),
    };
    let missing_weights = MissingWeights::of(&claims);
    if missing_weights == MissingWeights::All {
        fallback = Some(Fallback::NoWeights);
    }
    let candidates = candidates(policy, &claims, missing_weights);
    Rule { mode, fallback, method: None, planned_load: None, policy: policy.name.clone(), candidates }
}

/// Claim of one exporter, before it is compared with the claims of the others.
#[derive(Debug, Clone, Copy, PartialEq)]
enum WeightClaim {
    Local,
    Zero,
    Equal(Reason),
    Inverse(f64),
    None(Reason),
}

/// Which exporters have no weight in the row of the source cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MissingWeights {
    /// Some at most: those get no share.
    Some,
    /// All but a preferred local one: they share equally.
    All,
}

impl MissingWeights {
    fn of(claims: &[(&ClusterId, WeightClaim)]) -> Self {
        let mut others = claims.iter().filter(|(_, claim)| *claim != WeightClaim::Local).peekable();
        let all = others.peek().is_some() && others.all(|(_, claim)| matches!(claim, WeightClaim::None(_)));
        if all { Self::All } else { Self::Some }
    }
}

fn weights(policy: &Policy, local: &ClusterId, exports: &ByCluster<Export>) -> BTreeMap<ClusterId, WeightClaim> {
    let row = policy.row(local);
    let claim = |cluster: &ClusterId| match policy.mode {
        Mode::RoundRobin | Mode::Optimized => WeightClaim::Equal(Reason::Equal),
        Mode::WeightedRoundRobin => match row.and_then(|row| row.weight(cluster)) {
            Some(Weight::Finite(weight)) => WeightClaim::Inverse(weight),
            Some(Weight::Zero) => WeightClaim::Zero,
            Some(Weight::Invalid) => WeightClaim::None(Reason::InvalidWeight),
            None => WeightClaim::None(Reason::NoWeight),
        },
    };
    exports.keys().map(|cluster| (cluster.clone(), claim(cluster))).collect()
}

fn candidates(
    policy: &Policy,
    claims: &[(&ClusterId, WeightClaim)],
    missing_weights: MissingWeights,
) -> Vec<Candidate> {
    let any = |wanted: WeightClaim| claims.iter().any(|(_, claim)| *claim == wanted);
    let after_local = u8::from(any(WeightClaim::Local));
    let after_zero = after_local + u8::from(any(WeightClaim::Zero));

    // p_j = (1/w_j) / Σ(1/w_k). Both sides are multiplied by the smallest weight, so that no inverse overflows.
    let part = |claim: WeightClaim| match claim {
        WeightClaim::Equal(_) => 1.0,
        WeightClaim::Inverse(weight) => smallest(claims) / weight,
        WeightClaim::None(_) if missing_weights == MissingWeights::All => 1.0,
        WeightClaim::Local | WeightClaim::Zero | WeightClaim::None(_) => 0.0,
    };
    let sum: f64 = claims.iter().map(|&(_, claim)| part(claim)).sum();
    let shared = |claim: WeightClaim| match part(claim) {
        0.0 => 0,
        part => nominal(part / sum),
    };

    let candidate = |&(cluster, claim): &(&ClusterId, WeightClaim)| {
        let (priority, nominal, basis) = match claim {
            WeightClaim::Local => (0, NOMINAL_TOTAL, Reason::Local),
            WeightClaim::Zero => (after_local, NOMINAL_TOTAL, Reason::ZeroWeight),
            WeightClaim::Equal(basis) => (after_zero, shared(claim), basis),
            WeightClaim::Inverse(_) => (after_zero, shared(claim), Reason::Weighted),
            WeightClaim::None(Reason::NoWeight) if missing_weights == MissingWeights::All => {
                (after_zero, shared(claim), Reason::Equal)
            }
            WeightClaim::None(basis) => (after_zero, shared(claim), basis),
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

fn smallest(claims: &[(&ClusterId, WeightClaim)]) -> f64 {
    let weight = |&(_, claim): &(&ClusterId, WeightClaim)| match claim {
        WeightClaim::Inverse(weight) => Some(weight),
        WeightClaim::Local | WeightClaim::Zero | WeightClaim::Equal(_) | WeightClaim::None(_) => None,
    };
    claims.iter().filter_map(weight).fold(f64::MAX, f64::min)
}

/// Returns the part out of [`NOMINAL_TOTAL`], at least 1: a candidate with a weight, however small its part, must
/// differ from one without.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part is between 0 and 1")]
fn nominal(part: f64) -> u32 {
    ((part * f64::from(NOMINAL_TOTAL)).round() as u32).max(1)
}
