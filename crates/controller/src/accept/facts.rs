//! What a cluster says of itself. It comes from outside, so nothing in it is taken for granted: what is wrong costs itself,
//! is named, and harms nothing else.

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
use crate::facts::{Drain, Facts, MOST_SERVICES, PeerLink, VERSION};

/// As many as one object may have; an API server refuses more.
const MOST_CLUSTERS: usize = 256;
const MOST_ADDRESSES: usize = 16;
const MOST_DRAIN_SECONDS: u32 = 86_400;

const RPS: Range = Range::new(0.0, MAX_RPS);
const RESIDUAL: Range = Range::new(-MAX_RPS, MAX_RPS);
/// A minute. Who is farther away than that is not there.
pub(super) const MS: Range = Range::new(0.0, 60_000.0);
const PART: Range = Range::new(0.0, 1.0);
/// Of the planned load.
const DEVIATION: Range = Range::new(0.0, 10.0);

pub(super) fn accept_facts(facts: &api::ClusterFacts) -> Result<(Facts, Option<Refused>), Refused> {
    let spec = &facts.spec;
    if let Some(version) = spec.version.filter(|version| *version > VERSION) {
        return Err(Refused::Version { version, known: VERSION });
    }
    let mut left_out = LeftOut::default();
    let hash = left_out.or_none(parameter_hash("parameterHash", spec.parameter_hash.as_deref())).flatten();
    let observed = spec.observed_time.as_ref().and_then(unix_seconds);
    let facts = Facts {
        cluster: cluster("spec.cluster", &spec.cluster)?,
        generation: spec.generation.unwrap_or(0),
        observed,
        parameter_hash: hash,
        location: spec.location.as_ref().map(|said| location(said, &mut left_out)).unwrap_or_default(),
        links: links(&spec.links, &mut left_out),
        egress_usd_per_gb: egress(&spec.egress, &mut left_out),
        services: services(&spec.services, (observed.unwrap_or(0), hash), &mut left_out).into(),
        answers_rps: answers(&spec.services, &mut left_out).into(),
        probe_addresses: probe_addresses(&spec.probe_addresses, &mut left_out),
        drain: spec.drain.as_ref().map(|drain| Drain {
            since: unix_seconds(&drain.since).unwrap_or(0),
            over_seconds: drain.over_seconds.min(MOST_DRAIN_SECONDS),
        }),
    };
    Ok((facts, left_out.first))
}

/// Remembers the first of what had to be left out.
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

    fn believe(&mut self, range: Range, field: &str, number: Option<f64>) -> Option<f64> {
        let (number, refused) = range.believe(field, number);
        self.note(refused.map(Refused::Number));
        number
    }

    /// Those that are not too many, counted.
    fn bounded<'a, T>(
        &mut self,
        field: &'static str,
        all: &'a [T],
        most: usize,
    ) -> impl Iterator<Item = (usize, &'a T)> + use<'a, T> {
        self.note((all.len() > most).then_some(Refused::TooMany { field, most }));
        all.iter().take(most).enumerate()
    }
}

fn parameter_hash(field: &str, hash: Option<&str>) -> Result<Option<u64>, Refused> {
    let parsed = |hash: &str| {
        u64::from_str_radix(hash, 16).map_err(|_| Refused::Field {
            field: field.to_owned(),
            value: hash.to_owned(),
            expected: "of 1 to 16 hexadecimal digits; it is left out",
        })
    };
    hash.map(parsed).transpose()
}

/// What is wrong with a service is said where its numbers are read.
fn answers(said: &[api::ServiceFacts], left_out: &mut LeftOut) -> BTreeMap<ServiceKey, ByCluster<f64>> {
    let mut answers = BTreeMap::new();
    for (i, said) in said.iter().take(MOST_SERVICES).enumerate().filter(|(_, said)| !said.answers_rps.is_empty()) {
        let Ok(key) = ServiceKey::new(&said.namespace, &said.name) else { continue };
        let field = format!("spec.services[{i}].answersRps");
        let mut row = ByCluster::new();
        for (id, &rps) in said.answers_rps.iter().take(MOST_CLUSTERS) {
            let Some(id) = left_out.or_none(cluster(&field, id)) else { continue };
            row.extend(left_out.believe(RPS, &field, Some(rps)).map(|rps| (id, rps)));
        }
        answers.insert(key, row);
    }
    answers
}

