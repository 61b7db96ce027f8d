//! Connects to the API server, and checks what every process needs from it.

use crate::log_once::LogOnce;
use crate::retry::Backoff;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use thiserror::Error;
use tokio::time::{sleep, timeout};

use super::cluster_property;
use super::discovery::{Discovered, served};
use super::patience::{Limits, Outcome, Patience};
use crate::error_chain::chain;
use landfall_controller::object::Kind;

/// Target of the log lines about connecting, for filters.
pub const LOG_TARGET: &str = "landfall::connect";

/// Limits at the start. A denial is final after about a second, or after half a minute if the server was silent before
/// and so is probably just starting.
const LIMITS: Limits = Limits {
    denials: 5,
    denials_after_silence: 120,
    backoff: Backoff::new(RETRY_PAUSE, RETRY_PAUSE),
    slow_after: u32::MAX,
    slow_pause: RETRY_PAUSE,
};
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Longest silence of a connection. A watch lasts 50 s at most.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Limit for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Reason why the API server cannot be used. Each message says what to do.
#[derive(Debug, Error)]
pub enum ConnectError {
    #[error("cannot use kubeconfig {}: {why}", path.display())]
    Kubeconfig { path: PathBuf, why: String },
    #[error("found neither an in-cluster configuration nor a kubeconfig ({why}); give --kubeconfig FILE")]
    NoConfig { why: String },
    #[error(
        "the API server refuses these credentials ({why}); check the kubeconfig, or the service account and its RBAC"
    )]
    Refused { why: String },
    #[error(
        "{} not installed; run `landfall crds | kubectl apply -f -` for Landfall's, and install the MCS API for \
         serviceimports.multicluster.x-k8s.io", missing.join(", ")
    )]
    Missing { missing: Vec<String> },
    #[error(
        "the id of this cluster is not known: give --cluster-id, or set spec.clusterID of the Submariner resource in \
         namespace {namespace}, or create the ClusterProperty {}",
        cluster_property::CLUSTER_ID
    )]
    NoClusterId { namespace: String },
}

/// Creates a client of the API server. Does not connect yet.
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    let config = match kubeconfig {
        Some(path) => {
            let wrong =
                |error: &dyn std::error::Error| ConnectError::Kubeconfig { path: path.to_owned(), why: chain(error) };
            let kubeconfig = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| wrong(&error))?
        }
        None => Config::infer().await.map_err(|error| ConnectError::NoConfig { why: chain(&error) })?,
    };
    Client::try_from(with_our_timeouts(config)).map_err(|error| ConnectError::NoConfig { why: chain(&error) })
}

/// Sets the timeouts that all our clients have.
pub fn with_our_timeouts(mut config: Config) -> Config {
    // The client would wait as many seconds as a starting server asks for. All callers here retry by themselves,
    // sooner.
    config.default_retry = false;
    // Notices a server that vanished without closing the connection.
    config.read_timeout = Some(IDLE_TIMEOUT);
    config.reset_reader_on_write = true;
    config
}

/// Waits until the API server answers, then checks that it serves the required kinds.
pub async fn preflight(client: &Client) -> Result<(), ConnectError> {
    let required = [Kind::ServiceImport, Kind::SelectionPolicy, Kind::ServiceSelection];
    retry_until_answered(|| async {
        let mut missing = Vec::new();
        for kind in required {
            if matches!(served(client, kind).await?, Discovered::Missing) {
                missing.push(kind.resource());
            }
        }
        Ok(if missing.is_empty() { Ok(()) } else { Err(ConnectError::Missing { missing }) })
    })
    .await
}

/// Repeats a request until the server answers it, or until a denial is final.
pub(super) async fn retry_until_answered<T, F>(mut request: impl FnMut() -> F) -> Result<T, ConnectError>
where
    F: Future<Output = kube::Result<Result<T, ConnectError>>>,
{
    let mut patience = Patience::new(LIMITS);
    let mut log = LogOnce::default();
    loop {
        let attempt = match timeout(REQUEST_TIMEOUT, request()).await {
            Ok(Ok(Ok(value))) => return Ok(value),
            Ok(Ok(Err(denial))) => Attempt::Denied(denial),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
                Attempt::Denied(ConnectError::Refused { why: status.message.clone() })
            }
            Ok(Err(error)) => Attempt::Lost(chain(&error)),
            Err(_) => Attempt::Lost("no answer in time".to_owned()),
        };
        let pause = match attempt {
            Attempt::Denied(denial) => {
                let next = patience.step(Outcome::Denied);
                if next.is_final {
                    return Err(denial);
                }
                next.pause
            }
            Attempt::Lost(why) => {
                if log.is_new(LOG_TARGET, &why) {
                    let message = "the API server does not answer; retrying until it does";
                    tracing::warn!(target: LOG_TARGET, why, "{message}");
                }
                patience.step(Outcome::Lost).pause
            }
        };
        sleep(pause).await;
    }
}

/// Failure of one attempt.
enum Attempt {
    Denied(ConnectError),
    Lost(String),
}
