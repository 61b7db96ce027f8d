//! Facts of a cluster. They come from outside and are not trusted: an invalid value is left out and reported, and the
//! rest is accepted.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use landfall_api as api;
use landfall_api::time::unix_seconds;
use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
use landfall_core::optimize::facts::MAX_RPS;
use landfall_core::optimize::report::Report;
use landfall_core::pricing::{Continent, Location};

use super::number::Range;
use super::pricing::PRICE;
use super::refused::{Refused, cluster, service};
use crate::facts::{ClusterFacts, Drain, MAX_SERVICES, PeerLink, VERSION};

/// Limit of clusters in one object. An API server refuses more.
const MAX_CLUSTERS: usize = 256;
const MAX_ADDRESSES: usize = 16;
const MAX_DRAIN_SECONDS: u32 = 86_400;

const RPS: Range = Range::new(0.0, MAX_RPS);
const RESIDUAL: Range = Range::new(-MAX_RPS, MAX_RPS);
/// Limit of one minute. A cluster with a longer round-trip time counts as a minute away.
pub(super) const MS: Range = Range::new(0.0, 60_000.0);
const PART: Range = Range::new(0.0, 1.0);
/// Fraction of the planned load.
const DEVIATION: Range = Range::new(0.0, 10.0);

pub(super) fn accept_facts(facts: &api::ClusterFacts) -> Result<(ClusterFacts, Option<Refused>), Refused> {
    let spec = &facts.spec;
    if let Some(version) = spec.version.filter(|version| *version > VERSION) {
        return Err(Refused::Version { version, known: VERSION });
    }
    let mut left_out = LeftOut::default();
    let hash = left_out.or_none(parameter_hash("parameterHash", spec.parameter_hash.as_deref())).flatten();
    let observed = spec.observed_time.as_ref().and_then(unix_seconds);
    let facts = ClusterFacts {
        cluster: cluster("spec.cluster", &spec.cluster)?,
        generation: spec.generation.unwrap_or(0),
        observed,
        parameter_hash: hash,
        location: spec.location.as_ref().map(|reported| location(reported, &mut left_out)).unwrap_or_default(),
        links: links(&spec.links, &mut left_out),
        egress_usd_per_gb: egress(&spec.egress, &mut left_out),
        services: services(&spec.services, (observed.unwrap_or(0), hash), &mut left_out).into(),
        answers_rps: answers(&spec.services, &mut left_out).into(),
        probe_addresses: probe_addresses(&spec.probe_addresses, &mut left_out),
        drain: spec.drain.as_ref().map(|drain| Drain {
            since: unix_seconds(&drain.since).unwrap_or(0),
            over_seconds: drain.over_seconds.min(MAX_DRAIN_SECONDS),
        }),
    };
    Ok((facts, left_out.first))
}

/// Remembers the first value that had to be left out.
#[derive(Debug, Default)]
struct LeftOut {
    first: Option<Refused>,
}

impl LeftOut {
    fn note(&mut self, refused: Option<Refused>) {
        self.first = self.first.take().or(refused);
    }

    fn or_none<T>(&mut self, accepted: Result<T, Refused>) -> Option<T> {
        accepted.map_err(|refused| self.note(Some(refused))).ok()
    }

    fn clip(&mut self, range: Range, field: &str, number: Option<f64>) -> Option<f64> {
        let (number, refused) = range.clip(field, number);
        self.note(refused.map(Refused::Number));
        number
    }

    /// Returns at most `max` items with their indexes, and notes if there are more.
    fn bounded<'a, T>(
        &mut self,
        field: &'static str,
        all: &'a [T],
        max: usize,
    ) -> impl Iterator<Item = (usize, &'a T)> + use<'a, T> {
        self.note((all.len() > max).then_some(Refused::TooMany { field, max }));
        all.iter().take(max).enumerate()
    }
}

fn parameter_hash(field: &str, hash: Option<&str>) -> Result<Option<u64>, Refused> {
    let parsed = |hash: &str| {
        u64::from_str_radix(hash, 16).map_err(|_| Refused::Field {
            field: field.to_owned(),
            value: hash.to_owned(),
            expected: "a number of 1 to 16 hexadecimal digits; it is left out",
        })
    };
    hash.map(parsed).transpose()
}

/// Returns the answers by service. Invalid service names are skipped here, because [`services`] reports them.
fn answers(reported: &[api::ServiceFacts], left_out: &mut LeftOut) -> BTreeMap<ServiceKey, ByCluster<f64>> {
    let mut answers = BTreeMap::new();
    for (i, reported) in
        reported.iter().take(MAX_SERVICES).enumerate().filter(|(_, reported)| !reported.answers_rps.is_empty())
    {
        let Ok(key) = ServiceKey::new(&reported.namespace, &reported.name) else { continue };
        let field = format!("spec.services[{i}].answersRps");
        let mut row = ByCluster::new();
        for (id, &rps) in reported.answers_rps.iter().take(MAX_CLUSTERS) {
            let Some(id) = left_out.or_none(cluster(&field, id)) else { continue };
            row.extend(left_out.clip(RPS, &field, Some(rps)).map(|rps| (id, rps)));
        }
        answers.insert(key, row);
    }
    answers
}

