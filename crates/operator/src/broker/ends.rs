//! What a connection to the broker is tied to.

use std::sync::Arc;

use landfall_controller::broker::objects::Identity;
use landfall_controller::change::Change;
use landfall_controller::facts::ClusterFacts;
use tokio::sync::{mpsc, watch};

use crate::kubernetes::lease::Leadership;
use crate::metrics::Metrics;

/// Everything that goes in and out.
pub struct Ends {
    pub identity: Identity,
    /// The newest facts of this cluster.
    pub own: watch::Receiver<Option<Arc<ClusterFacts>>>,
    pub leadership: watch::Receiver<Leadership>,
    pub changes: mpsc::Sender<Change>,
    pub clock: fn() -> u64,
    pub metrics: Metrics,
}
