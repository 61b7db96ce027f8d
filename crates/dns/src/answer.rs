//! Answers a question from a plan: the one place that decides which names exist and which records they have.
//!
//! A name exists if it has records or if a name below it has (RFC 8020). A query for an existing name without records
//! of the type gets NODATA; only a name with nothing at or below it gets NXDOMAIN. Clients and resolvers treat the two
//! differently: NXDOMAIN lets them skip all names below.

use std::net::IpAddr;

use domain::base::iana::Rtype;
use landfall_core::export::Endpoint;
use landfall_core::export::Family;
use landfall_core::name::ClusterId;
use landfall_core::plan::{Plan, ServicePlan};
use landfall_core::snapshot::ServiceKind;

use crate::question::Question;

/// Content of a reply, before it is written to the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'p> {
    /// REFUSED: zone transfers are not offered.
    Refused,
    /// SERVFAIL: there is no plan yet. NXDOMAIN would be wrong, and resolvers would cache it.
    NotSynced,
    /// NXDOMAIN: the name does not exist.
    NxDomain,
    /// NODATA: the name exists and has no records of the type.
    NoData,
    /// One endpoint, drawn by weight. The next query gets another draw.
    Drawn(IpAddr),
    /// Clusterset IPs, of which the reply lists those of the family.
    ClustersetIps(&'p [IpAddr], Family),
    /// Endpoints of a headless service, in the order of the reply.
    Endpoints(Vec<IpAddr>),
    /// The SOA record of the zone.
    StartOfAuthority,
    /// The NS record of the zone.
    NameServers,
    /// The addresses of this server that are of the family.
    OwnAddresses(Family),
    /// The TXT record with the version of the DNS specification.
    SchemaVersion,
    /// A minimal reply to ANY: one HINFO record instead of all records (RFC 8482).
    MinimalAny,
}

/// Maximum number of endpoints of a headless service in one answer. A service with more of them is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerLimit {
    pub ipv4: usize,
    pub ipv6: usize,
}

/// Answers `question` from `plan`, which is `None` before the first plan. `point` returns the point of the next draw of
/// a service.
///
/// An answer with addresses at the name of a service is counted there (see [`ServicePlan::answered`]). Nothing else
/// changes.
pub fn answer<'p>(
    plan: Option<&'p Plan>,
    question: Question<'_>,
    qtype: Rtype,
    limit: AnswerLimit,
    point: impl Fn(&ServicePlan) -> u64,
) -> Answer<'p> {
    if matches!(qtype, Rtype::AXFR | Rtype::IXFR) {
        return Answer::Refused;
    }
    let Some(plan) = plan else { return Answer::NotSynced };
    let answer = match question {
        Question::Apex => match qtype {
            Rtype::SOA => Answer::StartOfAuthority,
            Rtype::NS => Answer::NameServers,
            _ => Answer::NoData,
        },
        Question::Services | Question::Dns => Answer::NoData,
        Question::NameServer => family(qtype).map_or(Answer::NoData, Answer::OwnAddresses),
        Question::Version if qtype == Rtype::TXT => Answer::SchemaVersion,
        Question::Version => Answer::NoData,
        Question::Namespace(namespace) if plan.has_namespace(namespace) => Answer::NoData,
        Question::Service(name) => match plan.get(name) {
            Some(service) => at_service(service, qtype, limit, point),
            None => Answer::NxDomain,
        },
        Question::Below { service, prefix } => match plan.get(service) {
            Some(service) => below_service(service, prefix, qtype),
            None => Answer::NxDomain,
        },
        Question::Namespace(_) | Question::Other => Answer::NxDomain,
    };
    if qtype == Rtype::ANY && answer != Answer::NxDomain { Answer::MinimalAny } else { answer }
}

/// Returns the address family of a record type. Returns `None` for types that hold no address.
fn family(qtype: Rtype) -> Option<Family> {
    match qtype {
        Rtype::A => Some(Family::Ipv4),
        Rtype::AAAA => Some(Family::Ipv6),
        _ => None,
    }
}

/// Answers at the name of a service. The name exists as long as the service is imported; the name of a headless service
/// exists only while the service has a ready endpoint.
fn at_service(
    service: &ServicePlan,
    qtype: Rtype,
    limit: AnswerLimit,
    point: impl Fn(&ServicePlan) -> u64,
) -> Answer<'_> {
    let headless = service.service.kind == ServiceKind::Headless;
    if headless && clusters_with_ready(service).next().is_none() {
        return Answer::NxDomain;
    }
    let Some(family) = family(qtype) else { return Answer::NoData };
    if headless {
        let limit = if family == Family::Ipv4 { limit.ipv4 } else { limit.ipv6 };
        return endpoints(service.answer_in_weighted_order(family, point(service), limit));
    }
    match service.clusterset_ips() {
        // Most services have one family; a query for the other must not advance the sequence.
        [] if service.count(family) == 0 => Answer::NoData,
        [] => service.answer_with_one(family, point(service)).map_or(Answer::NoData, Answer::Drawn),
        ips if ips.iter().any(|&ip| Family::of(ip) == family) => {
            service.count_clusterset_answer();
            Answer::ClustersetIps(ips, family)
        }
        _ => Answer::NoData,
    }
}

/// Answers below the name of a service. A headless service has the name `<hostname>.<cluster>` for each ready endpoint,
/// even in an unreachable cluster: a client that names one endpoint wants no other. Other services have no names below
/// theirs.
fn below_service<'p>(service: &'p ServicePlan, prefix: &str, qtype: Rtype) -> Answer<'p> {
    if service.service.kind != ServiceKind::Headless {
        return Answer::NxDomain;
    }
    let named = prefix.split_once('.').map_or(&[][..], |(_, cluster)| ready_endpoints(service, cluster));
    let hostname = prefix.split('.').next().unwrap_or_default();
    let mut named = named.iter().filter(|endpoint| &*endpoint.hostname == hostname).peekable();
    if named.peek().is_some() {
        let Some(family) = family(qtype) else { return Answer::NoData };
        let addresses = named.map(|endpoint| endpoint.address);
        return endpoints(addresses.filter(|&address| Family::of(address) == family).collect());
    }
    // A cluster id can have two labels. The second label alone is then a name above the endpoints, too.
    let above_endpoints = |cluster: &ClusterId| {
        cluster.as_str().strip_suffix(prefix).is_some_and(|head| head.is_empty() || head.ends_with('.'))
    };
    if clusters_with_ready(service).any(above_endpoints) { Answer::NoData } else { Answer::NxDomain }
}

/// Returns the answer with `addresses`, or NODATA if there are none.
fn endpoints<'p>(addresses: Vec<IpAddr>) -> Answer<'p> {
    if addresses.is_empty() { Answer::NoData } else { Answer::Endpoints(addresses) }
}

/// Returns the ready endpoints in `cluster`; none if the cluster does not export the service.
fn ready_endpoints<'p>(service: &'p ServicePlan, cluster: &str) -> &'p [Endpoint] {
    service.service.exports.get(cluster).map_or(&[], |export| &export.ready)
}

/// Returns the exporting clusters with at least one ready endpoint.
fn clusters_with_ready(service: &ServicePlan) -> impl Iterator<Item = &ClusterId> {
    service.service.exports.iter().filter(|(_, export)| !export.ready.is_empty()).map(|(cluster, _)| cluster)
}
