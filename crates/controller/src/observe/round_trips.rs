//! Smooths the round-trip times that plans use. A gateway reports its last sample every five seconds, and no two are
//! equal. Without smoothing, each sample would mean a new plan for every optimized service.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_core::name::ClusterId;
use landfall_core::optimize::rtt::Rtt;
use landfall_core::snapshot::NetworkView;

/// Filters of the round-trip times, one for each peer.
#[derive(Debug, Default)]
pub struct RoundTrips {
    /// Heartbeat of the gateways' samples that the filters already contain.
    heartbeat: Option<u64>,
    peers: BTreeMap<ClusterId, Rtt>,
}

impl RoundTrips {
    /// Replaces the samples in the view by smoothed times, which stay equal until they have moved noticeably.
    /// `heartbeat` differs from that of the last call if there are new samples.
    pub fn steady(&mut self, mut view: NetworkView, heartbeat: u64) -> NetworkView {
        let new = self.heartbeat.replace(heartbeat) != Some(heartbeat);
        self.peers.retain(|peer, _| view.links.contains_key(peer));
        for (peer, link) in &mut view.links {
            let Some(sample) = link.rtt else { continue };
            let known = self.peers.entry(peer.clone()).or_default();
            if new || known.published_ms().is_none() {
                *known = known.step(sample.as_secs_f64() * 1e3);
            }
            link.rtt = known.published_ms().map(|ms| Duration::from_secs_f64(ms / 1e3));
        }
        view
    }
}

#[cfg(test)]
mod tests {
    use landfall_core::snapshot::Link;

    use super::*;

    fn view(ms: u64) -> NetworkView {
        let link = Link { reachable: true, rtt: Some(Duration::from_millis(ms)) };
        let local = ClusterId::new("a").unwrap();
        NetworkView { local, links_complete: true, links: BTreeMap::from([(ClusterId::new("b").unwrap(), link)]) }
    }

    fn ms(view: &NetworkView) -> u128 {
        view.links[&ClusterId::new("b").unwrap()].rtt.unwrap().as_millis()
    }

    #[test]
    fn spike_is_ignored_and_a_longer_path_is_learnt_over_several_heartbeats() {
        let mut round_trips = RoundTrips::default();
        assert_eq!(ms(&round_trips.steady(view(10), 0)), 10);
        assert_eq!(ms(&round_trips.steady(view(11), 1)), 10);
        let spike = ms(&round_trips.steady(view(500), 2));
        assert!(spike <= 13, "{spike}");
        let settled = (3..40).fold(0, |_, heartbeat| ms(&round_trips.steady(view(40), heartbeat)));
        assert!((36..=40).contains(&settled), "{settled}");
    }

    #[test]
    fn same_heartbeat_counts_as_one_sample() {
        let mut round_trips = RoundTrips::default();
        round_trips.steady(view(10), 0);
        let once = round_trips.steady(view(40), 1);
        assert_eq!(round_trips.steady(view(40), 1), once);
    }
}
