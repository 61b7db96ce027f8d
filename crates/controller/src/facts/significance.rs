//! What of new facts is worth planning anew, or telling, before the round ends: pure.

use std::collections::{BTreeMap, BTreeSet};

use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::optimize::facts::Tuning;
use landfall_core::optimize::report::Report;
use landfall_core::optimize::schedule::is_significant;

use crate::facts::{Facts, PeerLink};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Of services: an export that comes or goes, a demand that jumps, other settings.
    Services(BTreeSet<ServiceKey>),
    /// Of all: somebody cannot be reached any more, or can again.
    All,
}

/// `before`: what the cluster said until now.
pub fn news(before: Option<&Facts>, now: Option<&Facts>) -> News {
    let (Some(before), Some(now)) = (before, now) else { return News::All };
    let place = |facts: &Facts| (facts.location.clone(), facts.egress_usd_per_gb.clone());
    if place(before) != place(now) || reached(before) != reached(now) {
        return News::All;
    }
    let differs = |before: &Report, now: &Report| {
        is_significant(before, now, &Tuning::default()) || before.parameter_hash != now.parameter_hash
    };
    let (before, now) = (&before.services, &now.services);
    let gone = before.keys().filter(|key| !now.contains_key(*key));
    let is_new = |(key, now): &(&ServiceKey, &Report)| before.get(*key).is_none_or(|before| differs(before, now));
    let new = now.iter().filter(is_new).map(|(key, _)| key);
    News::Services(gone.chain(new).cloned().collect())
}

fn reached(facts: &Facts) -> BTreeSet<&str> {
    let unreachable = |link: &PeerLink| link.reachable == Some(false);
    facts.links.iter().filter(|(_, link)| unreachable(link)).map(|(cluster, _)| cluster.as_str()).collect()
}

/// Whether a way has become another one than what was published: somebody went or came, or is much farther or nearer.
pub fn links_have_moved(before: &BTreeMap<ClusterId, PeerLink>, now: &BTreeMap<ClusterId, PeerLink>) -> bool {
    const NEWS: (f64, f64) = (5.0, 0.25);
    let far = |before: f64, now: f64| (now - before).abs() > NEWS.0.max(NEWS.1 * before);
    let moved = |before: &PeerLink, now: &PeerLink| {
        let rtt = match (before.rtt_ms, now.rtt_ms) {
            (Some(before), Some(now)) => far(before, now),
            (before, now) => before.is_some() != now.is_some(),
        };
        rtt || before.reachable.unwrap_or(true) != now.reachable.unwrap_or(true)
    };
    now.iter().any(|(peer, now)| moved(&before.get(peer).copied().unwrap_or_default(), now))
}

/// Whether a price is another one than was published. One that nobody was told yet can wait for the round.
pub fn prices_have_moved(before: &BTreeMap<ClusterId, f64>, now: &BTreeMap<ClusterId, f64>) -> bool {
    /// What was read back from the broker has four digits.
    const ROUNDED: f64 = 1e-3;
    let moved = |peer: &ClusterId, before: f64| now.get(peer).is_some_and(|now| (now - before).abs() > ROUNDED * now);
    before.iter().any(|(peer, before)| moved(peer, *before))
}
