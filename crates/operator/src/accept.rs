//! From what somebody wrote to what we accept: each object is looked at here once, when it arrives, and what comes out is
//! right and small. What is wrong is named and left out; the object as it was before stays in force.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use landfall_api as api;
use landfall_core::name::{ClusterId, InvalidName, ServiceKey, is_label};
use landfall_core::policy::{InvalidPolicy, LocalPreference, MinShares, Mode, Policy, Row, Weight};
use landfall_core::resolve::TOTAL_WEIGHT;
use landfall_core::rule::{Candidate, NOMINAL_TOTAL, Reason, Rule};
use landfall_core::snapshot::{Endpoint, Kind as ServiceKind, Link};
use thiserror::Error;

use crate::object::{Object, ObjectRef};

const SERVICE_NAME: &str = "multicluster.kubernetes.io/service-name";
const SOURCE_CLUSTER: &str = "multicluster.kubernetes.io/source-cluster";
const SOURCE_NAMESPACE: &str = "lighthouse.submariner.io/sourceNamespace";
const PUBLISH_NOT_READY: &str = "lighthouse.submariner.io/publish-not-ready-addresses";
const PREFER_LOCAL: &str = "lighthouse.submariner.io/prefer-local-cluster";
const WEIGHT_PREFIX: &str = "lighthouse-lb-weight.submariner.io/";
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const GATEWAY_UPDATED: &str = "update-timestamp";

/// An object that we can use, reduced to what we use of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Accepted {
    Submariner(Submariner),
    Policy(SelectionPolicy),
    Import(Import),
    /// The import that a Lighthouse agent keeps per exporting cluster for itself. It offers nothing, but it is where
    /// `subctl` and users put the weights of that export.
    ExportWeights(ExportWeights),
    Slice(Slice),
    Gateway(Gateway),
    Selection(Selection),
    /// Somebody else's, and right to be there: a broker's copy, a slice of another kind.
    Ignored,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Submariner {
    /// `None`: not filled in yet.
    pub cluster_id: Option<ClusterId>,
    pub service_discovery: bool,
    pub mode: Option<Mode>,
    pub params: bool,
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
    /// How it contradicts itself now.
    pub invalid: Option<InvalidPolicy>,
    pub status: api::SelectionPolicyStatus,
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
    pub ready: Box<[Endpoint]>,
    /// Addresses that were left out, because no client could use them.
    pub unusable: usize,
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
    /// See [`fingerprint`](crate::publish::fingerprint).
    pub fingerprint: u64,
    /// Written by an operator of ours, so that it may be deleted by one.
    pub ours: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    #[error("{field}: {source}")]
    Name { field: String, source: InvalidName },
    #[error("metadata.annotations[{key}]: {value:?} is not {expected}")]
    Annotation { key: String, value: String, expected: &'static str },
    #[error("spec.type: {0:?} is neither ClusterSetIP nor Headless")]
    ImportType(String),
    #[error("spec.{field}: {value:?} is not {expected}")]
    Field { field: String, value: String, expected: &'static str },
    #[error("status: {0:?} is no mode that is known here; a newer operator may have written it")]
    Mode(String),
}

/// The object, and what of it had to be left out: a service must not vanish because somebody mistyped an annotation.
pub fn accept(object: Object) -> Result<(Accepted, Option<Refused>), Refused> {
    let whole = |accepted| (accepted, None);
    match object {
        Object::Submariner(submariner) => accept_submariner(*submariner).map(whole),
        Object::SelectionPolicy(policy) => accept_policy(*policy).map(whole),
        Object::ServiceImport(import) => accept_import(&import),
        Object::EndpointSlice(slice) => accept_slice(&slice).map(whole),
        Object::Gateway(gateway) => Ok(accept_gateway(&gateway)),
        Object::ServiceSelection(selection) => accept_selection(*selection).map(whole),
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
        params: spec.optimized_load_balancing_params.is_some(),
        generation: submariner.metadata.generation.unwrap_or(0),
        status: submariner.status.unwrap_or_default(),
        resource_version: submariner.metadata.resource_version.unwrap_or_default().into(),
    }))
}

