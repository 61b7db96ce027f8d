//! Round-trip times as plans see them. A gateway tells its last sample every five seconds, and no two are alike: each would
//! be a new plan for every optimized service.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_core::name::ClusterId;
use landfall_core::optimize::rtt::Rtt;
use landfall_core::snapshot::NetworkView;

#[derive(Debug, Default)]
pub struct RoundTrips {
    /// Of the gateways: what was seen then is in the filters.
    heartbeat: Option<u64>,
    peers: BTreeMap<ClusterId, Rtt>,
}

impl RoundTrips {
    /// The view with the times that are published: smooth, and the same until they have moved. `heartbeat` is another number
    /// when there are new samples.
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
    fn a_spike_is_no_news_and_a_longer_way_is_learnt_heartbeat_by_heartbeat() {
        let mut round_trips = RoundTrips::default();
        assert_eq!(ms(&round_trips.steady(view(10), 0)), 10);
        assert_eq!(ms(&round_trips.steady(view(11), 1)), 10);
        let spike = ms(&round_trips.steady(view(500), 2));
        assert!(spike <= 13, "{spike}");
        let settled = (3..40).fold(0, |_, heartbeat| ms(&round_trips.steady(view(40), heartbeat)));
        assert!((36..=40).contains(&settled), "{settled}");
    }

    #[test]
    fn the_same_heartbeat_twice_is_one_sample() {
        let mut round_trips = RoundTrips::default();
        round_trips.steady(view(10), 0);
        let once = round_trips.steady(view(40), 1);
        assert_eq!(round_trips.steady(view(40), 1), once);
    }
}
