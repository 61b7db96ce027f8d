//! Sends the links to the other clusters to the pipeline, whenever probes change them.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::probe;
use landfall_controller::change::Change;
use landfall_controller::probed_links::ProbedLinks;
use landfall_controller::targets::ProbeTargets;

/// Interval between two steps of the filters, so a step has the probes of 30 s.
const STEP_INTERVAL: Duration = Duration::from_secs(30);
/// Limit of queued outcomes. A full queue holds back the probes.
const MAX_QUEUED_OUTCOMES: usize = 256;

/// Probes until the receiver of changes is gone.
pub async fn run(targets: watch::Receiver<ProbeTargets>, source: Option<IpAddr>, changes: mpsc::Sender<Change>) {
    let (sender, mut outcomes) = mpsc::channel(MAX_QUEUED_OUTCOMES);
    let mut probes = std::pin::pin!(probe::run(targets.clone(), source, sender));
    let mut links = ProbedLinks::default();
    let mut steps = interval(STEP_INTERVAL);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    steps.tick().await;
    loop {
        let changed = tokio::select! {
            () = &mut probes => return,
            () = changes.closed() => return,
            Some(probed) = outcomes.recv() => {
                links.record(&probed.cluster, probed.rtt.map(|rtt| rtt.as_secs_f64() * 1e3))
            }
            _ = steps.tick() => links.end_step(&targets.borrow()),
        };
        if changed && changes.send(Change::Links(links.links())).await.is_err() {
            return;
        }
    }
}