fn accept_policy(object: api::SelectionPolicy) -> Result<Accepted, Refused> {
    let meta = object.metadata;
    let namespace = meta.namespace.unwrap_or_default();
    let name = meta.name.unwrap_or_default();
    let spec = object.spec;
    let target = |(i, target): (usize, &api::TargetRef)| {
        let field = |field: &str| format!("targetRefs[{i}].{field}");
        let expected =
            |field: String, value: &str, expected| Refused::Field { field, value: value.to_owned(), expected };
        if target.group != "multicluster.x-k8s.io" {
            return Err(expected(field("group"), &target.group, "multicluster.x-k8s.io"));
        }
        if target.kind != "ServiceImport" {
            return Err(expected(field("kind"), &target.kind, "ServiceImport"));
        }
        service(&format!("spec.{}", field("name")), &namespace, &target.name)
    };
    let targets = spec.target_refs.iter().enumerate().map(target).collect::<Result<_, _>>()?;
    if let Some(mode) = spec.load_balancing.map(mode).filter(|&mode| mode != Mode::WeightedRoundRobin)
        && !spec.weights.is_empty()
    {
        let expected = "weighted-round-robin, which weights need";
        return Err(Refused::Field { field: "loadBalancing".to_owned(), value: mode.to_string(), expected });
    }
    let policy = Policy {
        name: Some(format!("{namespace}/{name}").into()),
        mode: spec.load_balancing.map(mode).unwrap_or_default(),
        local_preference: spec.local_preference.map(|preference| match preference {
            api::LocalPreference::Prefer => LocalPreference::Prefer,
            api::LocalPreference::Balance => LocalPreference::Balance,
        }),
        ..Policy::default()
    };
    let min_shares = min_shares(&spec.min_shares)?;
    let rows = rows(&spec.weights)?;
    let with_rules = || -> Result<Policy, InvalidPolicy> {
        Ok(Policy { rows: rows?, min_shares: MinShares::new(min_shares)?, ..policy })
    };
    let (policy, invalid) = match with_rules() {
        Ok(policy) => (Some(policy), None),
        Err(invalid) => (None, Some(invalid)),
    };
    Ok(Accepted::Policy(SelectionPolicy {
        created: meta.creation_timestamp.map(|time| time.0.to_string()).unwrap_or_default().into(),
        generation: meta.generation.unwrap_or(0),
        targets,
        mode: spec.load_balancing.map(mode),
        policy,
        invalid,
        status: object.status.unwrap_or_default(),
    }))
}

/// The outer error: a name that is none. The inner one: a rule that contradicts itself.
fn rows(rows: &[api::WeightRow]) -> Result<Result<Vec<Row>, InvalidPolicy>, Refused> {
    let mut accepted = Ok(Vec::new());
    for (i, row) in rows.iter().enumerate() {
        let source = match row.source.as_str() {
            "*" => None,
            id => Some(cluster(&format!("spec.weights[{i}].source"), id)?),
        };
        let mut weights = BTreeMap::new();
        for (id, &weight) in &row.clusters {
            weights.insert(cluster(&format!("spec.weights[{i}].clusters"), id)?, Weight::from(weight));
        }
        accepted = accepted.and_then(|mut rows| {
            rows.push(Row::new(source, weights)?);
            Ok(rows)
        });
    }
    Ok(accepted)
}

/// `10%` or `12.5%` to parts of a thousand.
fn min_shares(shares: &BTreeMap<String, String>) -> Result<BTreeMap<ClusterId, u32>, Refused> {
    let permille = |share: &str| {
        let (whole, tenth) = share.strip_suffix('%').map(|number| number.split_once('.').unwrap_or((number, "0")))?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let valid = digits(whole) && whole.len() <= 3 && digits(tenth) && tenth.len() == 1;
        valid.then(|| Some(whole.parse::<u32>().ok()? * 10 + tenth.parse::<u32>().ok()?))?
    };
    let share = |(id, share): (&String, &String)| {
        let field = format!("minShares[{id}]");
        let expected = "a percentage with at most one decimal, such as 10% or 12.5%";
        let refused = || Refused::Field { field: field.clone(), value: share.clone(), expected };
        Ok((cluster(&format!("spec.{field}"), id)?, permille(share).ok_or_else(refused)?))
    };
    shares.iter().map(share).collect()
}

