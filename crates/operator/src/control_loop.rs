//! Runs the pipeline when changes arrive and when its deadline passes. The only sender of plans.

use std::sync::Arc;
use std::time::Duration;

use landfall_core::plan::Plan;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use landfall_controller::change::{Change, Touched};
use landfall_controller::pipeline::Pipeline;

/// Limit of changes in one batch. Changes that arrive during planning form the next batch, so that a burst is planned
/// once. The limit keeps a large list from delaying everything else for long.
const MAX_BATCH: usize = 4096;

/// A consumer of more than the plan, such as metrics. Called after every batch of changes, also before there is a plan.
pub trait Observer: Send {
    /// Handles the state of the pipeline after a batch. `touched` is what the batch changed.
    fn batch_applied(&mut self, pipeline: &Pipeline, touched: &Touched);
}

impl<F: FnMut(&Pipeline, &Touched) + Send> Observer for F {
    fn batch_applied(&mut self, pipeline: &Pipeline, touched: &Touched) {
        self(pipeline, touched);
    }
}

/// Runs until the source of changes ends or `stop` is cancelled. `clock` gives the seconds since 1970.
pub async fn run(
    mut pipeline: Pipeline,
    mut changes: mpsc::Receiver<Change>,
    plans: watch::Sender<Option<Arc<Plan>>>,
    mut observer: impl Observer,
    (clock, stop): (fn() -> u64, CancellationToken),
) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    loop {
        let deadline = pipeline.next_deadline(clock()).unwrap_or(Duration::from_secs(3600));
        tokio::select! {
            () = stop.cancelled() => return,
            taken = changes.recv_many(&mut batch, MAX_BATCH) => if taken == 0 { return },
            () = tokio::time::sleep(deadline) => {}
        }
        let before = pipeline.plan().cloned();
        let touched = pipeline.apply(batch.drain(..), clock());
        let after = pipeline.plan();
        if after.map(Arc::as_ptr) != before.as_ref().map(Arc::as_ptr) {
            plans.send_replace(after.cloned());
        }
        for problem in &touched.problems {
            tracing::warn!(%problem, "object left out; its previous version stays in force");
        }
        observer.batch_applied(&pipeline, &touched);
    }
}
