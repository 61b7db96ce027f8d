//! Who is eligible right now, and how the parts of the whole are shared among them.

use crate::apportion::{Claim, Part, TOTAL_WEIGHT, apportion};
use crate::name::ClusterId;
use crate::rule::{Candidate, Reason, Rule};
use crate::snapshot::Health;

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
