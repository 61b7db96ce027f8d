//! Wakes the pipeline for changes and for time. The one sender of plans.

use std::sync::Arc;
use std::time::Duration;

use landfall_core::plan::Plan;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use landfall_controller::change::{Change, Touched};
use landfall_controller::pipeline::Pipeline;

/// How many changes are taken at once: all that came while the last ones were planned, so that a burst is one plan.
/// Bounded so that a large list does not hold back the rest for long.
const BATCH: usize = 4096;

/// Whoever wants to know more than the plan. Told after every batch of changes, also before there is a plan.
pub trait Observer: Send {
    fn settled(&mut self, pipeline: &Pipeline, touched: &Touched);
}

impl<F: FnMut(&Pipeline, &Touched) + Send> Observer for F {
    fn settled(&mut self, pipeline: &Pipeline, touched: &Touched) {
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
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let deadline = pipeline.next_deadline(clock()).unwrap_or(Duration::from_secs(3600));
        tokio::select! {
            () = stop.cancelled() => return,
            taken = changes.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            () = tokio::time::sleep(deadline) => {}
        }
        let before = pipeline.plan().cloned();
        let touched = pipeline.apply(batch.drain(..), clock());
        let after = pipeline.plan();
        if after.map(Arc::as_ptr) != before.as_ref().map(Arc::as_ptr) {
            plans.send_replace(after.cloned());
        }
        for problem in &touched.problems {
            tracing::warn!(%problem, "object left out; what it said before stays in force");
        }
        observer.settled(&pipeline, &touched);
    }
}
