//! From what this cluster says of itself to the objects that it writes on the broker: pure.
//!
//! The first object holds all that is of the cluster as a whole; services are shared out in their order, so that a service
//! that comes or goes moves as few others as it can.

use landfall_api::time::from_unix_seconds;
use std::collections::BTreeMap;

use landfall_api as api;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::optimize::report::Report;
use landfall_core::pricing::Location;

use crate::facts::{Facts, MOST_SERVICES, PeerLink, VERSION};

/// Which cluster writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cluster: ClusterId,
    /// The UID of its namespace kube-system.
    pub instance: String,
}

/// Of one object's JSON: an API server takes 1.5 MB at most, and everybody reads all of them.
pub const MOST_BYTES: usize = 256 * 1024;

/// A service without a byte to spare: two names of 63, ten numbers, and the braces. What its answers named comes on top.
const SERVICE_BYTES: usize = 480;
const ANSWER_BYTES: usize = 90;
/// The other fields of an object, its metadata included.
const HEAD_BYTES: usize = 64 * 1024;

/// `<cluster>-<part>`: the name that the owner of a part must give it.
pub fn name(cluster: &str, part: i32) -> String {
    format!("{cluster}-{part}")
}

/// All parts, in their order. `since`: when this cluster first wrote, in seconds since 1970.
pub fn parts(facts: &Facts, identity: &Identity, since: u64) -> Vec<api::ClusterFactsSpec> {
    let services: Vec<api::ServiceFacts> = keys(facts).map(|key| service(facts, key)).collect();
    let chunks = chunks(services);
    let count = i32::try_from(chunks.len()).ok();
    let part = |(i, services): (usize, Vec<api::ServiceFacts>)| {
        let head = if i == 0 { head(facts) } else { api::ClusterFactsSpec::default() };
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
            ..head
        }
    };
    chunks.into_iter().enumerate().map(part).collect()
}

fn keys(facts: &Facts) -> impl Iterator<Item = &ServiceKey> {
    let unreported = facts.answers_rps.keys().filter(|key| !facts.services.contains_key(*key));
    facts.services.keys().chain(unreported)
}

/// At least one.
fn chunks(services: Vec<api::ServiceFacts>) -> Vec<Vec<api::ServiceFacts>> {
    let mut chunks = vec![Vec::new()];
    let mut bytes = HEAD_BYTES;
    for service in services {
        let size = SERVICE_BYTES + ANSWER_BYTES * service.answers_rps.len();
        let full = chunks.last().is_some_and(|chunk| chunk.len() >= MOST_SERVICES);
        if full || bytes + size > MOST_BYTES {
            chunks.push(Vec::new());
            bytes = HEAD_BYTES;
        }
        bytes += size;
        chunks.last_mut().into_iter().for_each(|chunk| chunk.push(service.clone()));
    }
    chunks
}

/// What is of the cluster as a whole.
pub fn head(facts: &Facts) -> api::ClusterFactsSpec {
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
    let said = api::ClusterLocation {
        provider: text(&location.provider),
        region: text(&location.region),
        zone: text(&location.zone),
        continent: location.continent.map(|continent| continent.as_str().to_owned()),
    };
    (said != api::ClusterLocation::default()).then_some(said)
}

fn service(facts: &Facts, key: &ServiceKey) -> api::ServiceFacts {
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
        // What was measured is what is expected, as far as three digits tell: it need not be said twice.
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

/// Four digits: a thousandth part is less than any of these numbers is known to, and less than the hysteresis of weights.
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

    fn facts(services: usize) -> Facts {
        let mut facts = Facts::silent(ClusterId::new("east").unwrap());
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
    fn many_services_are_several_objects_each_below_the_limit_and_none_is_lost() {
        let parts = parts(&facts(3000), &identity(), 5);
        let sizes: Vec<usize> = parts.iter().map(|part| serde_json::to_vec(part).unwrap().len()).collect();
        assert!(parts.len() > 1 && sizes.iter().all(|size| *size < MOST_BYTES), "{sizes:?}");
        assert_eq!(parts.iter().map(|part| part.services.len()).sum::<usize>(), 3000);
        assert!(parts.iter().all(|part| part.parts == i32::try_from(parts.len()).ok()));
    }

    #[test]
    fn numbers_have_four_digits_and_nothing_is_said_twice() {
        let mut facts = facts(1);
        let report = Arc::make_mut(&mut facts.services).values_mut().next().unwrap();
        report.measured_demand_rps = Some(123.458);
        let said = &parts(&facts, &identity(), 5)[0].services[0];
        assert_eq!((said.demand_rps, said.capacity_rps), (Some(123.5), Some(33330.0)));
        assert_eq!((said.measured_demand_rps, said.residual_rps), (None, None));
        assert!(short(1e-9).abs() < 1e-300 && short(f64::NAN).abs() < 1e-300);
        assert!((short(-0.012_345) + 0.012_35).abs() < 1e-9);
    }
}
