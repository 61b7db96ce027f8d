//! Builds the objects on the broker from the facts of the local cluster: pure.
//!
//! The first object has the facts of the cluster as a whole. Services are split over the objects in order, so that a
//! new or removed service moves few others to another object.

use std::collections::BTreeMap;

use landfall_api as api;
use landfall_api::time::from_unix_seconds;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::optimize::report::Report;
use landfall_core::pricing::Location;

use crate::facts::{ClusterFacts, MAX_SERVICES, PeerLink, VERSION};

/// Identity of the local cluster on the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cluster: ClusterId,
    /// UID of the namespace kube-system.
    pub instance: String,
}

/// Limit of one object as JSON. An API server accepts 1.5 MB, and every cluster reads all objects.
const MAX_PART_BYTES: usize = 256 * 1024;

/// Size of a service without its answers: two names of 63 bytes, ten numbers, and the punctuation.
const SERVICE_BYTES: usize = 480;
const ANSWER_BYTES: usize = 90;
/// Size of the other fields of an object, with its metadata.
const CLUSTER_PART_BYTES: usize = 64 * 1024;

/// Returns the required name of a part: `<cluster>-<part>`.
pub fn name(cluster: &str, part: i32) -> String {
    format!("{cluster}-{part}")
}

/// Returns all parts in order. `since` is the time of the first write of this cluster, in seconds since 1970.
pub fn parts(facts: &ClusterFacts, identity: &Identity, since: u64) -> Vec<api::ClusterFactsSpec> {
    let services: Vec<api::ServiceFacts> = keys(facts).map(|key| service(facts, key)).collect();
    let chunks = chunks(services);
    let count = i32::try_from(chunks.len()).ok();
    let part = |(i, services): (usize, Vec<api::ServiceFacts>)| {
        let cluster_part = if i == 0 { cluster_part(facts) } else { api::ClusterFactsSpec::default() };
        api::ClusterFactsSpec {
            cluster: identity.cluster.to_string(),
            version: Some(VERSION),
            instance: Some(identity.instance.clone()),
            since: from_unix_seconds(since),
            part: i32::try_from(i).ok(),
            parts: count,
            generation: Some(facts.generation),
            observed_time: facts.observed.and_then(from_unix_seconds),
            services,
            ..cluster_part
        }
    };
    chunks.into_iter().enumerate().map(part).collect()
}

fn keys(facts: &ClusterFacts) -> impl Iterator<Item = &ServiceKey> {
    let unreported = facts.answers_rps.keys().filter(|key| !facts.services.contains_key(*key));
    facts.services.keys().chain(unreported)
}

/// Splits services into chunks that fit an object. Returns at least one chunk.
fn chunks(services: Vec<api::ServiceFacts>) -> Vec<Vec<api::ServiceFacts>> {
    let mut chunks = vec![Vec::new()];
    let mut bytes = CLUSTER_PART_BYTES;
    for service in services {
        let size = SERVICE_BYTES + ANSWER_BYTES * service.answers_rps.len();
        let full = chunks.last().is_some_and(|chunk| chunk.len() >= MAX_SERVICES);
        if full || bytes + size > MAX_PART_BYTES {
            chunks.push(Vec::new());
            bytes = CLUSTER_PART_BYTES;
        }
        bytes += size;
        chunks.last_mut().into_iter().for_each(|chunk| chunk.push(service.clone()));
    }
    chunks
}

/// Returns the facts of the cluster as a whole, without services.
pub fn cluster_part(facts: &ClusterFacts) -> api::ClusterFactsSpec {
    let link = |(peer, link): (&ClusterId, &PeerLink)| api::ClusterLink {
        cluster: peer.to_string(),
        rtt_ms: link.rtt_ms.map(short),
        jitter_ms: link.jitter_ms.map(short),
        loss: link.loss.map(short),
        reachable: link.reachable.filter(|reachable| !reachable),
    };
    let egress =
        |(peer, price): (&ClusterId, &f64)| api::EgressPrice { cluster: peer.to_string(), usd_per_gb: Some(*price) };
    api::ClusterFactsSpec {
        cluster: facts.cluster.to_string(),
        parameter_hash: facts.parameter_hash.map(|hash| format!("{hash:x}")),
        probe_addresses: facts.probe_addresses.iter().map(ToString::to_string).collect(),
        drain: facts.drain.and_then(|drain| {
            Some(api::Drain { since: from_unix_seconds(drain.since)?, over_seconds: drain.over_seconds })
        }),
        location: location(&facts.location),
        links: facts.links.iter().map(link).collect(),
        egress: facts.egress_usd_per_gb.iter().map(egress).collect(),
        ..api::ClusterFactsSpec::default()
    }
}

