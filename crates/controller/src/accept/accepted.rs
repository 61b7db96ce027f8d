//! Objects that we can use, reduced to what we use of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_api as api;
use landfall_core::export::Endpoint;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::policy::{InvalidPolicy, LocalPreference, Mode, Policy, Weight};
use landfall_core::pricing::{Location, PriceRule as PricingRule};
use landfall_core::rule::Rule;
use landfall_core::snapshot::{Link, ServiceKind};

use super::settings::{Optimized, Preset, Queries};
use crate::facts::Facts;

/// An object that we can use, reduced to what we use of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Accepted {
    Submariner(Submariner),
    Policy(Box<SelectionPolicy>),
    Import(Import),
    /// The import that a Lighthouse agent keeps per exporting cluster for itself. It offers nothing, but it is where
    /// `subctl` and users put the weights of that export.
    ExportWeights(ExportWeights),
    Slice(Slice),
    Pods(Pods),
    Gateway(Gateway),
    Selection(Selection),
    Node(Location),
    Pricing(Vec<PricingRule>),
    Facts(Facts),
    /// Somebody else's, and right to be there: a broker's copy, a slice of another kind.
    Ignored,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Submariner {
    /// `None`: not filled in yet.
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
    /// RFC 3339, so that their order is that of time.
    pub created: Box<str>,
    pub generation: i64,
    /// Empty: the whole namespace, or everything.
    pub targets: Vec<ServiceKey>,
    /// `None`: as the cluster's default says.
    pub mode: Option<Mode>,
    /// Its mode counts only where `mode` is set. `None`: it contradicts itself, and always did.
    pub policy: Option<Policy>,
    /// How the optimiser is set, where that mode is in force.
    pub optimized: Option<Optimized>,
    pub queries: Queries,
    /// It is computed and published, and not served.
    pub shadow: bool,
    /// How it contradicts itself now.
    pub invalid: Option<InvalidPolicy>,
    pub status: api::SelectionPolicyStatus,
}

impl SelectionPolicy {
    /// All that services get from it.
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
    /// Importing cluster: exporting cluster: weight.
    pub weights: BTreeMap<ClusterId, BTreeMap<ClusterId, Weight>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ExportWeights {
    pub key: ServiceKey,
    pub exporter: ClusterId,
    pub local_preference: Option<LocalPreference>,
    /// Importing cluster: weight.
    pub weights: BTreeMap<ClusterId, Weight>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    pub key: ServiceKey,
    pub cluster: ClusterId,
    /// Its name ends in the cluster's: an old agent's, which a newer one replaced without deleting it.
    pub legacy: bool,
    /// Sorted, and each once.
    pub ready: Arc<[Endpoint]>,
}

/// Of a service of this cluster, by a slice that Kubernetes keeps of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pods {
    pub key: ServiceKey,
    /// By name, each once; by address what is no pod.
    pub ready: Box<[Box<str>]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// A passive gateway knows nothing of the connections.
    pub active: bool,
    /// Seconds since 1970 of the last heartbeat.
    pub updated: Option<u64>,
    pub links: BTreeMap<ClusterId, Link>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    pub key: ServiceKey,
    pub rule: Arc<Rule>,
    /// See [`fingerprint`](crate::publish::selection::fingerprint).
    pub fingerprint: u64,
    /// Written by an operator of ours, so that it may be deleted by one.
    pub ours: bool,
}
