//! What a round is computed from.

use landfall_core::name::ClusterId;
use landfall_core::optimize::report::MAX_AGE_ROUNDS;
use landfall_core::plan::Plan;
use std::sync::Arc;

use crate::broker::connection::Hearing;
use crate::facts::Facts;
use crate::stores::Stores;

/// What a round is about: who is asked, and what is planned.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    pub stores: &'a Stores,
    pub plan: &'a Plan,
    pub local: &'a ClusterId,
    /// What this cluster says of itself as a whole, without services.
    pub head: &'a Facts,
    /// Of the plan.
    pub round_seconds: f64,
    pub hearing: Hearing,
    /// In seconds since 1970.
    pub now: u64,
}

impl Ground<'_> {
    /// What the other clusters say, those that have not been silent for too long.
    pub(super) fn others(&self) -> impl Iterator<Item = (&ClusterId, &Facts)> {
        let counts = |facts: &Facts| {
            let at = facts.observed.map_or(self.now, |at| self.hearing.counts_as_of(at, self.now));
            (self.now.saturating_sub(at) as f64) < MAX_AGE_ROUNDS * self.round_seconds
        };
        let others = self.stores.facts.peers.iter().filter(|(cluster, _)| *cluster != self.local);
        others.map(|(cluster, facts)| (cluster, facts.as_ref())).filter(move |(_, facts)| counts(facts))
    }
}

/// What this cluster has published, as the others have it.
pub(super) fn said<'a>(ground: Ground<'a>) -> Option<&'a Arc<Facts>> {
    ground.stores.facts.peers.get(ground.local)
}

/// What is left of a cluster that is being emptied.
pub(super) fn left(head: &Facts, now: u64) -> f64 {
    head.drain.map_or(1.0, |drain| drain.left(now))
}
