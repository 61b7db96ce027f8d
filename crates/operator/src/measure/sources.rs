//! Sources of the measurements of a leader.

use std::net::SocketAddr;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;

use super::prometheus::Prometheus;
use landfall_controller::targets::LoadTargets;

/// DNS replicas of this cluster.
#[derive(Debug, Clone)]
pub enum Replicas {
    /// The ready replicas behind a Service.
    Found { namespace: String, service: String },
    /// Configured admin ports.
    Given(Vec<SocketAddr>),
}

/// Sources of the measurements.
pub struct Sources {
    pub client: Client,
    pub replicas: Replicas,
    pub prometheus: Option<Prometheus>,
    /// Own exports to be measured.
    pub load_targets: watch::Receiver<LoadTargets>,
    pub clock: fn() -> u64,
}

/// Limit for one request to the API server.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Logs why something is not measured.
pub(super) fn log_not_measured(of: &str, why: &str) {
    tracing::warn!(of, why, "not measured");
}
