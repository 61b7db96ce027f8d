//! What the leader reads, and where it finds it.

use std::net::SocketAddr;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;

use super::prometheus::Prometheus;
use landfall_controller::targets::LoadTargets;

/// Whom to ask.
#[derive(Debug, Clone)]
pub enum Replicas {
    /// Behind this Service.
    Found { namespace: String, service: String },
    /// As somebody says.
    Given(Vec<SocketAddr>),
}

pub struct Sources {
    pub client: Client,
    pub replicas: Replicas,
    pub prometheus: Option<Prometheus>,
    pub meters: watch::Receiver<LoadTargets>,
    pub clock: fn() -> u64,
}

/// Longest wait for one answer of the API server.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn log_not_measured(of: &str, why: &str) {
    tracing::warn!(of, why, "not measured");
}