fn accept_import(import: &api::ServiceImport) -> Result<(Accepted, Option<Refused>), Refused> {
    let meta = &import.metadata;
    if meta.annotations.contains_key(SERVICE_NAME) {
        return Ok((Accepted::Ignored, None));
    }
    if meta.labels.contains_key(SERVICE_NAME) {
        return accept_export_weights(meta).map(|accepted| (accepted, None));
    }
    let key = service("metadata", &meta.namespace, &meta.name)?;
    let kind = match import.spec.r#type.as_str() {
        "ClusterSetIP" => {
            ServiceKind::ClusterSetIp { ips: import.spec.ips.iter().filter_map(|ip| ip.parse().ok()).collect() }
        }
        "Headless" => ServiceKind::Headless,
        other => return Err(Refused::ImportType(other.to_owned())),
    };
    let mut left_out = None;
    let mut kept = |refused: Refused| left_out = left_out.take().or(Some(refused));
    let mut exporters = Vec::new();
    for (i, status) in import.status.clusters.iter().enumerate() {
        match cluster(&format!("status.clusters[{i}]"), &status.cluster) {
            Ok(exporter) => exporters.push(exporter),
            Err(refused) => kept(refused),
        }
    }
    let mut weights = BTreeMap::new();
    for annotation in weight_annotations(meta) {
        match annotation.and_then(|(importer, key, value)| Ok((importer, weights_by_exporter(key, value)?))) {
            Ok((importer, row)) => drop(weights.insert(importer, row)),
            Err(refused) => kept(refused),
        }
    }
    let local_preference = local_preference(meta).unwrap_or_else(|refused| {
        kept(refused);
        None
    });
    Ok((Accepted::Import(Import { key, kind, exporters, local_preference, weights }), left_out))
}

fn accept_export_weights(meta: &api::Meta) -> Result<Accepted, Refused> {
    let label = |key: &str| meta.labels.get(key).map(String::as_str).unwrap_or_default();
    let mut weights = BTreeMap::new();
    for annotation in weight_annotations(meta) {
        let (importer, key, value) = annotation?;
        let expected = "a number";
        let refused = || Refused::Annotation { key: key.to_owned(), value: value.to_owned(), expected };
        weights.insert(importer, Weight::from(value.trim().parse::<f64>().map_err(|_| refused())?));
    }
    let local_preference = local_preference(meta)?;
    if weights.is_empty() && local_preference.is_none() {
        return Ok(Accepted::Ignored);
    }
    Ok(Accepted::ExportWeights(ExportWeights {
        key: service("metadata.labels", label(SOURCE_NAMESPACE), label(SERVICE_NAME))?,
        exporter: cluster(&format!("metadata.labels[{SOURCE_CLUSTER}]"), label(SOURCE_CLUSTER))?,
        local_preference,
        weights,
    }))
}

/// Importing cluster, key, value.
fn weight_annotations(meta: &api::Meta) -> impl Iterator<Item = Result<(ClusterId, &str, &str), Refused>> {
    meta.annotations.iter().filter_map(|(key, value)| {
        let importer = cluster(&format!("metadata.annotations[{key}]"), key.strip_prefix(WEIGHT_PREFIX)?);
        Some(importer.map(|importer| (importer, key.as_str(), value.as_str())))
    })
}

/// `c2:10,c3:5`, as `subctl export` was designed to take them. The aggregated import of today stands for all exporters,
/// so a lone number would not say whose weight it is.
fn weights_by_exporter(key: &str, value: &str) -> Result<BTreeMap<ClusterId, Weight>, Refused> {
    let expected = "a list of exporting clusters and their weights, such as c2:10,c3:5";
    let refused = || Refused::Annotation { key: key.to_owned(), value: value.to_owned(), expected };
    let weight = |entry: &str| {
        let (exporter, weight) = entry.split_once([':', '=']).ok_or_else(refused)?;
        let weight: f64 = weight.trim().parse().map_err(|_| refused())?;
        Ok((cluster(&format!("metadata.annotations[{key}]"), exporter.trim())?, Weight::from(weight)))
    };
    value.split(',').map(weight).collect()
}

fn local_preference(meta: &api::Meta) -> Result<Option<LocalPreference>, Refused> {
    match meta.annotations.get(PREFER_LOCAL).map(String::as_str) {
        None => Ok(None),
        Some("true") => Ok(Some(LocalPreference::Prefer)),
        Some("false") => Ok(Some(LocalPreference::Balance)),
        Some(value) => Err(Refused::Annotation {
            key: PREFER_LOCAL.to_owned(),
            value: value.to_owned(),
            expected: "\"true\" or \"false\"",
        }),
    }
}

