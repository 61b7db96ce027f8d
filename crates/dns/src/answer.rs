//! What to answer: the one place that knows which names exist, and what each of them has.
//!
//! A name exists when it has records or when one below it does (RFC 8020). Asking an existing name for what it does not
//! have is no data; only a name with nothing at or below it is no name. Clients and resolvers act on the difference.

use std::net::IpAddr;

use domain::base::iana::Rtype;
use landfall_core::export::Endpoint;
use landfall_core::export::Family;
use landfall_core::name::ClusterId;
use landfall_core::plan::{Plan, ServicePlan};
use landfall_core::snapshot::ServiceKind;

use crate::question::Question;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'p> {
    /// Not ours to answer.
    Refused,
    /// There is no plan yet. Saying that a name does not exist would be a lie that gets cached.
    NotSynced,
    /// NXDOMAIN.
    NoName,
    /// The name exists and has nothing of the type.
    NoData,
    /// Drawn by weight: the next question gets another one.
    Drawn(IpAddr),
    /// Those of this family.
    ClustersetIps(&'p [IpAddr], Family),
    /// In this order.
    Endpoints(Vec<IpAddr>),
    StartOfAuthority,
    NameServers,
    /// The addresses of this server.
    OwnAddresses(Family),
    SchemaVersion,
    /// To ANY: one record that says that there is no list (RFC 8482).
    NotAList,
}

/// How many endpoints of a headless service an answer has room for. With more, the answer is a part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub ipv4: usize,
    pub ipv6: usize,
}

/// `plan`: `None` before the first one. `point`: where the next draw of a service falls. An answer with addresses at the
/// name of a service is counted there (see [`ServicePlan::answered`]); apart from that, asking changes nothing.
pub fn answer<'p>(
    plan: Option<&'p Plan>,
    question: Question<'_>,
    qtype: Rtype,
    room: Room,
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
            Some(service) => at_service(service, qtype, room, point),
            None => Answer::NoName,
        },
        Question::Below { service, prefix } => match plan.get(service) {
            Some(service) => below_service(service, prefix, qtype),
            None => Answer::NoName,
        },
        Question::Namespace(_) | Question::Other => Answer::NoName,
    };
    if qtype == Rtype::ANY && answer != Answer::NoName { Answer::NotAList } else { answer }
}

fn family(qtype: Rtype) -> Option<Family> {
    match qtype {
        Rtype::A => Some(Family::Ipv4),
        Rtype::AAAA => Some(Family::Ipv6),
        _ => None,
    }
}

/// The name of a service exists as long as it is imported, but that of a headless one only while it has an endpoint.
fn at_service(service: &ServicePlan, qtype: Rtype, room: Room, point: impl Fn(&ServicePlan) -> u64) -> Answer<'_> {
    let headless = service.service.kind == ServiceKind::Headless;
    if headless && with_ready(service).next().is_none() {
        return Answer::NoName;
    }
    let Some(family) = family(qtype) else { return Answer::NoData };
    if headless {
        let room = if family == Family::Ipv4 { room.ipv4 } else { room.ipv6 };
        return endpoints(service.answer_in_weighted_order(family, point(service), room));
    }
    match service.clusterset_ips() {
        // Most services have one family. To ask for the other one must not use up a draw.
        [] if service.count(family) == 0 => Answer::NoData,
        [] => service.answer_with_one(family, point(service)).map_or(Answer::NoData, Answer::Drawn),
        ips if ips.iter().any(|&ip| Family::of(ip) == family) => {
            service.count_clusterset_answer();
            Answer::ClustersetIps(ips, family)
        }
        _ => Answer::NoData,
    }
}

/// Below a headless service there is `<hostname>.<cluster>` for each ready endpoint, also where the cluster cannot be
/// reached: who asks for one endpoint by its name wants that one. Below other services there is nothing.
fn below_service<'p>(service: &'p ServicePlan, prefix: &str, qtype: Rtype) -> Answer<'p> {
    if service.service.kind != ServiceKind::Headless {
        return Answer::NoName;
    }
    let named = prefix.split_once('.').map_or(&[][..], |(_, cluster)| ready(service, cluster));
    let hostname = prefix.split('.').next().unwrap_or_default();
    let mut named = named.iter().filter(|endpoint| &*endpoint.hostname == hostname).peekable();
    if named.peek().is_some() {
        let Some(family) = family(qtype) else { return Answer::NoData };
        let addresses = named.map(|endpoint| endpoint.address);
        return endpoints(addresses.filter(|&address| Family::of(address) == family).collect());
    }
    // A cluster id can have two labels, and the names of its endpoints are below the second one as well.
    let above_endpoints = |cluster: &ClusterId| {
        cluster.as_str().strip_suffix(prefix).is_some_and(|head| head.is_empty() || head.ends_with('.'))
    };
    if with_ready(service).any(above_endpoints) { Answer::NoData } else { Answer::NoName }
}

fn endpoints<'p>(addresses: Vec<IpAddr>) -> Answer<'p> {
    if addresses.is_empty() { Answer::NoData } else { Answer::Endpoints(addresses) }
}

fn ready<'p>(service: &'p ServicePlan, cluster: &str) -> &'p [Endpoint] {
    service.service.exports.get(cluster).map_or(&[], |export| &export.ready)
}

fn with_ready(service: &ServicePlan) -> impl Iterator<Item = &ClusterId> {
    service.service.exports.iter().filter(|(_, export)| !export.ready.is_empty()).map(|(cluster, _)| cluster)
}
