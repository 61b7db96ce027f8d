//! What a round is computed from.

use std::sync::Arc;

use landfall_core::name::ClusterId;
use landfall_core::optimize::report::MAX_AGE_ROUNDS;
use landfall_core::plan::Plan;

use crate::broker::connection::BrokerConnection;
use crate::facts::ClusterFacts;
use crate::stores::Stores;

#[derive(Clone, Copy)]
pub struct RoundContext<'a> {
    pub stores: &'a Stores,
    pub plan: &'a Plan,
    pub local: &'a ClusterId,
    /// Facts of this cluster as a whole, without services.
    pub cluster: &'a ClusterFacts,
    /// Length of a round of the plan.
    pub round_seconds: f64,
    pub hearing: BrokerConnection,
    /// Seconds since 1970.
    pub now: u64,
}

impl RoundContext<'_> {
    /// Facts of the other clusters, but of those that have been silent for too long.
    pub(super) fn others(&self) -> impl Iterator<Item = (&ClusterId, &ClusterFacts)> {
        let counts = |facts: &ClusterFacts| {
            let at = facts.observed.map_or(self.now, |at| self.hearing.effective_time(at, self.now));
            (self.now.saturating_sub(at) as f64) < MAX_AGE_ROUNDS * self.round_seconds
        };
        let others = self.stores.facts.peers.iter().filter(|(cluster, _)| *cluster != self.local);
        others.map(|(cluster, facts)| (cluster, facts.as_ref())).filter(move |(_, facts)| counts(facts))
    }
}

/// Returns what this cluster has published, as the others have it.
pub(super) fn published<'a>(context: RoundContext<'a>) -> Option<&'a Arc<ClusterFacts>> {
    context.stores.facts.peers.get(context.local)
}

/// Returns the fraction of its capacity that a cluster still offers while it is drained.
pub(super) fn remaining_capacity(cluster: &ClusterFacts, now: u64) -> f64 {
    cluster.drain.map_or(1.0, |drain| drain.remaining(now))
}
