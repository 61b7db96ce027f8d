//! Facts of this cluster as a whole, and of each cluster as they were reported.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use landfall_core::name::ClusterId;
use landfall_core::pricing::Location;
use landfall_core::snapshot::NetworkView;

use crate::facts::{ClusterFacts, PeerLink};
use crate::stores::Stores;

/// Returns what the local cluster is to publish of itself as a whole, as it is now, without services.
pub fn cluster_facts(stores: &Stores, view: &NetworkView) -> ClusterFacts {
    let configured = stores.facts.objects.get(&view.local).map(|facts| ClusterFacts::clone(facts));
    let mut own = configured.unwrap_or_else(|| ClusterFacts::empty(view.local.clone()));
    for (peer, probed) in &stores.network.links {
        let known = own.links.entry(peer.clone()).or_default();
        *known = PeerLink {
            rtt_ms: known.rtt_ms.or_else(|| view.links.get(peer)?.rtt.map(ms)).or(probed.rtt_ms),
            jitter_ms: known.jitter_ms.or(probed.jitter_ms),
            loss: known.loss.or(probed.loss),
            reachable: known.reachable,
        };
    }
    completed(own, stores, view)
}

fn ms(rtt: Duration) -> f64 {
    rtt.as_micros() as f64 / 1000.0
}

/// Returns what the local cluster has published, completed with what is seen here.
pub fn own_facts(stores: &Stores, view: &NetworkView) -> ClusterFacts {
    let mut own = ClusterFacts::clone(&facts_of(stores, &view.local));
    // Reachability is seen here sooner than it comes back from the broker, if there is one.
    let configured = stores.facts.objects.get(&view.local);
    for (peer, link) in &mut own.links {
        link.reachable = configured.and_then(|facts| facts.links.get(peer)?.reachable);
    }
    completed(own, stores, view)
}

fn completed(mut own: ClusterFacts, stores: &Stores, view: &NetworkView) -> ClusterFacts {
    if own.location == Location::default() {
        own.location = stores.location.of_cluster().unwrap_or_default();
    }
    for (peer, link) in &view.links {
        let known = own.links.entry(peer.clone()).or_default();
        known.rtt_ms = known.rtt_ms.or_else(|| link.rtt.map(ms));
        known.reachable = known.reachable.or(Some(link.reachable));
    }
    let others: BTreeSet<&ClusterId> = mentioned(stores).filter(|cluster| **cluster != view.local).collect();
    for cluster in others.iter().filter(|cluster| !view.reaches(cluster)) {
        own.links.entry((*cluster).clone()).or_default().reachable.get_or_insert(false);
    }
    let pricing = stores.location.pricing();
    for cluster in others {
        let Some(place) = place_of(stores, cluster) else { continue };
        if let Some(price) = pricing.usd_per_gb(&own.location, place) {
            own.egress_usd_per_gb.entry(cluster.clone()).or_insert(price.usd_per_gb);
        }
    }
    own
}

/// Clusters that are mentioned anywhere.
pub(super) fn mentioned(stores: &Stores) -> impl Iterator<Item = &ClusterId> {
    stores.facts.objects.keys().chain(stores.facts.peers.keys()).chain(stores.services.imports.exporters())
}

/// Returns the location that another cluster reports.
fn place_of<'a>(stores: &'a Stores, cluster: &ClusterId) -> Option<&'a Location> {
    let facts = [&stores.facts.peers, &stores.facts.objects].into_iter().filter_map(|all| all.get(cluster));
    facts.map(|facts| &facts.location).find(|place| **place != Location::default())
}

/// Returns what a cluster reports, in objects of this cluster and over the broker.
pub(super) fn facts_of(stores: &Stores, cluster: &ClusterId) -> Arc<ClusterFacts> {
    match (stores.facts.objects.get(cluster), stores.facts.peers.get(cluster)) {
        (Some(objects), Some(peer)) => Arc::new(ClusterFacts::clone(objects).with_newer(peer)),
        (Some(facts), None) | (None, Some(facts)) => Arc::clone(facts),
        (None, None) => Arc::new(ClusterFacts::empty(cluster.clone())),
    }
}
