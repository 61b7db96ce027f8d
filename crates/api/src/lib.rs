//! The objects as they travel: our custom resources, and of everybody else's objects the part that we read.
//!
//! Nothing here decides anything. A field is what somebody *wrote*; what we *accepted* is a value of `landfall-core`, and
//! the step between the two is the operator's `observe`.
//!
//! Foreign objects are read leniently: a field that may be absent is an `Option` or has a default, and what we do not
//! read is not there. So a store of them is small, and a newer API version does not break us.

#![expect(clippy::duplicated_attributes, reason = "the print columns of the derive macro repeat their keys")]

mod cluster_facts;
mod crds;
mod endpoint_slice;
mod gateway;
mod network_pricing;
mod node;
mod number;
mod selection_policy;
mod service_import;
mod service_selection;
mod submariner;

pub use cluster_facts::{
    ClusterFacts, ClusterFactsSpec, ClusterLink, ClusterLocation, Drain, EgressPrice, ServiceFacts,
};
pub use crds::crds;
pub use endpoint_slice::{Endpoint, EndpointConditions, EndpointSlice};
pub use gateway::{Connection, Gateway, GatewayStatus, LatencyRtt, PeerEndpoint};
pub use network_pricing::{Continent, NetworkPricing, NetworkPricingSpec, PricedPlace, PricingRelation, PricingRule};
pub use node::{Node, NodeSpec};
pub use selection_policy::{
    Enforcement, LocalPreference, OptimizedSettings, SelectionPolicy, SelectionPolicySpec, SelectionPolicyStatus,
    TargetRef, WeightRow,
};
pub use service_import::{ClusterStatus, ServiceImport, ServiceImportSpec, ServiceImportStatus};
pub use service_selection::{
    Saved, Savings, SelectedCluster, ServiceSelection, ServiceSelectionStatus, ShadowSelection,
};
pub use submariner::{LoadBalancing, OptimizedParams, Secret, Submariner, SubmarinerSpec, SubmarinerStatus};

/// The metadata of an object that we read: no managed fields, no owner references.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Meta {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub generation: i64,
    pub resource_version: String,
    pub creation_timestamp: Option<String>,
    pub deletion_timestamp: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub labels: std::collections::BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// `null` where Go leaves out or writes an empty list or map.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de> + Default,
{
    <Option<T> as serde::Deserialize>::deserialize(deserializer).map(Option::unwrap_or_default)
}
