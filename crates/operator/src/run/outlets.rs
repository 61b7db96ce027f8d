//! What the operator's pipeline tells the other components after every turn.

use std::sync::Arc;

use tokio::sync::watch;

use crate::change::Touched;
use crate::facts::Facts;
use crate::fleet_metrics::Figures;
use crate::measure::loads::Meters;
use crate::pipeline::{Observer, Pipeline};
use crate::publish::desired::Reconciler;
use crate::targets;

pub(super) struct Outlets {
    pub(super) reconciler: Reconciler,
    /// For the broker.
    pub(super) own: watch::Sender<Option<Arc<Facts>>>,
    /// For whoever measures.
    pub(super) meters: watch::Sender<Meters>,
    /// For whoever scrapes.
    pub(super) figures: watch::Sender<Arc<Figures>>,
}

impl Observer for Outlets {
    fn settled(&mut self, pipeline: &Pipeline, touched: &Touched) {
        self.reconciler.settled(pipeline, touched);
        self.own.send_if_modified(|known| {
            let now = pipeline.published().cloned();
            let before = std::mem::replace(known, now.clone());
            before.as_ref().map(Arc::as_ptr) != now.as_ref().map(Arc::as_ptr)
        });
        if touched.is_nothing() {
            return;
        }
        self.meters.send_if_modified(|known| {
            let now = targets::meters(pipeline);
            std::mem::replace(known, now.clone()) != now
        });
        let now = Figures::of(pipeline, &self.figures.borrow());
        self.figures.send_replace(Arc::new(now));
    }
}
