//! Change detection: which new facts require a plan, or a publication, before the round ends. Pure.

use std::collections::{BTreeMap, BTreeSet};

use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::optimize::facts::Tuning;
use landfall_core::optimize::report::Report;
use landfall_core::optimize::schedule::is_significant;

use crate::facts::{ClusterFacts, PeerLink};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replan {
    /// Services with a new or removed export, a jump in demand, or other settings.
    Services(BTreeSet<ServiceKey>),
    /// All services, for example because a cluster became unreachable or reachable.
    All,
}

/// Compares the facts of a cluster with the ones it reported `before`. Returns the services to plan again.
pub fn significant_change(before: Option<&ClusterFacts>, now: Option<&ClusterFacts>) -> Replan {
    let (Some(before), Some(now)) = (before, now) else { return Replan::All };
    let place = |facts: &ClusterFacts| (facts.location.clone(), facts.egress_usd_per_gb.clone());
    if place(before) != place(now) || unreachable_peers(before) != unreachable_peers(now) {
        return Replan::All;
    }
    let differs = |before: &Report, now: &Report| {
        is_significant(before, now, &Tuning::default()) || before.parameter_hash != now.parameter_hash
    };
    let (before, now) = (&before.services, &now.services);
    let gone = before.keys().filter(|key| !now.contains_key(*key));
    let is_new = |(key, now): &(&ServiceKey, &Report)| before.get(*key).is_none_or(|before| differs(before, now));
    let new = now.iter().filter(is_new).map(|(key, _)| key);
    Replan::Services(gone.chain(new).cloned().collect())
}

fn unreachable_peers(facts: &ClusterFacts) -> BTreeSet<&str> {
    let unreachable = |link: &PeerLink| link.reachable == Some(false);
    facts.links.iter().filter(|(_, link)| unreachable(link)).map(|(cluster, _)| cluster.as_str()).collect()
}

/// Returns true if a path differs significantly from the published one: its reachability changed, or its round-trip
/// time did by more than 5 ms and 25 %.
pub fn links_changed_significantly(
    before: &BTreeMap<ClusterId, PeerLink>,
    now: &BTreeMap<ClusterId, PeerLink>,
) -> bool {
    const SIGNIFICANT_MS: f64 = 5.0;
    const SIGNIFICANT_FRACTION: f64 = 0.25;
    let far = |before: f64, now: f64| (now - before).abs() > SIGNIFICANT_MS.max(SIGNIFICANT_FRACTION * before);
    let moved = |before: &PeerLink, now: &PeerLink| {
        let rtt = match (before.rtt_ms, now.rtt_ms) {
            (Some(before), Some(now)) => far(before, now),
            (before, now) => before.is_some() != now.is_some(),
        };
        rtt || before.reachable.unwrap_or(true) != now.reachable.unwrap_or(true)
    };
    now.iter().any(|(peer, now)| moved(&before.get(peer).copied().unwrap_or_default(), now))
}

/// Returns true if a price differs from the published one. A price that was never published waits for the round.
pub fn prices_changed_significantly(before: &BTreeMap<ClusterId, f64>, now: &BTreeMap<ClusterId, f64>) -> bool {
    /// Prices read back from the broker have four digits.
    const ROUNDING: f64 = 1e-3;
    let moved = |peer: &ClusterId, before: f64| now.get(peer).is_some_and(|now| (now - before).abs() > ROUNDING * now);
    before.iter().any(|(peer, before)| moved(peer, *before))
}
