//! From what somebody wrote to what we accept: each object is looked at here once, when it arrives, and what comes out is
//! right and small. What is wrong is named and left out; the object as it was before stays in force.

mod facts;
mod gateway;
mod import;
mod node;
mod number;
mod policy;
mod pricing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use landfall_api as api;
use landfall_api::labels::{
    FIELD_MANAGER, LOCAL_SERVICE_NAME, MANAGED_BY, PUBLISH_NOT_READY, SERVICE_NAME, SOURCE_CLUSTER, SOURCE_NAMESPACE,
};
use landfall_core::name::{ClusterId, InvalidName, ServiceKey, is_label};
use landfall_core::policy::{InvalidPolicy, LocalPreference, Mode, Policy, Weight};
use landfall_core::pricing::{Location, Rule as PricingRule};
use landfall_core::resolve::TOTAL_WEIGHT;
use landfall_core::rule::{Candidate, NOMINAL_TOTAL, Reason, Rule};
use landfall_core::snapshot::{Endpoint, Kind as ServiceKind, Link};
use thiserror::Error;

use self::facts::accept_facts;
pub use self::facts::{Drain, Facts, MOST_SERVICES, PeerLink, VERSION};
use self::gateway::accept_gateway;
use self::import::accept_import;
use self::node::accept_node;
pub use self::number::{Instead, Range};
use self::policy::accept_policy;
pub use self::policy::{Optimized, Preset, Queries};
use self::pricing::accept_pricing;
use crate::object::{Object, ObjectRef};

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

#[derive(Debug, Clone, PartialEq, Error)]
pub enum Refused {
    #[error("{field}: {source}")]
    Name { field: String, source: InvalidName },
    #[error("metadata.annotations[{key}]: {value:?} is not {expected}")]
    Annotation { key: String, value: String, expected: &'static str },
    #[error(
        "endpoints: {value:?} is no address of type {address_type:?} that clients elsewhere can reach; it is left out"
    )]
    Address { address_type: String, value: String },
    #[error("spec.type: {0:?} is neither ClusterSetIP nor Headless")]
    ImportType(String),
    #[error("spec.{field}: {value:?} is not {expected}")]
    Field { field: String, value: String, expected: &'static str },
    #[error("spec.{first} and spec.{second} contradict each other; say one of them")]
    Both { first: &'static str, second: &'static str },
    #[error("{field}: {number} is not {range}{instead}")]
    Number { field: String, number: f64, range: Range, instead: Instead },
    #[error(
        "spec.version: {version} is newer than the {known} that is known here; its facts are left out until this cluster's \
         Landfall is upgraded"
    )]
    Version { version: i32, known: i32 },
    #[error("spec.{field}: more than {most}; those beyond are left out")]
    TooMany { field: &'static str, most: usize },
    #[error("status: {0:?} is no mode that is known here; a newer operator may have written it")]
    Mode(String),
}

impl Refused {
    fn unusable(address_type: &str, address: &str) -> Self {
        Self::Address { address_type: address_type.to_owned(), value: address.to_owned() }
    }
}

/// The object, and what of it had to be left out: a service must not vanish because somebody mistyped an annotation.
pub fn accept(object: Object) -> Result<(Accepted, Option<Refused>), Refused> {
    let whole = |accepted| (accepted, None);
    match object {
        Object::Submariner(submariner) => accept_submariner(*submariner).map(whole),
        Object::SelectionPolicy(policy) => accept_policy(*policy).map(whole),
        Object::ServiceImport(import) => accept_import(&import),
        Object::EndpointSlice(slice) => accept_slice(&slice),
        Object::Gateway(gateway) => Ok(accept_gateway(&gateway)),
        Object::ServiceSelection(selection) => accept_selection(*selection).map(whole),
        Object::Node(node) => Ok(whole(Accepted::Node(accept_node(&node)))),
        Object::NetworkPricing(pricing) => accept_pricing(&pricing).map(Accepted::Pricing).map(whole),
        Object::ClusterFacts(facts) => accept_facts(&facts).map(|(facts, left_out)| (Accepted::Facts(facts), left_out)),
    }
}

fn cluster(field: &str, id: &str) -> Result<ClusterId, Refused> {
    ClusterId::new(id).map_err(|source| Refused::Name { field: field.to_owned(), source })
}

fn service(field: &str, namespace: &str, name: &str) -> Result<ServiceKey, Refused> {
    ServiceKey::new(namespace, name).map_err(|source| Refused::Name { field: field.to_owned(), source })
}

fn mode(load_balancing: api::LoadBalancing) -> Mode {
    match load_balancing {
        api::LoadBalancing::RoundRobin => Mode::RoundRobin,
        api::LoadBalancing::WeightedRoundRobin => Mode::WeightedRoundRobin,
        api::LoadBalancing::Optimized => Mode::Optimized,
    }
}

fn accept_submariner(submariner: api::Submariner) -> Result<Accepted, Refused> {
    let spec = submariner.spec;
    let cluster_id = Some(spec.cluster_id).filter(|id| !id.is_empty());
    Ok(Accepted::Submariner(Submariner {
        cluster_id: cluster_id.map(|id| cluster("spec.clusterID", &id)).transpose()?,
        service_discovery: spec.service_discovery_enabled.unwrap_or(false),
        mode: spec.service_discovery_load_balancing.map(mode),
        params: spec.optimized_load_balancing_params.map(Preset::from),
        generation: submariner.metadata.generation.unwrap_or(0),
        status: submariner.status.unwrap_or_default(),
        resource_version: submariner.metadata.resource_version.unwrap_or_default().into(),
    }))
}

