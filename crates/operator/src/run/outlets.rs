//! What the operator's pipeline tells the other components after every turn.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::control_loop::Observer;
use crate::kubernetes::outbox::Outbox;
use landfall_controller::change::Touched;
use landfall_controller::facts::ClusterFacts;
use landfall_controller::fleet_metrics::FleetMetrics;
use landfall_controller::pipeline::Pipeline;
use landfall_controller::publish::desired::{desired_writes, is_present};
use landfall_controller::targets;
use landfall_controller::targets::LoadTargets;

pub(super) struct Outlets {
    pub(super) outbox: Arc<Outbox>,
    pub(super) clock: fn() -> Time,
    /// For the broker.
    pub(super) own: watch::Sender<Option<Arc<ClusterFacts>>>,
    /// For whoever measures.
    pub(super) meters: watch::Sender<LoadTargets>,
    /// For whoever scrapes.
    pub(super) figures: watch::Sender<Arc<FleetMetrics>>,
}

impl Observer for Outlets {
    fn settled(&mut self, pipeline: &Pipeline, touched: &Touched) {
        for desired in desired_writes(pipeline, touched, &(self.clock)()) {
            self.outbox.set(desired, Instant::now());
        }
        if touched.policies {
            self.outbox.retain(|target| is_present(pipeline, target));
        }
        self.own.send_if_modified(|known| {
            let now = pipeline.published().cloned();
            let before = std::mem::replace(known, now.clone());
            before.as_ref().map(Arc::as_ptr) != now.as_ref().map(Arc::as_ptr)
        });
        if touched.is_empty() {
            return;
        }
        self.meters.send_if_modified(|known| {
            let now = targets::load_targets(pipeline);
            std::mem::replace(known, now.clone()) != now
        });
        let now = FleetMetrics::of(pipeline, &self.figures.borrow());
        self.figures.send_replace(Arc::new(now));
    }
}