/// Returns the probe addresses. A peer must not make this cluster connect to its own hosts, or to a link-local address
/// that serves credentials.
fn probe_addresses(reported: &[String], left_out: &mut LeftOut) -> Vec<SocketAddr> {
    let parsed = |(i, text): (usize, &String)| {
        let address =
            text.parse().ok().filter(|address: &SocketAddr| address.port() != 0 && may_be_probed(address.ip()));
        address.ok_or_else(|| Refused::Field {
            field: format!("probeAddresses[{i}]"),
            value: text.clone(),
            expected: "IP:port of another host; it is left out",
        })
    };
    let bounded: Vec<_> = left_out.bounded("probeAddresses", reported, MAX_ADDRESSES).collect();
    bounded.into_iter().filter_map(|one| left_out.or_none(parsed(one))).collect()
}

fn may_be_probed(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(link_local || ip.is_unspecified() || ip.is_multicast())
}

fn location(reported: &api::ClusterLocation, left_out: &mut LeftOut) -> Location {
    let place = Location::new(reported.provider.as_deref(), reported.region.as_deref(), reported.zone.as_deref());
    let continent = |name: &str| {
        Continent::parse(name).ok_or_else(|| Refused::Field {
            field: "location.continent".to_owned(),
            value: name.to_owned(),
            expected: "a known continent; it is left out",
        })
    };
    let continent = reported.continent.as_deref().and_then(|name| left_out.or_none(continent(name)));
    Location { continent: continent.or(place.continent), ..place }
}

fn links(reported: &[api::ClusterLink], left_out: &mut LeftOut) -> BTreeMap<ClusterId, PeerLink> {
    let mut links = BTreeMap::new();
    for (i, link) in left_out.bounded("links", reported, MAX_CLUSTERS) {
        let field = |name: &str| format!("spec.links[{i}].{name}");
        let Some(peer) = left_out.or_none(cluster(&field("cluster"), &link.cluster)) else { continue };
        let link = PeerLink {
            rtt_ms: left_out.clip(MS, &field("rttMs"), link.rtt_ms),
            jitter_ms: left_out.clip(MS, &field("jitterMs"), link.jitter_ms),
            loss: left_out.clip(PART, &field("loss"), link.loss),
            reachable: link.reachable,
        };
        links.insert(peer, link);
    }
    links
}

fn egress(reported: &[api::EgressPrice], left_out: &mut LeftOut) -> BTreeMap<ClusterId, f64> {
    let mut prices = BTreeMap::new();
    for (i, price) in left_out.bounded("egress", reported, MAX_CLUSTERS) {
        let field = |name: &str| format!("spec.egress[{i}].{name}");
        let Some(peer) = left_out.or_none(cluster(&field("cluster"), &price.cluster)) else { continue };
        prices.extend(left_out.clip(PRICE, &field("usdPerGb"), price.usd_per_gb).map(|price| (peer, price)));
    }
    prices
}

/// Returns the reports by service. `at` and `hash` are those of the object.
fn services(
    reported: &[api::ServiceFacts],
    (at, hash): (u64, Option<u64>),
    left_out: &mut LeftOut,
) -> BTreeMap<ServiceKey, Report> {
    let mut reports = BTreeMap::new();
    for (i, reported) in left_out.bounded("services", reported, MAX_SERVICES) {
        let field = |name: &str| format!("services[{i}].{name}");
        let key = service(&format!("spec.services[{i}]"), &reported.namespace, &reported.name);
        let Some(key) = left_out.or_none(key) else { continue };
        let own_hash = left_out.or_none(parameter_hash(&field("parameterHash"), reported.parameter_hash.as_deref()));
        let mut number = |range, name: &str, number| left_out.clip(range, &format!("spec.{}", field(name)), number);
        let report = Report {
            at,
            demand_rps: number(RPS, "demandRps", reported.demand_rps),
            trend_rps: number(RESIDUAL, "trendRps", reported.trend_rps).unwrap_or(0.0),
            measured_demand_rps: number(RPS, "measuredDemandRps", reported.measured_demand_rps),
            capacity_rps: number(RPS, "capacityRps", reported.capacity_rps),
            pod_capacity_rps: number(RPS, "podCapacityRps", reported.pod_capacity_rps),
            load_rps: number(RPS, "loadRps", reported.load_rps),
            load_from_answers: reported.load_from_answers,
            residual_rps: number(RESIDUAL, "residualRps", reported.residual_rps).unwrap_or(0.0),
            deviation: number(DEVIATION, "deviation", reported.deviation).unwrap_or(0.0),
            service_ms: number(MS, "serviceTimeMs", reported.service_time_ms).unwrap_or(0.0),
            parameter_hash: own_hash.flatten().or(hash),
        };
        reports.insert(key, report);
    }
    reports
}
