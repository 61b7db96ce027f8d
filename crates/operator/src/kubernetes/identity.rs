//! Id and location of the local cluster.

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use landfall_core::name::ClusterId;
use landfall_core::pricing::Location;

use super::cluster_property;
use super::connect::{ConnectError, retry_until_answered};

/// Returns the id of this cluster: the one that Submariner has, otherwise the one in its ClusterProperty.
pub async fn cluster_id(client: &Client, namespace: &str) -> Result<ClusterId, ConnectError> {
    let api = kube::Api::<landfall_api::Submariner>::namespaced(client.clone(), namespace);
    retry_until_answered(|| async {
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
        Ok(id.ok_or_else(|| ConnectError::NoClusterId { namespace: namespace.to_owned() }))
    })
    .await
}

/// Returns the UID of the namespace kube-system, which no two clusters share.
pub async fn instance(client: &Client) -> Result<String, ConnectError> {
    let api = kube::Api::<Namespace>::all(client.clone());
    retry_until_answered(|| async {
        let namespace = api.get_metadata("kube-system").await?;
        Ok(Ok(namespace.metadata.uid.unwrap_or_default()))
    })
    .await
}

/// Returns the location in the ClusterProperty of this cluster. A value that is not a location is logged and left out.
pub async fn location(client: &Client) -> Result<Option<Location>, ConnectError> {
    let value =
        retry_until_answered(|| async { cluster_property::property(client, cluster_property::LOCATION).await.map(Ok) })
            .await?;
    let location = value.map(|value| Location::parse_override(&value)).transpose();
    Ok(location.unwrap_or_else(|why| {
        let name = cluster_property::LOCATION;
        tracing::warn!(%why, "ClusterProperty {name} left out; using the location of the nodes");
        None
    }))
}
