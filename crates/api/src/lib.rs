//! Kubernetes objects as they travel: our custom resources, and the part of other objects that we read.
//!
//! ```text
//! number, time, meta, labels ──▶ one module per kind ──▶ crds (the definitions of ours)
//! ```
//!
//! Nothing here decides anything. A field is what a user or a program *wrote*. What we *accept* is a value of
//! `landfall-core`; `landfall-controller`'s `accept` is the step between the two.
//!
//! Foreign objects are read leniently: a field that may be absent is an `Option` or has a default, and fields that we do
//! not read do not exist here. A store of them is small, and a newer API version does not break us.

#![expect(clippy::duplicated_attributes, reason = "the print columns of the derive macro repeat their keys")]

mod number;

pub mod labels;
mod meta;
pub mod time;

mod endpoint_slice;
mod gateway;
mod node;
mod service_import;

mod cluster_facts;
mod network_pricing;
mod submariner;
mod selection_policy;
mod service_selection;

mod crds;

pub use cluster_facts::{
    ClusterFacts, ClusterFactsSpec, ClusterLink, ClusterLocation, Drain, EgressPrice, ServiceFacts,
};
pub use crds::crds;
pub use endpoint_slice::{Endpoint, EndpointConditions, EndpointSlice};
pub use gateway::{Connection, Gateway, GatewayStatus, LatencyRtt, PeerEndpoint};
pub use meta::Meta;
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
