//! What a cluster reports of itself.

pub mod significance;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
use landfall_core::optimize::report::Report;
use landfall_core::pricing::Location;

/// The form of the facts that we write, and the newest that we read.
pub const VERSION: i32 = 1;

pub const MOST_SERVICES: usize = 2000;

/// One object's, or of all objects of a cluster together.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub cluster: ClusterId,
    pub generation: i64,
    /// When the newest window ended, in seconds since 1970.
    pub observed: Option<u64>,
    pub parameter_hash: Option<u64>,
    /// Unknown as a whole if the cluster says nothing.
    pub location: Location,
    pub links: BTreeMap<ClusterId, PeerLink>,
    /// From this cluster to the others.
    pub egress_usd_per_gb: BTreeMap<ClusterId, f64>,
    /// Each from the end of the window in which the object was written that it comes from.
    /// Shared, as all that is here is copied by many who need the rest.
    pub services: Arc<BTreeMap<ServiceKey, Report>>,
    /// Answers a second that named each exporting cluster, in that window. Shared too.
    pub answers_rps: Arc<BTreeMap<ServiceKey, ByCluster<f64>>>,
    /// Where the others can see how far it is.
    pub probe_addresses: Vec<SocketAddr>,
    pub drain: Option<Drain>,
}

/// A cluster is being emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Seconds since 1970.
    pub since: u64,
    pub over_seconds: u32,
}

impl Drain {
    /// The same, in another time in all: what is gone at `now` does not come back.
    #[must_use]
    pub fn within(self, over_seconds: u32, now: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a u32")]
        let gone = ((1.0 - self.left(now)) * f64::from(over_seconds)).ceil() as u64;
        Self { since: now.saturating_sub(gone), over_seconds }
    }

    /// What is left of all that the cluster offers, from 1 down to 0.
    pub fn left(self, now: u64) -> f64 {
        let elapsed = now.saturating_sub(self.since) as f64;
        if self.over_seconds == 0 { 0.0 } else { (1.0 - elapsed / f64::from(self.over_seconds)).max(0.0) }
    }
}

/// The network to another cluster, as this one measured it. `None`: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PeerLink {
    pub rtt_ms: Option<f64>,
    pub jitter_ms: Option<f64>,
    pub loss: Option<f64>,
    pub reachable: Option<bool>,
}

impl Facts {
    /// Of a cluster that says nothing.
    pub fn silent(cluster: ClusterId) -> Self {
        Self {
            cluster,
            generation: 0,
            observed: None,
            parameter_hash: None,
            location: Location::default(),
            links: BTreeMap::new(),
            egress_usd_per_gb: BTreeMap::new(),
            services: Arc::default(),
            answers_rps: Arc::default(),
            probe_addresses: Vec::new(),
            drain: None,
        }
    }

    /// Of what several objects say, the newest counts, entry by entry. `None`: there are no objects.
    pub fn united<'a>(parts: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let mut parts: Vec<&Self> = parts.collect();
        parts.sort_by_key(|part| (part.observed, part.generation));
        let mut parts = parts.into_iter();
        let oldest = parts.next()?.clone();
        Some(parts.fold(oldest, Self::with_newer))
    }

    /// What `newer` says, and for what it leaves open what was said before.
    #[must_use]
    pub fn with_newer(self, newer: &Self) -> Self {
        let located = if newer.location == Location::default() { &self.location } else { &newer.location };
        Self {
            location: located.clone(),
            parameter_hash: newer.parameter_hash.or(self.parameter_hash),
            links: united(self.links, &newer.links),
            egress_usd_per_gb: united(self.egress_usd_per_gb, &newer.egress_usd_per_gb),
            services: united_shared(self.services, &newer.services),
            answers_rps: united_shared(self.answers_rps, &newer.answers_rps),
            probe_addresses: if newer.probe_addresses.is_empty() {
                self.probe_addresses
            } else {
                newer.probe_addresses.clone()
            },
            drain: newer.drain.or(self.drain),
            cluster: self.cluster,
            generation: newer.generation,
            observed: newer.observed,
        }
    }
}

fn united_shared<K: Ord + Clone, V: Clone>(
    mut older: Arc<BTreeMap<K, V>>,
    newer: &Arc<BTreeMap<K, V>>,
) -> Arc<BTreeMap<K, V>> {
    if older.is_empty() {
        return Arc::clone(newer);
    }
    if !newer.is_empty() {
        Arc::make_mut(&mut older).extend(newer.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    older
}

fn united<K: Ord + Clone, V: Clone>(mut older: BTreeMap<K, V>, newer: &BTreeMap<K, V>) -> BTreeMap<K, V> {
    older.extend(newer.iter().map(|(key, value)| (key.clone(), value.clone())));
    older
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_that_is_to_take_another_time_gives_nothing_back() {
        const BEGUN: u64 = 1_800_000_000;
        let slow = Drain { since: BEGUN, over_seconds: 3600 };
        for (after, over_seconds, left) in [(0, 300, 1.0), (1800, 300, 0.5), (1800, 7200, 0.5), (1800, 0, 0.0)] {
            let now = BEGUN + after;
            let changed = slow.within(over_seconds, now);
            assert!((changed.left(now) - left).abs() < 0.01, "{after} {over_seconds}: {changed:?}");
            assert!(changed.left(now + u64::from(over_seconds)) <= 0.0);
        }
        let empty = Drain { since: BEGUN, over_seconds: 60 }.within(600, BEGUN + 100);
        assert!(empty.left(BEGUN + 100) <= 0.0, "{empty:?}");
    }
}
