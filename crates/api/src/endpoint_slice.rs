use serde::Deserialize;

use crate::meta::Meta;

/// EndpointSlice of `discovery.k8s.io/v1`. Ports are not read, because DNS answers hold addresses only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSlice {
    pub metadata: Meta,
    /// Type of the addresses: `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    #[serde(deserialize_with = "crate::meta::or_default")]
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint of a slice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoint {
    #[serde(deserialize_with = "crate::meta::or_default")]
    pub addresses: Vec<String>,
    #[serde(deserialize_with = "crate::meta::or_default")]
    pub conditions: EndpointConditions,
    pub hostname: Option<String>,
    /// Pod of the endpoint; empty in slices that Kubernetes does not write itself.
    #[serde(deserialize_with = "crate::meta::or_default")]
    pub target_ref: TargetRef,
}

/// Reference to the pod of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    #[serde(deserialize_with = "crate::meta::or_default")]
    pub name: String,
}

/// Conditions of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// Readiness. `None` means ready.
    pub ready: Option<bool>,
}
