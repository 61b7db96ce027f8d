//! The rule of the modes without an optimizer: round robin and weighted round robin.

use std::collections::BTreeMap;

use crate::export::Export;
use crate::name::{ByCluster, ClusterId};
use crate::policy::{LocalPreference, Mode, Policy, Weight};
use crate::rule::{Candidate, Fallback, NOMINAL_TOTAL, Reason, Rule};

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
