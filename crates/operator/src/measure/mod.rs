//! Measures the paths to the peers in every process, and answers and loads while this replica leads.
//!
//! ```text
//! DNS replicas of all clusters ◀─ probe ── links ───────▶ Change::Links          (every process)
//! own DNS replicas ◀─ replicas ── dns_answers ─┐
//! Prometheus, metrics.k8s.io ◀──── loads ──────┴────────▶ Change::Measured       (the leader)
//! ```
//!
//! Everything here does I/O and decides nothing.

pub mod prometheus;
pub mod pod_metrics;
pub mod sources;
mod loads;
pub mod replicas;
mod dns_answers;
pub mod probe_server;
pub mod probe;
pub mod links;

use tokio::sync::{mpsc, watch};

use self::sources::Sources;
use crate::kubernetes::lease::Leadership;
use landfall_controller::change::Change;

/// Measures while this replica leads, until the receiver of changes is gone.
pub async fn run(sources: Sources, mut leadership: watch::Receiver<Leadership>, changes: mpsc::Sender<Change>) {
    loop {
        if leadership.wait_for(|leadership| *leadership == Leadership::Leader).await.is_err() {
            return;
        }
        if changes.send(Change::Leads(true)).await.is_err() {
            return;
        }
        tokio::select! {
            () = measure(&sources, &changes) => return,
            _ = leadership.wait_for(|leadership| *leadership != Leadership::Leader) => {}
        }
        if changes.send(Change::Leads(false)).await.is_err() {
            return;
        }
    }
}

/// Measures until the receiver of changes is gone. Answers and loads are read independently: a slow source of loads
/// does not delay the count of answers.
async fn measure(sources: &Sources, changes: &mpsc::Sender<Change>) {
    tokio::select! {
        () = dns_answers::run(sources, changes) => {}
        () = loads::run(sources, changes) => {}
    }
}
