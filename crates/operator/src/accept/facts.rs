//! What a cluster says of itself. It comes from outside, so nothing in it is taken for granted: what is wrong costs itself,
//! is named, and harms nothing else.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use landfall_api as api;
use landfall_api::time::unix_seconds;
use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
use landfall_core::optimize::facts::MOST_RPS;
use landfall_core::optimize::report::Report;
use landfall_core::pricing::{Continent, Location};

use super::number::Range;
use super::pricing::PRICE;
use super::{Refused, cluster, service};

/// As many as one object may have; an API server refuses more.
const MOST_CLUSTERS: usize = 256;
pub const MOST_SERVICES: usize = 2000;
const MOST_ADDRESSES: usize = 16;
const MOST_DRAIN_SECONDS: u32 = 86_400;

/// The form of the facts that we write, and the newest that we read.
pub const VERSION: i32 = 1;

const RPS: Range = Range::new(0.0, MOST_RPS);
const RESIDUAL: Range = Range::new(-MOST_RPS, MOST_RPS);
/// A minute. Who is farther away than that is not there.
pub(super) const MS: Range = Range::new(0.0, 60_000.0);
const PART: Range = Range::new(0.0, 1.0);
/// Of the planned load.
const DEVIATION: Range = Range::new(0.0, 10.0);

/// One object's, or of all objects of a cluster together.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub cluster: ClusterId,
    pub generation: i64,
    /// When the newest window ended, in seconds since 1970.
    pub observed: Option<u64>,
    pub parameter_hash: Option<u64>,
    /// Unknown as a whole if the cluster says nothing.
    pub location: Location,
    pub links: BTreeMap<ClusterId, PeerLink>,
    /// From this cluster to the others.
    pub egress_usd_per_gb: BTreeMap<ClusterId, f64>,
    /// Each from the end of the window in which the object was written that it comes from.
    /// Shared, as all that is here is copied by many who need the rest.
    pub services: Arc<BTreeMap<ServiceKey, Report>>,
    /// Answers a second that named each exporting cluster, in that window. Shared too.
    pub answers_rps: Arc<BTreeMap<ServiceKey, ByCluster<f64>>>,
    /// Where the others can see how far it is.
    pub probe_addresses: Vec<SocketAddr>,
    pub drain: Option<Drain>,
}

/// A cluster is being emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Seconds since 1970.
    pub since: u64,
    pub over_seconds: u32,
}

impl Drain {
    /// The same, in another time in all: what is gone at `now` does not come back.
    #[must_use]
    pub fn within(self, over_seconds: u32, now: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a u32")]
        let gone = ((1.0 - self.left(now)) * f64::from(over_seconds)).ceil() as u64;
        Self { since: now.saturating_sub(gone), over_seconds }
    }

    /// What is left of all that the cluster offers, from 1 down to 0.
    pub fn left(self, now: u64) -> f64 {
        let elapsed = now.saturating_sub(self.since) as f64;
        if self.over_seconds == 0 { 0.0 } else { (1.0 - elapsed / f64::from(self.over_seconds)).max(0.0) }
    }
}

/// The network to another cluster, as this one measured it. `None`: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PeerLink {
    pub rtt_ms: Option<f64>,
    pub jitter_ms: Option<f64>,
    pub loss: Option<f64>,
    pub reachable: Option<bool>,
}

impl Facts {
    /// Of a cluster that says nothing.
    pub fn silent(cluster: ClusterId) -> Self {
        Self {
            cluster,
            generation: 0,
            observed: None,
            parameter_hash: None,
            location: Location::default(),
            links: BTreeMap::new(),
            egress_usd_per_gb: BTreeMap::new(),
            services: Arc::default(),
            answers_rps: Arc::default(),
            probe_addresses: Vec::new(),
            drain: None,
        }
    }

    /// Of what several objects say, the newest counts, entry by entry. `None`: there are no objects.
    pub fn united<'a>(parts: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let mut parts: Vec<&Self> = parts.collect();
        parts.sort_by_key(|part| (part.observed, part.generation));
        let mut parts = parts.into_iter();
        let oldest = parts.next()?.clone();
        Some(parts.fold(oldest, Self::with_newer))
    }

    /// What `newer` says, and for what it leaves open what was said before.
    #[must_use]
    pub fn with_newer(self, newer: &Self) -> Self {
        let located = if newer.location == Location::default() { &self.location } else { &newer.location };
        Self {
            location: located.clone(),
            parameter_hash: newer.parameter_hash.or(self.parameter_hash),
            links: united(self.links, &newer.links),
            egress_usd_per_gb: united(self.egress_usd_per_gb, &newer.egress_usd_per_gb),
            services: united_shared(self.services, &newer.services),
            answers_rps: united_shared(self.answers_rps, &newer.answers_rps),
            probe_addresses: if newer.probe_addresses.is_empty() {
                self.probe_addresses
            } else {
                newer.probe_addresses.clone()
            },
            drain: newer.drain.or(self.drain),
            cluster: self.cluster,
            generation: newer.generation,
            observed: newer.observed,
        }
    }
}

fn united_shared<K: Ord + Clone, V: Clone>(
    mut older: Arc<BTreeMap<K, V>>,
    newer: &Arc<BTreeMap<K, V>>,
) -> Arc<BTreeMap<K, V>> {
    if older.is_empty() {
        return Arc::clone(newer);
    }
    if !newer.is_empty() {
        Arc::make_mut(&mut older).extend(newer.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    older
}

fn united<K: Ord + Clone, V: Clone>(mut older: BTreeMap<K, V>, newer: &BTreeMap<K, V>) -> BTreeMap<K, V> {
    older.extend(newer.iter().map(|(key, value)| (key.clone(), value.clone())));
    older
}

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
        self.note(refused);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_that_is_to_take_another_time_gives_nothing_back() {
        const BEGUN: u64 = 1_800_000_000;
        let slow = Drain { since: BEGUN, over_seconds: 3600 };
        for (after, over_seconds, left) in [(0, 300, 1.0), (1800, 300, 0.5), (1800, 7200, 0.5), (1800, 0, 0.0)] {
            let now = BEGUN + after;
            let changed = slow.within(over_seconds, now);
            assert!((changed.left(now) - left).abs() < 0.01, "{after} {over_seconds}: {changed:?}");
            assert!(changed.left(now + u64::from(over_seconds)) <= 0.0);
        }
        let empty = Drain { since: BEGUN, over_seconds: 60 }.within(600, BEGUN + 100);
        assert!(empty.left(BEGUN + 100) <= 0.0, "{empty:?}");
    }
}
