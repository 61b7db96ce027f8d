//! Why a process ends.

use thiserror::Error;

use crate::admin;
use crate::kubernetes::connect::ConnectError;
use crate::measure::probe_server as echo;
use crate::measure::prometheus::PrometheusError;

/// Why a process could not start, or could not go on. Each message says what to do.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("--prometheus: {0}")]
    Prometheus(#[from] PrometheusError),
    #[error(transparent)]
    Admin(#[from] admin::BindError),
    #[error(transparent)]
    Probe(#[from] echo::BindError),
    #[error("{0}")]
    Dns(String),
    #[error("{component} ended unexpectedly{}", why.as_deref().map(|why| format!(": {why}")).unwrap_or_default())]
    Ended { component: &'static str, why: Option<String> },
}
