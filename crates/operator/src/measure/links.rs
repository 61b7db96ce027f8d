//! Paths to the other clusters, as measured by probes. Reachability is updated at once, quality in steps.

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

/// Interval between two steps of the filters, so a step has the probes of 30 s.
const STEP_INTERVAL: Duration = Duration::from_secs(30);
/// Limit of queued outcomes. A full queue holds back the probes.
const MAX_QUEUED_OUTCOMES: usize = 256;

/// Probes until the receiver of changes is gone.
pub async fn run(targets: watch::Receiver<ProbeTargets>, source: Option<IpAddr>, changes: mpsc::Sender<Change>) {
    let (sender, mut outcomes) = mpsc::channel(MAX_QUEUED_OUTCOMES);
    let mut probes = std::pin::pin!(probe::run(targets.clone(), source, sender));
    let mut links = Links::default();
    let mut steps = interval(STEP_INTERVAL);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    steps.tick().await;
    loop {
        let changed = tokio::select! {
            () = &mut probes => return,
            () = changes.closed() => return,
            Some(probed) = outcomes.recv() => links.record(&probed),
            _ = steps.tick() => links.step(&targets.borrow()),
        };
        if changed && changes.send(Change::Links(links.peer_links())).await.is_err() {
            return;
        }
    }
}

/// Paths to the peers.
#[derive(Debug, Default)]
struct Links {
    peers: BTreeMap<ClusterId, NetworkPath>,
}

impl Links {
    /// Records the outcome of a probe. Returns true if the reachability or the quality of the path changed.
    fn record(&mut self, probed: &Probed) -> bool {
        let path = self.peers.entry(probed.cluster.clone()).or_default();
        let before = (path.is_reachable(), path.quality());
        path.record_probe(probed.rtt.map(|rtt| rtt.as_secs_f64() * 1e3));
        if path.should_end_round() {
            path.end_round();
        }
        before != (path.is_reachable(), path.quality())
    }

    /// Ends a step, and forgets peers without an address. Returns true if anything changed.
    fn step(&mut self, targets: &ProbeTargets) -> bool {
        let before = self.peer_links();
        self.peers.retain(|peer, _| targets.contains_key(peer));
        for path in self.peers.values_mut() {
            path.end_round();
        }
        before != self.peer_links()
    }

    fn peer_links(&self) -> BTreeMap<ClusterId, PeerLink> {
        let link = |(peer, path): (&ClusterId, &NetworkPath)| {
            let quality = path.quality();
            let link = PeerLink {
                rtt_ms: quality.map(|quality| quality.rtt_ms),
                jitter_ms: quality.map(|quality| quality.jitter_ms),
                loss: quality.map(|quality| quality.loss),
                reachable: Some(path.is_reachable()),
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
    fn change_of_reachability_is_reported_and_another_equal_probe_is_not() {
        let mut links = Links::default();
        let changed: Vec<bool> = (0..6).map(|_| links.record(&probed(Some(20)))).collect();
        assert_eq!(changed, [false, false, false, false, true, false], "five probes show the quality");
        assert_eq!(links.peer_links()[&id()].rtt_ms, Some(20.0));
        let changed: Vec<bool> = (0..4).map(|_| links.record(&probed(None))).collect();
        assert_eq!(changed, [false, false, true, false]);
        assert_eq!(links.peer_links()[&id()].reachable, Some(false));
        assert!(links.record(&probed(Some(20))) && links.peer_links()[&id()].reachable == Some(true));
    }

    #[test]
    fn step_reports_a_path_whose_quality_changed() {
        let targets = ProbeTargets::from([(id(), Vec::new())]);
        let mut links = Links::default();
        let probe =
            |links: &mut Links, times: u32, ms: u64| (0..times).filter(|_| links.record(&probed(Some(ms)))).count();
        assert_eq!(probe(&mut links, 35, 20), 1, "once there are enough probes");
        assert!(!links.step(&targets));
        assert_eq!(probe(&mut links, 20, 28), 0, "the change is too small");
        assert!(links.step(&targets));
        assert!(links.step(&ProbeTargets::new()) && links.peer_links().is_empty(), "the peer has no address any more");
    }
}