/// Nobody is to be made to knock at the door of a host, or of a machine that serves credentials to its pods.
fn probe_addresses(said: &[String], left_out: &mut LeftOut) -> Vec<SocketAddr> {
    let parsed = |(i, text): (usize, &String)| {
        let address =
            text.parse().ok().filter(|address: &SocketAddr| address.port() != 0 && may_be_probed(address.ip()));
        address.ok_or_else(|| Refused::Field {
            field: format!("probeAddresses[{i}]"),
            value: text.clone(),
            expected: "IP:port of another host; it is left out",
        })
    };
    let bounded: Vec<_> = left_out.bounded("probeAddresses", said, MOST_ADDRESSES).collect();
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

fn location(said: &api::ClusterLocation, left_out: &mut LeftOut) -> Location {
    let place = Location::new(said.provider.as_deref(), said.region.as_deref(), said.zone.as_deref());
    let continent = |name: &str| {
        Continent::parse(name).ok_or_else(|| Refused::Field {
            field: "location.continent".to_owned(),
            value: name.to_owned(),
            expected: "a continent that is known here; it is left out",
        })
    };
    let continent = said.continent.as_deref().and_then(|name| left_out.or_none(continent(name)));
    Location { continent: continent.or(place.continent), ..place }
}

fn links(said: &[api::ClusterLink], left_out: &mut LeftOut) -> BTreeMap<ClusterId, PeerLink> {
    let mut links = BTreeMap::new();
    for (i, link) in left_out.bounded("links", said, MOST_CLUSTERS) {
        let field = |name: &str| format!("spec.links[{i}].{name}");
        let Some(peer) = left_out.or_none(cluster(&field("cluster"), &link.cluster)) else { continue };
        let link = PeerLink {
            rtt_ms: left_out.believe(MS, &field("rttMs"), link.rtt_ms),
            jitter_ms: left_out.believe(MS, &field("jitterMs"), link.jitter_ms),
            loss: left_out.believe(PART, &field("loss"), link.loss),
            reachable: link.reachable,
        };
        links.insert(peer, link);
    }
    links
}

fn egress(said: &[api::EgressPrice], left_out: &mut LeftOut) -> BTreeMap<ClusterId, f64> {
    let mut prices = BTreeMap::new();
    for (i, price) in left_out.bounded("egress", said, MOST_CLUSTERS) {
        let field = |name: &str| format!("spec.egress[{i}].{name}");
        let Some(peer) = left_out.or_none(cluster(&field("cluster"), &price.cluster)) else { continue };
        prices.extend(left_out.believe(PRICE, &field("usdPerGb"), price.usd_per_gb).map(|price| (peer, price)));
    }
    prices
}

/// `at`, `hash`: of the object that they are in.
fn services(
    said: &[api::ServiceFacts],
    (at, hash): (u64, Option<u64>),
    left_out: &mut LeftOut,
) -> BTreeMap<ServiceKey, Report> {
    let mut reports = BTreeMap::new();
    for (i, said) in left_out.bounded("services", said, MOST_SERVICES) {
        let field = |name: &str| format!("services[{i}].{name}");
        let key = service(&format!("spec.services[{i}]"), &said.namespace, &said.name);
        let Some(key) = left_out.or_none(key) else { continue };
        let own_hash = left_out.or_none(parameter_hash(&field("parameterHash"), said.parameter_hash.as_deref()));
        let mut number = |range, name: &str, number| left_out.believe(range, &format!("spec.{}", field(name)), number);
        let report = Report {
            at,
            demand_rps: number(RPS, "demandRps", said.demand_rps),
            trend_rps: number(RESIDUAL, "trendRps", said.trend_rps).unwrap_or(0.0),
            measured_demand_rps: number(RPS, "measuredDemandRps", said.measured_demand_rps),
            capacity_rps: number(RPS, "capacityRps", said.capacity_rps),
            pod_capacity_rps: number(RPS, "podCapacityRps", said.pod_capacity_rps),
            load_rps: number(RPS, "loadRps", said.load_rps),
            load_from_answers: said.load_from_answers,
            residual_rps: number(RESIDUAL, "residualRps", said.residual_rps).unwrap_or(0.0),
            deviation: number(DEVIATION, "deviation", said.deviation).unwrap_or(0.0),
            service_ms: number(MS, "serviceTimeMs", said.service_time_ms).unwrap_or(0.0),
            parameter_hash: own_hash.flatten().or(hash),
        };
        reports.insert(key, report);
    }
    reports
}
