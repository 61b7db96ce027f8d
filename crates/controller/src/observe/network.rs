//! How the local cluster reaches the others, from gateways or from its own probes.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_core::name::ClusterId;
use landfall_core::snapshot::{Link, NetworkView};

use super::perspective::Age;
use super::round_trips::RoundTrips;
use crate::facts::PeerLink;
use crate::object::Kind;
use crate::stores::Stores;

/// Seconds after which a heartbeat is stale. A gateway sends one every 5 s; Submariner takes it for dead after three that are
/// missing.
const HEARTBEAT_TIMEOUT: u64 = 15;
/// Seconds between two heartbeats.
const HEARTBEAT_INTERVAL: u64 = 5;

/// The network as plans see it, from one batch of changes to the next.
#[derive(Debug)]
pub struct Network {
    view: NetworkView,
    round_trips: RoundTrips,
    /// How many lists of gateways have ended.
    gateway_lists: u64,
    /// End of the last list of gateways, in seconds since 1970. Heartbeats have been able to come since.
    gateways_since: u64,
}

impl Network {
    pub fn new(local: &ClusterId) -> Self {
        let view = NetworkView { local: local.clone(), links_complete: false, links: BTreeMap::new() };
        Self { view, round_trips: RoundTrips::default(), gateway_lists: 0, gateways_since: 0 }
    }

    pub fn view(&self) -> &NetworkView {
        &self.view
    }

    /// Notes when heartbeats began to come.
    pub fn note_lists(&mut self, stores: &Stores, now: u64) {
        let lists = stores.completions(Kind::Gateway);
        if self.gateway_lists != lists {
            (self.gateway_lists, self.gateways_since) = (lists, now);
        }
    }

    /// Observes the network anew. Returns whether all services must be planned: the same clusters are not reachable any more,
    /// or a round trip changed that optimized services are planned with.
    pub fn step(&mut self, stores: &Stores, age: Age, now: u64) -> bool {
        let view = view(stores, &self.view.local, self.heartbeats(stores, age, now));
        let view = match age {
            Age::Live => self.round_trips.steady(view, heartbeat(stores, now)),
            Age::Saved => view,
        };
        let moved = stores.settings.optimize() && view != self.view;
        let replan = moved || !view.reaches_same_clusters(&self.view);
        self.view = view;
        replan
    }

    /// Returns when a heartbeat becomes stale next, in seconds since 1970.
    pub fn next_stale(&self, stores: &Stores, age: Age, now: u64) -> Option<u64> {
        let Heartbeats::Since { since, .. } = self.heartbeats(stores, age, now) else { return None };
        let stale_at = |updated: u64| updated.max(since) + HEARTBEAT_TIMEOUT + 1;
        let gateways = stores.network.gateways.values();
        gateways.filter_map(|gateway| gateway.updated.map(stale_at)).filter(|&at| at > now).min()
    }

    fn heartbeats(&self, stores: &Stores, age: Age, now: u64) -> Heartbeats {
        match age {
            Age::Live if !stores.interrupted(Kind::Gateway) => Heartbeats::Since { now, since: self.gateways_since },
            Age::Live | Age::Saved => Heartbeats::Unjudged,
        }
    }
}

/// How heartbeats are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heartbeats {
    /// They are not: the manifests were saved some time ago, or the API server, by which heartbeats come, is away.
    Unjudged,
    /// In seconds since 1970: now, and the time since which heartbeats have been able to come.
    Since { now: u64, since: u64 },
}

impl Heartbeats {
    fn is_fresh(self, updated: Option<u64>) -> bool {
        match (self, updated) {
            (Self::Since { now, since }, Some(updated)) => now.saturating_sub(updated.max(since)) <= HEARTBEAT_TIMEOUT,
            _ => true,
        }
    }
}

fn view(stores: &Stores, local: &ClusterId, heartbeats: Heartbeats) -> NetworkView {
    let active = stores.network.gateways.values().filter(|gateway| gateway.active);
    let fresh = active.filter(|gateway| heartbeats.is_fresh(gateway.updated));
    if fresh.clone().next().is_none() {
        return by_probes(stores, local);
    }
    let mut links: BTreeMap<ClusterId, Link> = BTreeMap::new();
    for (peer, &link) in fresh.flat_map(|gateway| &gateway.links) {
        let best = links.entry(peer.clone()).or_insert(link);
        if link.reachable && !best.reachable {
            *best = link;
        }
    }
    NetworkView { local: local.clone(), links_complete: true, links }
}

/// A cluster that was never probed can be anywhere, and so is taken to be reachable.
fn by_probes(stores: &Stores, local: &ClusterId) -> NetworkView {
    let link = |(peer, link): (&ClusterId, &PeerLink)| {
        let rtt = link.rtt_ms.map(|ms| Duration::from_secs_f64(ms.max(0.0) / 1e3));
        (peer.clone(), Link { reachable: link.reachable != Some(false), rtt })
    };
    let links = stores.network.links.iter().map(link).collect();
    NetworkView { local: local.clone(), links_complete: false, links }
}

/// Returns a number that changes whenever gateways may have measured anew.
fn heartbeat(stores: &Stores, now: u64) -> u64 {
    let updated = stores.network.gateways.values().filter_map(|gateway| gateway.updated);
    updated.max().unwrap_or(now / HEARTBEAT_INTERVAL)
}
