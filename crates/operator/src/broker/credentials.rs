//! Address and credentials of the broker.
//!
//! Submariner keeps them in its resource, newer versions of it in a Secret beside that. Without Submariner they are in
//! a kubeconfig. Both are read periodically, so that a renewed token does not need a restart.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Secret;
use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};
use kube::{Api, Client, Config};
use landfall_api::{Submariner, SubmarinerSpec};
use thiserror::Error;

use crate::error_chain::chain;
use crate::kubernetes::connect::with_our_timeouts;

/// Default namespace of the clusterset on a broker, as created by Submariner.
pub const NAMESPACE: &str = "submariner-k8s-broker";

/// Source of the credentials.
#[derive(Clone)]
pub enum BrokerSource {
    Kubeconfig {
        path: PathBuf,
        namespace: String,
    },
    /// The Submariner resource of a namespace of this cluster.
    Submariner {
        client: Client,
        namespace: String,
    },
}

impl BrokerSource {
    /// Returns the given kubeconfig of the broker and namespace there, otherwise the Submariner resource of this
    /// cluster.
    pub fn new(kubeconfig: Option<(PathBuf, String)>, client: &Client, submariner_namespace: &str) -> Self {
        match kubeconfig {
            Some((path, namespace)) => Self::Kubeconfig { path, namespace },
            None => Self::Submariner { client: client.clone(), namespace: submariner_namespace.to_owned() },
        }
    }
}

/// Reason why there are no credentials, although a broker is configured.
#[derive(Debug, Error)]
pub enum CredentialsError {
    #[error("cannot use --broker-kubeconfig {}: {why}", path.display())]
    Kubeconfig { path: PathBuf, why: String },
    #[error("cannot read the Submariner resource in namespace {namespace}: {why}")]
    Submariner { namespace: String, why: String },
    #[error("cannot read Secret {namespace}/{name}, which brokerK8sSecret of the Submariner resource names: {why}")]
    Secret { namespace: String, name: String, why: String },
    #[error("the Submariner resource names a broker, but no token: set brokerK8sSecret or brokerK8sApiServerToken")]
    NoToken,
}

/// Address and credentials of the broker.
#[derive(Clone)]
pub struct Credentials {
    kubeconfig: Kubeconfig,
    pub namespace: String,
    /// Hash of all that is needed to connect. It changes when any of that does.
    pub fingerprint: u64,
}

/// Reads the credentials. Returns `None` if no broker is configured.
pub async fn find(source: &BrokerSource) -> Result<Option<Credentials>, CredentialsError> {
    match source {
        BrokerSource::Kubeconfig { path, namespace } => read_kubeconfig(path, namespace).map(Some),
        BrokerSource::Submariner { client, namespace } => {
            let api: Api<Submariner> = Api::namespaced(client.clone(), namespace);
            let unreadable = |why: String| CredentialsError::Submariner { namespace: namespace.clone(), why };
            let all = match api.list(&Default::default()).await {
                Ok(list) => list.items,
                Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
                Err(error) => return Err(unreadable(chain(&error))),
            };
            let named = all.iter().find(|one| one.metadata.name.as_deref() == Some("submariner"));
            match named.or_else(|| all.first()) {
                Some(submariner) => read_submariner(client, namespace, &submariner.spec).await,
                None => Ok(None),
            }
        }
    }
}

fn read_kubeconfig(path: &Path, namespace: &str) -> Result<Credentials, CredentialsError> {
    let wrong = |why| CredentialsError::Kubeconfig { path: path.to_owned(), why };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let kubeconfig = Kubeconfig::from_yaml(&text).map_err(|error| wrong(chain(&error)))?;
    Ok(Credentials { kubeconfig, namespace: namespace.to_owned(), fingerprint: fingerprint(&text) })
}

/// Reads the credentials in the Submariner resource, and in its Secret. Returns `None` if the resource has no broker.
async fn read_submariner(
    client: &Client,
    namespace: &str,
    spec: &SubmarinerSpec,
) -> Result<Option<Credentials>, CredentialsError> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let Some(server) = given(&spec.broker_api_server) else { return Ok(None) };
    let secret = match given(&spec.broker_secret) {
        Some(name) => {
            let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let read = secrets.get(&name).await;
            Some(read.map_err(|error| CredentialsError::Secret {
                namespace: namespace.to_owned(),
                name,
                why: chain(&error),
            })?)
        }
        None => None,
    };
    let data = secret.and_then(|secret| secret.data).unwrap_or_default();
    let text = |key: &str| data.get(key).and_then(|value| String::from_utf8(value.0.clone()).ok());
    let token = text("token").or_else(|| spec.broker_token.clone().map(|token| token.0));
    let token = token.filter(|token| !token.is_empty()).ok_or(CredentialsError::NoToken)?;
    // Both are PEM as base64, as in a kubeconfig.
    let in_secret = data.get("ca.crt").and_then(|value| serde_json::to_value(value).ok()?.as_str().map(str::to_owned));
    let certificate = in_secret.or_else(|| given(&spec.broker_ca));
    let broker_namespace = given(&spec.broker_namespace).or_else(|| text("namespace"));
    let namespace = broker_namespace.unwrap_or_else(|| NAMESPACE.to_owned());
    let insecure = spec.broker_insecure.unwrap_or(false);
    let fingerprint = fingerprint(&(&server, &token, &certificate, &namespace, insecure));
    let kubeconfig = kubeconfig(&server, token, certificate, insecure);
    Ok(Some(Credentials { kubeconfig, namespace, fingerprint }))
}

fn kubeconfig(server: &str, token: String, certificate: Option<String>, insecure: bool) -> Kubeconfig {
    const NAME: &str = "broker";
    let server = if server.contains("://") { server.to_owned() } else { format!("https://{server}") };
    let cluster = Cluster {
        server: Some(server),
        insecure_skip_tls_verify: Some(insecure),
        certificate_authority_data: certificate.filter(|_| !insecure),
        ..Cluster::default()
    };
    let user = AuthInfo { token: Some(token.into()), ..AuthInfo::default() };
    let context = Context { cluster: NAME.to_owned(), user: Some(NAME.to_owned()), ..Context::default() };
    Kubeconfig {
        clusters: vec![NamedCluster { name: NAME.to_owned(), cluster: Some(cluster), other: Default::default() }],
        auth_infos: vec![NamedAuthInfo { name: NAME.to_owned(), auth_info: Some(user), other: Default::default() }],
        contexts: vec![NamedContext { name: NAME.to_owned(), context: Some(context), other: Default::default() }],
        current_context: Some(NAME.to_owned()),
        ..Kubeconfig::default()
    }
}

fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Creates a client of the broker. Does not connect yet.
pub async fn connect(credentials: &Credentials) -> Result<Client, String> {
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(credentials.kubeconfig.clone(), &options).await;
    let config = config.map_err(|error| chain(&error))?;
    Client::try_from(with_our_timeouts(config)).map_err(|error| chain(&error))
}
