//! Facts that a cluster reports about itself.

pub mod significance;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
use landfall_core::optimize::report::Report;
use landfall_core::pricing::Location;

/// Schema version of the facts that Landfall writes, and the newest version that it reads.
pub const VERSION: i32 = 1;

/// Services in one object. An API server refuses more.
pub const MAX_SERVICES: usize = 2000;

/// Facts of one object, or of all objects of a cluster merged.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterFacts {
    pub cluster: ClusterId,
    pub generation: i64,
    /// End of the newest window, in seconds since 1970.
    pub observed: Option<u64>,
    pub parameter_hash: Option<u64>,
    /// Unknown in all parts if the cluster reports no location.
    pub location: Location,
    pub links: BTreeMap<ClusterId, PeerLink>,
    /// Price of traffic from this cluster to each other cluster.
    pub egress_usd_per_gb: BTreeMap<ClusterId, f64>,
    /// Each report is dated with the window of the object that carried it. Shared, because many copies of the facts
    /// differ only in other fields.
    pub services: Arc<BTreeMap<ServiceKey, Report>>,
    /// DNS answers per second by exporting cluster, in the same window. Shared for the same reason.
    pub answers_rps: Arc<BTreeMap<ServiceKey, ByCluster<f64>>>,
    /// Addresses at which other clusters can probe this one.
    pub probe_addresses: Vec<SocketAddr>,
    pub drain: Option<Drain>,
}

/// A drain: the capacity that a cluster reports shrinks to 0 over a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Seconds since 1970.
    pub since: u64,
    pub over_seconds: u32,
}

impl Drain {
    /// Returns this drain with another duration. The fraction that is drained at `now` stays drained.
    #[must_use]
    pub fn within(self, over_seconds: u32, now: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a u32")]
        let gone = ((1.0 - self.remaining(now)) * f64::from(over_seconds)).ceil() as u64;
        Self { since: now.saturating_sub(gone), over_seconds }
    }

    /// Returns the fraction of the capacity that remains at `now`, from 1 down to 0.
    pub fn remaining(self, now: u64) -> f64 {
        let elapsed = now.saturating_sub(self.since) as f64;
        if self.over_seconds == 0 { 0.0 } else { (1.0 - elapsed / f64::from(self.over_seconds)).max(0.0) }
    }
}

/// Network path to another cluster, as measured by the reporting cluster. `None` if unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PeerLink {
    pub rtt_ms: Option<f64>,
    pub jitter_ms: Option<f64>,
    pub loss: Option<f64>,
    pub reachable: Option<bool>,
}

impl ClusterFacts {
    /// Returns the facts of a cluster that reports nothing.
    pub fn empty(cluster: ClusterId) -> Self {
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

    /// Merges the facts of several objects; for each entry the newest object wins. Returns `None` if there are no
    /// objects.
    pub fn merged<'a>(parts: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let mut parts: Vec<&Self> = parts.collect();
        parts.sort_by_key(|part| (part.observed, part.generation));
        let mut parts = parts.into_iter();
        let oldest = parts.next()?.clone();
        Some(parts.fold(oldest, Self::with_newer))
    }

    /// Merges `newer` into these facts. Entries that `newer` does not have are kept.
    #[must_use]
    pub fn with_newer(self, newer: &Self) -> Self {
        let located = if newer.location == Location::default() { &self.location } else { &newer.location };
        Self {
            location: located.clone(),
            parameter_hash: newer.parameter_hash.or(self.parameter_hash),
            links: merged(self.links, &newer.links),
            egress_usd_per_gb: merged(self.egress_usd_per_gb, &newer.egress_usd_per_gb),
            services: merged_shared(self.services, &newer.services),
            answers_rps: merged_shared(self.answers_rps, &newer.answers_rps),
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

fn merged_shared<K: Ord + Clone, V: Clone>(
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

fn merged<K: Ord + Clone, V: Clone>(mut older: BTreeMap<K, V>, newer: &BTreeMap<K, V>) -> BTreeMap<K, V> {
    older.extend(newer.iter().map(|(key, value)| (key.clone(), value.clone())));
    older
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_duration_of_a_drain_returns_no_capacity() {
        const STARTED: u64 = 1_800_000_000;
        let slow = Drain { since: STARTED, over_seconds: 3600 };
        for (after, over_seconds, left) in [(0, 300, 1.0), (1800, 300, 0.5), (1800, 7200, 0.5), (1800, 0, 0.0)] {
            let now = STARTED + after;
            let changed = slow.within(over_seconds, now);
            assert!((changed.remaining(now) - left).abs() < 0.01, "{after} {over_seconds}: {changed:?}");
            assert!(changed.remaining(now + u64::from(over_seconds)) <= 0.0);
        }
        let empty = Drain { since: STARTED, over_seconds: 60 }.within(600, STARTED + 100);
        assert!(empty.remaining(STARTED + 100) <= 0.0, "{empty:?}");
    }
}
