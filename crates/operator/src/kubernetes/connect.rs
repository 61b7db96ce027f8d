//! What must be right before anything can run, and what to say when it is not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use landfall_core::name::ClusterId;
use landfall_core::pricing::Location;
use thiserror::Error;
use tokio::time::{sleep, timeout};

use crate::admin;
use crate::error_chain::chain;
use crate::kubernetes::cluster_property;
use crate::kubernetes::discovery::{Discovered, served};
use crate::measure::echo;
use crate::measure::prometheus::PrometheusError;
use crate::object::Kind;

/// Between two attempts to reach an API server that does not answer.
const RETRY: Duration = Duration::from_millis(250);
const SILENCE: Duration = Duration::from_secs(60);
/// For one attempt.
const REQUEST: Duration = Duration::from_secs(10);
/// How many answers that say no are believed: after a second, or, when the server was silent before and so is just
/// starting, after half a minute.
const REFUSALS: u32 = 5;
const REFUSALS_AFTER_SILENCE: u32 = 120;

/// Why a process could not start, or could not go on. Each says what to do.
#[derive(Debug, Error)]
pub enum StartError {
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

/// Connects to nothing yet.
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client, StartError> {
    let config = match kubeconfig {
        Some(path) => {
            let wrong =
                |error: &dyn std::error::Error| StartError::Kubeconfig { path: path.to_owned(), why: chain(error) };
            let kubeconfig = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| wrong(&error))?
        }
        None => Config::infer().await.map_err(|error| StartError::NoConfig { why: chain(&error) })?,
    };
    Client::try_from(tuned(config)).map_err(|error| StartError::NoConfig { why: chain(&error) })
}

/// As all our clients are.
pub fn tuned(mut config: Config) -> Config {
    // The client would wait for as many seconds as a starting server asks for. Everybody here tries again by himself, sooner.
    config.default_retry = false;
    // A server that vanished without a word is noticed when nothing came for this long; a watch lasts 50 s at most.
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    config
}

/// Waits until the API server answers, and then checks that the kinds are served that nothing works without.
pub async fn preflight(client: &Client) -> Result<(), StartError> {
    let required = [Kind::ServiceImport, Kind::SelectionPolicy, Kind::ServiceSelection];
    patiently(|| async {
        let mut missing = Vec::new();
        for kind in required {
            if matches!(served(client, kind).await?, Discovered::Missing) {
                missing.push(kind.resource());
            }
        }
        Ok(if missing.is_empty() { Ok(()) } else { Err(StartError::Missing { missing }) })
    })
    .await
}

/// What Submariner calls this cluster, else its ClusterProperty.
pub async fn cluster_id(client: &Client, namespace: &str) -> Result<ClusterId, StartError> {
    let api = kube::Api::<landfall_api::Submariner>::namespaced(client.clone(), namespace);
    patiently(|| async {
        let submariners = match api.list(&Default::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            other => other?.items,
        };
        let id = submariners.iter().map(|submariner| submariner.spec.cluster_id.as_str()).find(|id| !id.is_empty());
        let mut id = id.and_then(|id| ClusterId::new(id).ok());
        if id.is_none() {
            let property = cluster_property::property(client, cluster_property::CLUSTER_ID).await?;
            id = property.and_then(|id| ClusterId::new(&id).ok());
        }
        Ok(id.ok_or_else(|| StartError::NoClusterId { namespace: namespace.to_owned() }))
    })
    .await
}

/// What no two clusters have alike: the UID of the namespace kube-system.
pub async fn instance(client: &Client) -> Result<String, StartError> {
    let api = kube::Api::<Namespace>::all(client.clone());
    patiently(|| async {
        let namespace = api.get_metadata("kube-system").await?;
        Ok(Ok(namespace.metadata.uid.unwrap_or_default()))
    })
    .await
}

/// Where its ClusterProperty says that this cluster is. One that is no place is named and left out.
pub async fn location(client: &Client) -> Result<Option<Location>, StartError> {
    let said =
        patiently(|| async { cluster_property::property(client, cluster_property::LOCATION).await.map(Ok) }).await?;
    let place = said.map(|said| Location::parse_override(&said)).transpose();
    Ok(place.unwrap_or_else(|why| {
        tracing::warn!(%why, "ClusterProperty {} is left out; going by the nodes", cluster_property::LOCATION);
        None
    }))
}

/// Again and again while the server does not answer. An answer that says no is believed only after a while: a server that
/// is starting knows neither all of its kinds nor who may do what.
async fn patiently<T, F>(mut request: impl FnMut() -> F) -> Result<T, StartError>
where
    F: Future<Output = kube::Result<Result<T, StartError>>>,
{
    let mut complaint = String::new();
    let mut refusals = 0;
    loop {
        let refused = match timeout(REQUEST, request()).await {
            Ok(Ok(Ok(value))) => return Ok(value),
            Ok(Ok(Err(refused))) => Some(refused),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
                Some(StartError::Refused { why: status.message.clone() })
            }
            Ok(Err(error)) => {
                complain(&mut complaint, chain(&error));
                None
            }
            Err(_) => {
                complain(&mut complaint, "no answer in time".to_owned());
                None
            }
        };
        if let Some(refused) = refused {
            refusals += 1;
            let believed = if complaint.is_empty() { REFUSALS } else { REFUSALS_AFTER_SILENCE };
            if refusals >= believed {
                return Err(refused);
            }
        }
        sleep(RETRY).await;
    }
}

/// Once per reason.
fn complain(complaint: &mut String, why: String) {
    if *complaint != why {
        tracing::warn!(why, "the API server does not answer; trying again until it does");
        *complaint = why;
    }
}