fn accept_slice(slice: &api::EndpointSlice) -> Result<(Accepted, Option<Refused>), Refused> {
    let meta = &slice.metadata;
    let (name, source) = match (meta.labels.get(SERVICE_NAME), meta.labels.get(SOURCE_CLUSTER)) {
        (Some(name), Some(source)) => (name, source),
        (None, None) => return Ok((accept_pods(slice), None)),
        (Some(_), None) | (None, Some(_)) => return Ok((Accepted::Ignored, None)),
    };
    if meta.labels.get(SOURCE_NAMESPACE).is_some_and(|namespace| *namespace != meta.namespace) {
        return Ok((Accepted::Ignored, None));
    }
    let key = service(&format!("metadata.labels[{SERVICE_NAME}]"), &meta.namespace, name)?;
    let cluster = cluster(&format!("metadata.labels[{SOURCE_CLUSTER}]"), source)?;
    let legacy = meta.name.strip_suffix(source.as_str()).is_some_and(|head| head.ends_with('-'));
    let publish_all = meta.annotations.get(PUBLISH_NOT_READY).is_some_and(|value| value == "true");

    let mut ready = BTreeSet::new();
    let mut left_out = None;
    for endpoint in slice.endpoints.iter().filter(|endpoint| publish_all || endpoint.conditions.ready.unwrap_or(true)) {
        let hostname = endpoint.hostname.as_deref().filter(|name| is_label(&name.to_ascii_lowercase()));
        for address in &endpoint.addresses {
            match usable(&slice.address_type, address) {
                Some(address) => drop(ready.insert(Endpoint::new(address, hostname))),
                None => left_out = left_out.or_else(|| Some(Refused::unusable(&slice.address_type, address))),
            }
        }
    }
    Ok((Accepted::Slice(Slice { key, cluster, legacy, ready: ready.into_iter().collect() }), left_out))
}

/// What is not a service's is not ours either, and no reason to complain.
fn accept_pods(slice: &api::EndpointSlice) -> Accepted {
    let meta = &slice.metadata;
    let service = meta.labels.get(LOCAL_SERVICE_NAME).and_then(|name| ServiceKey::new(&meta.namespace, name).ok());
    let Some(key) = service else { return Accepted::Ignored };
    let name = |endpoint: &api::Endpoint| -> Option<Box<str>> {
        let pod = Some(endpoint.target_ref.name.as_str()).filter(|name| !name.is_empty());
        pod.or_else(|| endpoint.addresses.first().map(String::as_str)).map(Into::into)
    };
    let ready = slice.endpoints.iter().filter(|endpoint| endpoint.conditions.ready.unwrap_or(true));
    let ready: BTreeSet<Box<str>> = ready.filter_map(name).collect();
    Accepted::Pods(Pods { key, ready: ready.into_iter().collect() })
}

/// An address of the family that the slice says, which a client in another place can connect to.
fn usable(address_type: &str, address: &str) -> Option<IpAddr> {
    let address: IpAddr = address.parse().ok()?;
    let sane = match address {
        IpAddr::V4(ip) => address_type == "IPv4" && !ip.is_link_local() && !ip.is_broadcast(),
        IpAddr::V6(ip) => address_type == "IPv6" && !ip.is_unicast_link_local() && ip.to_ipv4_mapped().is_none(),
    };
    (sane && !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()).then_some(address)
}

fn accept_selection(selection: api::ServiceSelection) -> Result<Accepted, Refused> {
    let namespace = selection.metadata.namespace.as_deref().unwrap_or_default();
    let key = service("metadata", namespace, selection.metadata.name.as_deref().unwrap_or_default())?;
    let labels = selection.metadata.labels.unwrap_or_default();
    let ours = labels.get(MANAGED_BY).is_some_and(|manager| manager == FIELD_MANAGER);
    let status = selection.status.unwrap_or_default();
    let fingerprint = crate::publish::selection::fingerprint(&status);
    let mode = Mode::parse(&status.mode).ok_or_else(|| Refused::Mode(status.mode.clone()))?;
    let candidate = |(i, selected): (usize, &api::SelectedCluster)| {
        Ok(Candidate {
            cluster: cluster(&format!("status.clusters[{i}].cluster"), &selected.cluster)?,
            priority: selected.priority,
            nominal: selected.nominal_weight.min(NOMINAL_TOTAL),
            floor: selected.min_weight.min(TOTAL_WEIGHT),
            basis: Reason::ALL
                .into_iter()
                .find(|reason| reason.as_str() == selected.reason)
                .unwrap_or(Reason::Weighted),
            terms: None,
        })
    };
    let mut candidates: Vec<_> = status.clusters.iter().enumerate().map(candidate).collect::<Result<_, Refused>>()?;
    candidates.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    candidates.dedup_by(|a, b| a.cluster == b.cluster);
    let policy = status.policy.as_deref().map(Arc::from);
    let rule = Rule { mode, fallback: None, method: None, expected: None, policy, candidates };
    Ok(Accepted::Selection(Selection { key, rule: Arc::new(rule), fingerprint, ours }))
}

/// Which object it is.
pub fn reference(object: &Object) -> ObjectRef {
    let of = |meta: &kube::api::ObjectMeta| {
        ObjectRef::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    };
    match object {
        Object::Submariner(object) => of(&object.metadata),
        Object::SelectionPolicy(object) => of(&object.metadata),
        Object::ServiceSelection(object) => of(&object.metadata),
        Object::NetworkPricing(object) => of(&object.metadata),
        Object::ClusterFacts(object) => of(&object.metadata),
        Object::ServiceImport(object) => ObjectRef::of(&object.metadata),
        Object::EndpointSlice(object) => ObjectRef::of(&object.metadata),
        Object::Gateway(object) => ObjectRef::of(&object.metadata),
        Object::Node(object) => ObjectRef::of(&object.metadata),
    }
}
