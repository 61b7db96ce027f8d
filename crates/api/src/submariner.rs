use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Submariner's own resource, as its operator defines it, with two fields more. What we do not read is preserved, so that
/// both operators can share the object.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "submariner.io",
    version = "v1alpha1",
    kind = "Submariner",
    namespaced,
    status = "SubmarinerStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Submariner is the Schema for the submariners API, with Landfall's load balancing fields.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterID"),
    printcolumn(name = "LoadBalancing", type_ = "string", json_path = ".spec.serviceDiscoveryLoadBalancing"),
    printcolumn(name = "Params", type_ = "string", json_path = ".spec.optimizedLoadBalancingParams"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="landfall.dev/LoadBalancing")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct SubmarinerSpec {
    /// The id of this cluster in every label, EndpointSlice, Gateway and DNS name. A DNS label.
    #[serde(rename = "clusterID", skip_serializing_if = "String::is_empty")]
    pub cluster_id: String,
    /// The API server of the broker, as host:port.
    #[serde(rename = "brokerK8sApiServer", skip_serializing_if = "Option::is_none")]
    pub broker_api_server: Option<String>,
    /// A token for it.
    #[serde(rename = "brokerK8sApiServerToken", skip_serializing_if = "Option::is_none")]
    pub broker_token: Option<Secret>,
    /// The certificate that it is known by, PEM in base64.
    #[serde(rename = "brokerK8sCA", skip_serializing_if = "Option::is_none")]
    pub broker_ca: Option<String>,
    /// Do not check its certificate.
    #[serde(rename = "brokerK8sInsecure", skip_serializing_if = "Option::is_none")]
    pub broker_insecure: Option<bool>,
    /// The namespace of the clusterset there.
    #[serde(rename = "brokerK8sRemoteNamespace", skip_serializing_if = "Option::is_none")]
    pub broker_namespace: Option<String>,
    /// A Secret beside this resource with the token (token) and the certificate (ca.crt), in their place.
    #[serde(rename = "brokerK8sSecret", skip_serializing_if = "Option::is_none")]
    pub broker_secret: Option<String>,
    /// Whether services of other clusters are offered here at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_discovery_enabled: Option<bool>,
    /// How the exporting clusters of a service share its clients, where no SelectionPolicy says otherwise. Only relevant
    /// with serviceDiscoveryEnabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_discovery_load_balancing: Option<LoadBalancing>,
    /// What the optimiser aims at. Only relevant with serviceDiscoveryLoadBalancing: optimized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimized_load_balancing_params: Option<OptimizedParams>,
}

/// Text that is never printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct SubmarinerStatus {
    /// Those of others stay as they are; ours have a type that begins with landfall.dev/.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::or_default")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LoadBalancing {
    RoundRobin,
    WeightedRoundRobin,
    Optimized,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizedParams {
    Cost,
    Performance,
    Mixed,
}
