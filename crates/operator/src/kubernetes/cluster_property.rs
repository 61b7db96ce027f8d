//! Properties of a cluster that an administrator sets in ClusterProperties, the About API of the Kubernetes SIG
//! Multicluster. They are read once, at the start: the id and the location of a cluster do not change while it runs.

use kube::api::{Api, ApiResource, DynamicObject};
use kube::{Client, Error};

/// Name of the property that has the id of the cluster in the clusterset.
pub const CLUSTER_ID: &str = "cluster.clusterset.k8s.io";
/// Name of the property that has the location of the cluster, as
/// [`Location::parse_override`](landfall_core::pricing::Location::parse_override) reads it.
pub const LOCATION: &str = "location.landfall.dev";

/// Versions of the API, the preferred one first.
const VERSIONS: [&str; 2] = ["v1beta1", "v1alpha1"];

/// Returns the value of a property. Returns `None` if the property does not exist, the API is not installed, or access
/// to it is forbidden.
pub async fn property(client: &Client, name: &str) -> kube::Result<Option<String>> {
    for version in VERSIONS {
        let resource = ApiResource {
            group: "about.k8s.io".to_owned(),
            version: version.to_owned(),
            api_version: format!("about.k8s.io/{version}"),
            kind: "ClusterProperty".to_owned(),
            plural: "clusterproperties".to_owned(),
        };
        match Api::<DynamicObject>::all_with(client.clone(), &resource).get(name).await {
            Ok(property) => return Ok(value(&property)),
            Err(Error::Api(status)) if matches!(status.code, 403 | 404) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn value(property: &DynamicObject) -> Option<String> {
    let value = property.data.pointer("/spec/value")?.as_str()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}
