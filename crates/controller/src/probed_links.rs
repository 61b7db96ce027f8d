//! Links to the peers, from the outcomes of probes: reachability at once, and the quality of the path in steps.

use std::collections::BTreeMap;

use landfall_core::name::ClusterId;
use landfall_core::reach::NetworkPath;

use crate::facts::PeerLink;
use crate::targets::ProbeTargets;

/// The path to each peer that has been probed.
#[derive(Debug, Default)]
pub struct ProbedLinks {
    paths: BTreeMap<ClusterId, NetworkPath>,
}

impl ProbedLinks {
    /// Records the outcome of one probe; `None` if it was not answered. Returns whether the links changed: a peer was lost or
    /// came back, or the quality of its path is known for the first time or has changed much.
    pub fn record(&mut self, peer: &ClusterId, rtt_ms: Option<f64>) -> bool {
        let path = self.paths.entry(peer.clone()).or_default();
        let before = (path.is_reachable(), path.quality());
        path.record_probe(rtt_ms);
        if path.should_end_round() {
            path.end_round();
        }
        before != (path.is_reachable(), path.quality())
    }

    /// Ends a step of all paths, and forgets peers without an address. Returns whether the links changed.
    pub fn end_step(&mut self, targets: &ProbeTargets) -> bool {
        let before = self.links();
        self.paths.retain(|peer, _| targets.contains_key(peer));
        for path in self.paths.values_mut() {
            path.end_round();
        }
        before != self.links()
    }

    pub fn links(&self) -> BTreeMap<ClusterId, PeerLink> {
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
        self.paths.iter().map(link).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ClusterId {
        ClusterId::new("west").unwrap()
    }

    #[test]
    fn lost_and_returned_peers_change_the_links_and_one_more_probe_does_not() {
        let mut links = ProbedLinks::default();
        let changed: Vec<bool> = (0..6).map(|_| links.record(&id(), Some(20.0))).collect();
        assert_eq!(changed, [false, false, false, false, true, false], "five probes show the quality of the path");
        assert_eq!(links.links()[&id()].rtt_ms, Some(20.0));
        let changed: Vec<bool> = (0..4).map(|_| links.record(&id(), None)).collect();
        assert_eq!(changed, [false, false, true, false]);
        assert_eq!(links.links()[&id()].reachable, Some(false));
        assert!(links.record(&id(), Some(20.0)) && links.links()[&id()].reachable == Some(true));
    }

    #[test]
    fn step_changes_the_links_when_the_path_has_changed() {
        let targets = ProbeTargets::from([(id(), Vec::new())]);
        let mut links = ProbedLinks::default();
        let probe =
            |links: &mut ProbedLinks, times: u32, ms: f64| (0..times).filter(|_| links.record(&id(), Some(ms))).count();
        assert_eq!(probe(&mut links, 35, 20.0), 1, "when enough was known");
        assert!(!links.end_step(&targets));
        assert_eq!(probe(&mut links, 20, 28.0), 0, "not by so little");
        assert!(links.end_step(&targets));
        assert!(links.end_step(&ProbeTargets::new()) && links.links().is_empty(), "it has no address any more");
    }
}