fn accept_slice(slice: &api::EndpointSlice) -> Result<Accepted, Refused> {
    let meta = &slice.metadata;
    let (Some(name), Some(source)) = (meta.labels.get(SERVICE_NAME), meta.labels.get(SOURCE_CLUSTER)) else {
        return Ok(Accepted::Ignored);
    };
    if meta.labels.get(SOURCE_NAMESPACE).is_some_and(|namespace| *namespace != meta.namespace) {
        return Ok(Accepted::Ignored);
    }
    let key = service(&format!("metadata.labels[{SERVICE_NAME}]"), &meta.namespace, name)?;
    let cluster = cluster(&format!("metadata.labels[{SOURCE_CLUSTER}]"), source)?;
    let legacy = meta.name.strip_suffix(source.as_str()).is_some_and(|head| head.ends_with('-'));
    let publish_all = meta.annotations.get(PUBLISH_NOT_READY).is_some_and(|value| value == "true");

    let mut ready = Vec::new();
    let mut unusable = 0;
    for endpoint in slice.endpoints.iter().filter(|endpoint| publish_all || endpoint.conditions.ready.unwrap_or(true)) {
        let hostname = endpoint.hostname.as_deref().filter(|name| is_label(&name.to_ascii_lowercase()));
        for address in &endpoint.addresses {
            match usable(&slice.address_type, address) {
                Some(address) => ready.push(Endpoint::new(address, hostname)),
                None => unusable += 1,
            }
        }
    }
    Ok(Accepted::Slice(Slice { key, cluster, legacy, ready: ready.into(), unusable }))
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

fn accept_gateway(gateway: &api::Gateway) -> (Accepted, Option<Refused>) {
    let mut left_out = None;
    let mut links: BTreeMap<ClusterId, Link> = BTreeMap::new();
    for (i, connection) in gateway.status.connections.iter().enumerate() {
        let field = format!("status.connections[{i}].endpoint.cluster_id");
        let peer = match cluster(&field, &connection.endpoint.cluster_id) {
            Ok(peer) => peer,
            Err(refused) => {
                left_out = left_out.or(Some(refused));
                continue;
            }
        };
        let rtt = connection.latency_rtt.as_ref().and_then(|rtt| go_duration(&rtt.last));
        let link = Link { reachable: connection.status == "connected", rtt: rtt.filter(|rtt| !rtt.is_zero()) };
        let best = links.entry(peer).or_insert(link);
        if link.reachable && !best.reachable {
            *best = link;
        }
    }
    let gateway = Gateway {
        active: gateway.status.ha_status == "active",
        updated: gateway.metadata.annotations.get(GATEWAY_UPDATED).and_then(|time| time.parse().ok()),
        links,
    };
    (Accepted::Gateway(gateway), left_out)
}

/// `1h2m0.5s`, `23.41ms`, `850µs`: a sequence of decimal numbers with units. `None` for anything else, or a negative one.
fn go_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len()));
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

fn accept_selection(selection: api::ServiceSelection) -> Result<Accepted, Refused> {
    let namespace = selection.metadata.namespace.as_deref().unwrap_or_default();
    let key = service("metadata", namespace, selection.metadata.name.as_deref().unwrap_or_default())?;
    let labels = selection.metadata.labels.unwrap_or_default();
    let ours = labels.get(MANAGED_BY).is_some_and(|manager| manager == crate::apply::FIELD_MANAGER);
    let status = selection.status.unwrap_or_default();
    let fingerprint = crate::publish::fingerprint(&status);
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
        })
    };
    let mut candidates: Vec<_> = status.clusters.iter().enumerate().map(candidate).collect::<Result<_, Refused>>()?;
    candidates.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    candidates.dedup_by(|a, b| a.cluster == b.cluster);
    let rule = Rule { mode, fallback: None, policy: status.policy.as_deref().map(Arc::from), candidates };
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
        Object::ServiceImport(object) => ObjectRef::of(&object.metadata),
        Object::EndpointSlice(object) => ObjectRef::of(&object.metadata),
        Object::Gateway(object) => ObjectRef::of(&object.metadata),
    }
}
