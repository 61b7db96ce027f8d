//! Errors that end a process.

use thiserror::Error;

use crate::admin;
use crate::kubernetes::connect::ConnectError;
use crate::measure::probe_server;
use crate::measure::prometheus::PrometheusError;

/// Reason why a process cannot start or continue. Each message says what to do.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("--prometheus: {0}")]
    Prometheus(#[from] PrometheusError),
    #[error(transparent)]
    Admin(#[from] admin::BindError),
    #[error(transparent)]
    Probe(#[from] probe_server::BindError),
    #[error("{0}")]
    Dns(String),
    #[error("{component} ended unexpectedly{}", why.as_deref().map(|why| format!(": {why}")).unwrap_or_default())]
    Ended { component: &'static str, why: Option<String> },
}
