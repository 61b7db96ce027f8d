use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Submariner resource of this cluster, as Submariner's operator defines it, with two fields for load balancing. Fields
/// that Landfall does not read are preserved, so that both operators can share the object.
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
    /// Id of this cluster in the clusterset: one DNS label, or two joined by a dot. It is part of labels,
    /// EndpointSlices, Gateways and DNS names.
    #[serde(rename = "clusterID", skip_serializing_if = "String::is_empty")]
    pub cluster_id: String,
    /// Address of the broker's API server, as host:port. Absent: this resource names no broker.
    #[serde(rename = "brokerK8sApiServer", skip_serializing_if = "Option::is_none")]
    pub broker_api_server: Option<String>,
    /// Bearer token for the broker's API server. Absent: the token in the Secret that brokerK8sSecret names.
    #[serde(rename = "brokerK8sApiServerToken", skip_serializing_if = "Option::is_none")]
    pub broker_token: Option<Secret>,
    /// CA certificate of the broker's API server, as base64-encoded PEM. Absent: the certificate in the Secret that
    /// brokerK8sSecret names, or else the system's CA certificates.
    #[serde(rename = "brokerK8sCA", skip_serializing_if = "Option::is_none")]
    pub broker_ca: Option<String>,
    /// Skips the verification of the broker's certificate. Default: false.
    #[serde(rename = "brokerK8sInsecure", skip_serializing_if = "Option::is_none")]
    pub broker_insecure: Option<bool>,
    /// Namespace of the clusterset on the broker. Absent: the namespace (key namespace) in the Secret that
    /// brokerK8sSecret names, or else submariner-k8s-broker.
    #[serde(rename = "brokerK8sRemoteNamespace", skip_serializing_if = "Option::is_none")]
    pub broker_namespace: Option<String>,
    /// Name of a Secret in the namespace of this resource with the broker's token (key token) and CA certificate (key
    /// ca.crt). It takes precedence over brokerK8sApiServerToken and brokerK8sCA. Absent: those fields are used.
    #[serde(rename = "brokerK8sSecret", skip_serializing_if = "Option::is_none")]
    pub broker_secret: Option<String>,
    /// Enables Submariner's service discovery. If false or absent, serviceDiscoveryLoadBalancing and
    /// optimizedLoadBalancingParams are ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_discovery_enabled: Option<bool>,
    /// Load balancing mode of services without a SelectionPolicy that sets one. round-robin: equal shares.
    /// weighted-round-robin: shares by configured weights. optimized: shares computed from latency, load, capacity and
    /// network price. Needs serviceDiscoveryEnabled: true. Absent: round-robin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_discovery_load_balancing: Option<LoadBalancing>,
    /// Goal of the optimized mode: performance, cost, or mixed, a compromise. Used for services without a
    /// SelectionPolicy that sets a goal, and ignored without serviceDiscoveryLoadBalancing: optimized. Absent: mixed.
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

/// Conditions of several operators. Fields that Landfall does not read are preserved.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct SubmarinerStatus {
    /// Conditions of the resource. The types that begin with landfall.dev/ are Landfall's: landfall.dev/LoadBalancing,
    /// whether the load balancing fields are used, and landfall.dev/Broker, whether facts are exchanged with the
    /// broker. The others are left unchanged.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::meta::or_default")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Load balancing mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LoadBalancing {
    RoundRobin,
    WeightedRoundRobin,
    Optimized,
}

/// Goal of the optimized mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizedParams {
    Cost,
    Performance,
    Mixed,
}