fn location(location: &Location) -> Option<api::ClusterLocation> {
    let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    let location = api::ClusterLocation {
        provider: text(&location.provider),
        region: text(&location.region),
        zone: text(&location.zone),
        continent: location.continent.map(|continent| continent.as_str().to_owned()),
    };
    (location != api::ClusterLocation::default()).then_some(location)
}

fn service(facts: &ClusterFacts, key: &ServiceKey) -> api::ServiceFacts {
    let report = facts.services.get(key).copied().unwrap_or_default();
    let Report { demand_rps, measured_demand_rps, capacity_rps, load_rps, .. } = report;
    let some = |number: f64| Some(short(number)).filter(|number| number.abs() > 0.0);
    let answers: BTreeMap<String, f64> = facts
        .answers_rps
        .get(key)
        .into_iter()
        .flatten()
        .map(|(cluster, rps)| (cluster.to_string(), short(*rps)))
        .filter(|(_, rps)| *rps > 0.0)
        .collect();
    let own_hash = report.parameter_hash.filter(|hash| Some(*hash) != facts.parameter_hash);
    api::ServiceFacts {
        namespace: key.namespace().to_owned(),
        name: key.name().to_owned(),
        demand_rps: demand_rps.map(short),
        trend_rps: some(report.trend_rps),
        // Left out if it equals the expected demand after rounding.
        measured_demand_rps: measured_demand_rps.map(short).filter(|rps| Some(*rps) != demand_rps.map(short)),
        answers_rps: answers,
        capacity_rps: capacity_rps.map(short),
        pod_capacity_rps: report.pod_capacity_rps.map(short),
        load_rps: load_rps.map(short),
        load_from_answers: report.load_from_answers,
        residual_rps: some(report.residual_rps),
        deviation: some(report.deviation),
        service_time_ms: some(report.service_ms),
        parameter_hash: own_hash.map(|hash| format!("{hash:x}")),
    }
}

/// Rounds to four digits. The error is below 0.1 %, which is less than the precision of these numbers and than the
/// hysteresis of weights.
fn short(number: f64) -> f64 {
    if number == 0.0 || !number.is_finite() {
        return 0.0;
    }
    let digits = 3.0 - number.abs().log10().floor();
    if digits > 6.0 {
        return 0.0;
    }
    let scale = 10_f64.powf(digits.abs());
    if digits >= 0.0 { (number * scale).round() / scale } else { (number / scale).round() * scale }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn facts(services: usize) -> ClusterFacts {
        let mut facts = ClusterFacts::empty(ClusterId::new("east").unwrap());
        for i in 0..services {
            let key = ServiceKey::new("shop", &format!("web-{i:05}")).unwrap();
            let report = Report { demand_rps: Some(123.456), capacity_rps: Some(1e5 / 3.0), ..Report::default() };
            Arc::make_mut(&mut facts.services).insert(key, report);
        }
        facts
    }

    fn identity() -> Identity {
        Identity { cluster: ClusterId::new("east").unwrap(), instance: "a".to_owned() }
    }

    #[test]
    fn facts_without_services_are_one_object() {
        let parts = parts(&facts(0), &identity(), 5);
        assert_eq!(parts.len(), 1);
        assert_eq!((parts[0].part, parts[0].parts, parts[0].version), (Some(0), Some(1), Some(VERSION)));
    }

    #[test]
    fn many_services_are_split_into_objects_below_the_size_limit() {
        let parts = parts(&facts(3000), &identity(), 5);
        let sizes: Vec<usize> = parts.iter().map(|part| serde_json::to_vec(part).unwrap().len()).collect();
        assert!(parts.len() > 1 && sizes.iter().all(|size| *size < MAX_PART_BYTES), "{sizes:?}");
        assert_eq!(parts.iter().map(|part| part.services.len()).sum::<usize>(), 3000);
        assert!(parts.iter().all(|part| part.parts == i32::try_from(parts.len()).ok()));
    }

    #[test]
    fn numbers_have_four_digits_and_an_equal_measured_demand_is_left_out() {
        let mut facts = facts(1);
        let report = Arc::make_mut(&mut facts.services).values_mut().next().unwrap();
        report.measured_demand_rps = Some(123.458);
        let service = &parts(&facts, &identity(), 5)[0].services[0];
        assert_eq!((service.demand_rps, service.capacity_rps), (Some(123.5), Some(33330.0)));
        assert_eq!((service.measured_demand_rps, service.residual_rps), (None, None));
        assert!(short(1e-9).abs() < 1e-300 && short(f64::NAN).abs() < 1e-300);
        assert!((short(-0.012_345) + 0.012_35).abs() < 1e-9);
    }
}
