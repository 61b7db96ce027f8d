//! Publishes the results of the operator's pipeline to its other components.

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

/// Receivers of the results.
pub(super) struct Publisher {
    /// Writes for the API server.
    pub(super) outbox: Arc<Outbox>,
    pub(super) clock: fn() -> Time,
    /// Own facts for the broker.
    pub(super) own: watch::Sender<Option<Arc<ClusterFacts>>>,
    /// Own exports to be measured.
    pub(super) load_targets: watch::Sender<LoadTargets>,
    /// Metrics of the fleet for the admin port.
    pub(super) fleet_metrics: watch::Sender<Arc<FleetMetrics>>,
}

impl Observer for Publisher {
    fn batch_applied(&mut self, pipeline: &Pipeline, touched: &Touched) {
        for desired in desired_writes(pipeline, touched, &(self.clock)()) {
            self.outbox.set(desired, Instant::now());
        }
        if touched.policies {
            self.outbox.retain(|target| is_present(pipeline, target));
        }
        self.own.send_if_modified(|last| {
            let now = pipeline.published().cloned();
            let before = std::mem::replace(last, now.clone());
            before.as_ref().map(Arc::as_ptr) != now.as_ref().map(Arc::as_ptr)
        });
        if touched.is_empty() {
            return;
        }
        self.load_targets.send_if_modified(|last| {
            let now = targets::load_targets(pipeline);
            std::mem::replace(last, now.clone()) != now
        });
        let now = FleetMetrics::of(pipeline, &self.fleet_metrics.borrow());
        self.fleet_metrics.send_replace(Arc::new(now));
    }
}
