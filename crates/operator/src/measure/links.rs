//! The ways to the other clusters, as probes find them: whether there is anybody, at once, and what the way is like, in steps.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use landfall_core::name::ClusterId;
use landfall_core::reach::NetworkPath;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::probe::{self, Probed};
use landfall_controller::change::Change;
use landfall_controller::facts::PeerLink;
use landfall_controller::targets::ProbeTargets;

/// How many probes, at one per second, make a step of the filters.
const STEP: Duration = Duration::from_secs(30);
/// Outcomes that wait for us.
const QUEUE: usize = 256;

/// Probes until nobody wants to know any more.
pub async fn run(targets: watch::Receiver<ProbeTargets>, source: Option<IpAddr>, changes: mpsc::Sender<Change>) {
    let (sender, mut outcomes) = mpsc::channel(QUEUE);
    let mut probes = std::pin::pin!(probe::run(targets.clone(), source, sender));
    let mut ways = Ways::default();
    let mut steps = interval(STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    steps.tick().await;
    loop {
        let news = tokio::select! {
            () = &mut probes => return,
            () = changes.closed() => return,
            Some(probed) = outcomes.recv() => ways.probed(&probed),
            _ = steps.tick() => ways.step(&targets.borrow()),
        };
        if news && changes.send(Change::Links(ways.links())).await.is_err() {
            return;
        }
    }
}

#[derive(Debug, Default)]
struct Ways {
    peers: BTreeMap<ClusterId, NetworkPath>,
}

impl Ways {
    /// Whether a peer went or came back, or the way to it is known for the first time, or has become another one.
    fn probed(&mut self, probed: &Probed) -> bool {
        let way = self.peers.entry(probed.cluster.clone()).or_default();
        let before = (way.is_reachable(), way.quality());
        way.record_probe(probed.rtt.map(|rtt| rtt.as_secs_f64() * 1e3));
        if way.should_end_round() {
            way.end_round();
        }
        before != (way.is_reachable(), way.quality())
    }

    /// Ends a step. Peers that have no address any more are forgotten.
    fn step(&mut self, targets: &ProbeTargets) -> bool {
        let before = self.links();
        self.peers.retain(|peer, _| targets.contains_key(peer));
        for way in self.peers.values_mut() {
            way.end_round();
        }
        before != self.links()
    }

    fn links(&self) -> BTreeMap<ClusterId, PeerLink> {
        let link = |(peer, way): (&ClusterId, &NetworkPath)| {
            let known = way.quality();
            let link = PeerLink {
                rtt_ms: known.map(|known| known.rtt_ms),
                jitter_ms: known.map(|known| known.jitter_ms),
                loss: known.map(|known| known.loss),
                reachable: Some(way.is_reachable()),
            };
            (peer.clone(), link)
        };
        self.peers.iter().map(link).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ClusterId {
        ClusterId::new("west").unwrap()
    }

    fn probed(ms: Option<u64>) -> Probed {
        Probed { cluster: id(), rtt: ms.map(Duration::from_millis) }
    }

    #[test]
    fn a_peer_that_goes_or_comes_back_is_news_and_one_probe_more_is_not() {
        let mut ways = Ways::default();
        let news: Vec<bool> = (0..6).map(|_| ways.probed(&probed(Some(20)))).collect();
        assert_eq!(news, [false, false, false, false, true, false], "five tell what the way is like");
        assert_eq!(ways.links()[&id()].rtt_ms, Some(20.0));
        let gone: Vec<bool> = (0..4).map(|_| ways.probed(&probed(None))).collect();
        assert_eq!(gone, [false, false, true, false]);
        assert_eq!(ways.links()[&id()].reachable, Some(false));
        assert!(ways.probed(&probed(Some(20))) && ways.links()[&id()].reachable == Some(true));
    }

    #[test]
    fn a_step_is_news_when_the_way_has_become_another_one() {
        let targets = ProbeTargets::from([(id(), Vec::new())]);
        let mut ways = Ways::default();
        let probe =
            |ways: &mut Ways, times: u32, ms: u64| (0..times).filter(|_| ways.probed(&probed(Some(ms)))).count();
        assert_eq!(probe(&mut ways, 35, 20), 1, "when enough was known");
        assert!(!ways.step(&targets));
        assert_eq!(probe(&mut ways, 20, 28), 0, "not by so little");
        assert!(ways.step(&targets));
        assert!(ways.step(&ProbeTargets::new()) && ways.links().is_empty(), "it has no address any more");
    }
}
