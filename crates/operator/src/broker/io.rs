//! Inputs and outputs of the exchange with the broker.

use std::sync::Arc;

use landfall_controller::broker::objects::Identity;
use landfall_controller::change::Change;
use landfall_controller::facts::ClusterFacts;
use tokio::sync::{mpsc, watch};

use crate::kubernetes::lease::Leadership;
use crate::metrics::Metrics;

/// Inputs and outputs of the exchange with the broker.
pub struct BrokerIo {
    pub identity: Identity,
    /// Newest facts of this cluster, to be written.
    pub own: watch::Receiver<Option<Arc<ClusterFacts>>>,
    pub leadership: watch::Receiver<Leadership>,
    /// Queue of the pipeline, for the facts of all clusters and the state of the broker.
    pub changes: mpsc::Sender<Change>,
    pub clock: fn() -> u64,
    pub metrics: Metrics,
}
