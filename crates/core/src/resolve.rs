//! Who is eligible right now, and how the parts of the whole are shared among them.

use crate::name::ClusterId;
use crate::rule::{Candidate, Reason, Rule};

/// What the weights of a service add up to while anybody is eligible.
pub const TOTAL_WEIGHT: u32 = 1000;

/// How an exporting cluster is, for one service, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Ready,
    /// It has ready endpoints, and the network says they cannot be reached from here.
    Unreachable,
    NotReady,
}

/// What one candidate gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub cluster: ClusterId,
    /// Its part of [`TOTAL_WEIGHT`].
    pub weight: u32,
    pub eligible: bool,
    pub reason: Reason,
}

/// One share per candidate, in the same order. The weights add up to [`TOTAL_WEIGHT`], or to 0 when nobody is eligible.
///
/// A candidate without a ready endpoint is never eligible. One that cannot be reached is eligible only when no ready
/// candidate can be: a broken probe must not end a service.
pub fn resolve(rule: &Rule, health: impl Fn(&ClusterId) -> Health) -> Vec<Share> {
    let health: Vec<Health> = rule.candidates.iter().map(|candidate| health(&candidate.cluster)).collect();
    let anybody_reachable = health.contains(&Health::Ready);
    let eligible: Vec<bool> = health
        .iter()
        .map(|health| match health {
            Health::Ready => true,
            Health::Unreachable => !anybody_reachable,
            Health::NotReady => false,
        })
        .collect();
    let claims = claims(&rule.candidates, &eligible);
    let weights = apportion(&claims, TOTAL_WEIGHT);
    let shares = rule.candidates.iter().zip(&health).zip(claims.iter().zip(weights));
    shares
        .map(|((candidate, &health), (claim, part))| {
            let (eligible, reason) = match health {
                Health::NotReady => (false, Reason::NoReadyEndpoints),
                Health::Unreachable if anybody_reachable => (false, Reason::Unreachable),
                Health::Unreachable => (true, Reason::AllUnreachable),
                Health::Ready => (true, reason(candidate, claim, part)),
            };
            Share { cluster: candidate.cluster.clone(), weight: part.weight, eligible, reason }
        })
        .collect()
}

fn reason(candidate: &Candidate, claim: &Claim, part: Part) -> Reason {
    if part.raised {
        Reason::MinShare
    } else if candidate.nominal == 0 && claim.nominal > 0 {
        Reason::Equal
    } else if candidate.nominal > 0 && claim.nominal == 0 {
        Reason::Standby
    } else {
        candidate.basis
    }
}

/// What a candidate can claim once it is known who is eligible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) nominal: u32,
    pub(crate) floor: u32,
}

/// The lowest priority that has an eligible claimant shares by the nominal weights. When no eligible candidate has a
/// claim, all of them share equally: a missing weight never leaves clients without an answer.
fn claims(candidates: &[Candidate], eligible: &[bool]) -> Vec<Claim> {
    let among = |eligible_one: &(&Candidate, &bool)| *eligible_one.1;
    let first = candidates
        .iter()
        .zip(eligible)
        .filter(among)
        .filter(|(candidate, _)| candidate.nominal > 0)
        .map(|(candidate, _)| candidate.priority)
        .min();
    let nominal = |candidate: &Candidate| match first {
        None => 1,
        Some(priority) if candidate.priority == priority => candidate.nominal,
        Some(_) => 0,
    };
    candidates
        .iter()
        .zip(eligible)
        .map(|(candidate, &eligible)| match eligible {
            true => Claim { nominal: nominal(candidate), floor: candidate.floor },
            false => Claim { nominal: 0, floor: 0 },
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) weight: u32,
    /// It is the floor, and more than the claim alone would give.
    raised: bool,
}

/// Shares `total` by the nominal weights with nobody below its floor, in whole parts, by largest remainder; ties go to
/// the first. The floors must not add up to more than `total`.
///
/// Raising one to its floor leaves less for the others, which can bring another below its own: so this repeats until
/// nobody is raised any more, at most once per claim.
pub(crate) fn apportion(claims: &[Claim], total: u32) -> Vec<Part> {
    let mut raised = vec![false; claims.len()];
    let (left, sum) = loop {
        let floors: u32 = claims.iter().zip(&raised).filter(|(_, raised)| **raised).map(|(claim, _)| claim.floor).sum();
        let left = u64::from(total.saturating_sub(floors));
        let free = claims.iter().zip(&raised).filter(|(_, raised)| !**raised);
        let sum: u64 = free.map(|(claim, _)| u64::from(claim.nominal)).sum();
        let below = |claim: &Claim| u64::from(claim.nominal) * left < u64::from(claim.floor) * sum.max(1);
        let more: Vec<usize> = (0..claims.len()).filter(|&i| !raised[i] && below(&claims[i])).collect();
        if more.is_empty() {
            break (left, sum);
        }
        more.into_iter().for_each(|i| raised[i] = true);
    };

    let mut parts: Vec<Part> = Vec::with_capacity(claims.len());
    let mut remainders: Vec<(u64, usize)> = Vec::new();
    for (i, (claim, &raised)) in claims.iter().zip(&raised).enumerate() {
        let quota = u64::from(claim.nominal) * left;
        let weight = if raised || sum == 0 { u64::from(claim.floor) } else { quota / sum };
        if !raised && sum > 0 {
            remainders.push((quota % sum, i));
        }
        parts.push(Part { weight: u32::try_from(weight).unwrap_or(total), raised });
    }
    let given: u32 = parts.iter().map(|part| part.weight).sum();
    remainders.sort_by_key(|&(remainder, i)| (std::cmp::Reverse(remainder), i));
    let missing = if sum > 0 { total.saturating_sub(given) } else { 0 };
    for (_, i) in remainders.into_iter().take(missing as usize) {
        parts[i].weight += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(claims: &[(u32, u32)]) -> Vec<u32> {
        let claims: Vec<Claim> = claims.iter().map(|&(nominal, floor)| Claim { nominal, floor }).collect();
        apportion(&claims, TOTAL_WEIGHT).into_iter().map(|part| part.weight).collect()
    }

    #[test]
    fn the_largest_remainder_gets_the_part_that_is_left_and_ties_go_to_the_first() {
        assert_eq!(weights(&[(500_000, 0), (333_333, 0), (166_667, 0)]), [500, 333, 167]);
        assert_eq!(weights(&[(1, 0), (1, 0), (1, 0)]), [334, 333, 333]);
        assert_eq!(weights(&[(1, 0), (0, 0)]), [1000, 0]);
        assert!(weights(&[]).is_empty());
        assert_eq!(weights(&[(0, 0), (0, 0)]), [0, 0]);
    }

    #[test]
    fn who_would_get_less_than_its_floor_is_raised_to_it_at_the_others_expense() {
        assert_eq!(weights(&[(900, 0), (50, 100), (50, 0)]), [853, 100, 47], "in proportion");
        assert_eq!(weights(&[(900, 0), (100, 100)]), [900, 100], "just enough");
        assert_eq!(weights(&[(1, 0), (0, 1000)]), [0, 1000]);
        assert_eq!(weights(&[(98, 600), (1, 200), (1, 200)]), [600, 200, 200], "the floors are everything");
        assert_eq!(weights(&[(900, 850), (60, 0), (40, 150)]), [850, 0, 150], "raising one brings another below");
    }
}
