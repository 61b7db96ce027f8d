use serde::Deserialize;

use crate::Meta;

/// `discovery.k8s.io/v1`. Ports are not read: answers are addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSlice {
    pub metadata: Meta,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    #[serde(deserialize_with = "crate::or_default")]
    pub endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoint {
    #[serde(deserialize_with = "crate::or_default")]
    pub addresses: Vec<String>,
    #[serde(deserialize_with = "crate::or_default")]
    pub conditions: EndpointConditions,
    pub hostname: Option<String>,
    /// The pod, for those that Kubernetes writes.
    #[serde(deserialize_with = "crate::or_default")]
    pub target_ref: TargetRef,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    #[serde(deserialize_with = "crate::or_default")]
    pub name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// Absent: ready.
    pub ready: Option<bool>,
}
