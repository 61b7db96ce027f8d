//! Accepted objects, reduced to the fields that are used.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_api as api;
use landfall_core::export::Endpoint;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::policy::{InvalidPolicy, LocalPreference, Mode, Policy, Weight};
use landfall_core::pricing::{Location, PriceRule as PricingRule};
use landfall_core::rule::Rule;
use landfall_core::snapshot::{Link, ServiceKind};

use super::settings::{Optimized, Preset, PrometheusQueries};
use crate::facts::ClusterFacts;

/// An accepted object, reduced to the fields that are used.
#[derive(Debug, Clone, PartialEq)]
pub enum Accepted {
    Submariner(Submariner),
    Policy(Box<SelectionPolicy>),
    Import(Import),
    /// Import that a Lighthouse agent keeps for each exporting cluster. It offers no service, but `subctl` and users
    /// put the weights of that export there.
    ExportWeights(ExportWeights),
    Slice(Slice),
    Pods(ReadyPods),
    Gateway(Gateway),
    Selection(Selection),
    Node(Location),
    Pricing(Vec<PricingRule>),
    Facts(ClusterFacts),
    /// A valid object that is not used, such as a broker's copy or a slice of another kind.
    Ignored,
}

impl Accepted {
    /// Returns the service that the object is stored with. `None` for kinds that are stored by their own name.
    pub fn service(&self) -> Option<&ServiceKey> {
        match self {
            Self::Import(import) => Some(&import.key),
            Self::ExportWeights(weights) => Some(&weights.key),
            Self::Slice(slice) => Some(&slice.key),
            Self::Submariner(_)
            | Self::Policy(_)
            | Self::Pods(_)
            | Self::Gateway(_)
            | Self::Selection(_)
            | Self::Node(_)
            | Self::Pricing(_)
            | Self::Facts(_)
            | Self::Ignored => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Submariner {
    /// `None` if it is not filled in yet.
    pub cluster_id: Option<ClusterId>,
    pub service_discovery: bool,
    pub mode: Option<Mode>,
    pub params: Option<Preset>,
    pub generation: i64,
    pub status: api::SubmarinerStatus,
    pub resource_version: Box<str>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SelectionPolicy {
    /// Creation time in RFC 3339, so that text sorts by time.
    pub created: Box<str>,
    pub generation: i64,
    /// Services that the policy names. If empty, the policy is for its namespace, or for all services.
    pub targets: Vec<ServiceKey>,
    /// `None` if the default of the cluster applies.
    pub mode: Option<Mode>,
    /// The mode in it applies only if `mode` is set. `None` if no version of this policy was valid.
    pub policy: Option<Policy>,
    /// Settings of the optimizer, for services in optimized mode.
    pub optimized: Option<Optimized>,
    pub queries: PrometheusQueries,
    /// True if the policy is planned and published, but not served.
    pub shadow: bool,
    /// Why the present version of the policy is invalid.
    pub invalid: Option<InvalidPolicy>,
    pub status: api::SelectionPolicyStatus,
}

impl SelectionPolicy {
    /// Returns the fields that affect services.
    pub fn rule(&self) -> (&[ServiceKey], Option<Mode>, Option<&Policy>, Option<Optimized>, bool) {
        (&self.targets, self.mode, self.policy.as_ref(), self.optimized, self.shadow)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    pub key: ServiceKey,
    pub kind: ServiceKind,
    pub exporters: Vec<ClusterId>,
    pub local_preference: Option<LocalPreference>,
    /// Weights by importing cluster, then by exporting cluster.
    pub weights: BTreeMap<ClusterId, BTreeMap<ClusterId, Weight>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ExportWeights {
    pub key: ServiceKey,
    pub exporter: ClusterId,
    pub local_preference: Option<LocalPreference>,
    /// Weights by importing cluster.
    pub weights: BTreeMap<ClusterId, Weight>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    pub key: ServiceKey,
    pub cluster: ClusterId,
    /// True if the name ends in the cluster id: an old agent wrote the slice, and a newer agent replaced it without
    /// deleting it.
    pub legacy: bool,
    /// Sorted, without duplicates.
    pub ready: Arc<[Endpoint]>,
}

/// Ready pods of a service of the local cluster, from one slice that Kubernetes keeps for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyPods {
    pub key: ServiceKey,
    /// Names without duplicates. An endpoint that is not a pod has its address as the name.
    pub ready: Box<[Box<str>]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// False for a passive gateway, which reports no connections.
    pub active: bool,
    /// Time of the last heartbeat, in seconds since 1970.
    pub updated: Option<u64>,
    pub links: BTreeMap<ClusterId, Link>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    pub key: ServiceKey,
    pub rule: Arc<Rule>,
    /// See [`fingerprint`](crate::accept::fingerprint).
    pub fingerprint: u64,
    /// True if Landfall wrote the object, so that it may delete it.
    pub ours: bool,
}
