//! Decides which candidates of a rule are eligible now, and shares the total weight among them.

use crate::apportion::{Claim, Part, TOTAL_WEIGHT, apportion};
use crate::name::ClusterId;
use crate::rule::{Candidate, Reason, Rule};
use crate::snapshot::Health;

/// Share of one candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub cluster: ClusterId,
    /// Weight out of [`TOTAL_WEIGHT`].
    pub weight: u32,
    pub eligible: bool,
    pub reason: Reason,
}

/// Returns one share per candidate, in the same order. The weights add up to [`TOTAL_WEIGHT`], or to 0 if no candidate
/// is eligible.
///
/// A candidate without a ready endpoint is never eligible. An unreachable candidate is eligible only if no ready one is
/// reachable: a broken probe must not end a service.
pub fn resolve(rule: &Rule, health: impl Fn(&ClusterId) -> Health) -> Vec<Share> {
    let health: Vec<Health> = rule.candidates.iter().map(|candidate| health(&candidate.cluster)).collect();
    let any_reachable = health.contains(&Health::Ready);
    let eligible: Vec<bool> = health
        .iter()
        .map(|health| match health {
            Health::Ready => true,
            Health::Unreachable => !any_reachable,
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
                Health::Unreachable if any_reachable => (false, Reason::Unreachable),
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

/// Returns the claims of the first priority that has an eligible candidate with a weight, by nominal weight. If no
/// eligible candidate has a weight, all of them share equally: a missing weight never leaves clients without an answer.
fn claims(candidates: &[Candidate], eligible: &[bool]) -> Vec<Claim> {
    let first = candidates
        .iter()
        .zip(eligible)
        .filter(|(_, eligible)| **eligible)
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
