//! What of new facts is worth planning anew before the round ends: pure.

use std::collections::BTreeSet;

use landfall_core::name::ServiceKey;
use landfall_core::optimize::facts::Tuning;
use landfall_core::optimize::schedule::is_news;

use crate::accept::{Facts, PeerLink};

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
    let keys = before.services.keys().chain(now.services.keys());
    let differs = |key: &&ServiceKey| match (before.services.get(*key), now.services.get(*key)) {
        (Some(before), Some(now)) => {
            is_news(before, now, &Tuning::default()) || before.parameter_hash != now.parameter_hash
        }
        _ => true,
    };
    News::Services(keys.filter(differs).cloned().collect())
}

fn reached(facts: &Facts) -> BTreeSet<&str> {
    let unreachable = |link: &PeerLink| link.reachable == Some(false);
    facts.links.iter().filter(|(_, link)| unreachable(link)).map(|(cluster, _)| cluster.as_str()).collect()
}
