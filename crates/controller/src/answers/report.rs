//! The page on which a DNS replica says how often it named whom: what it writes, and what is taken of it.
//!
//! ```json
//! {"boot": "9f3c…", "probe": ["0.0.0.0:8053"], "answers": {"shop/web": {"east": 123, "west": 45}}}
//! ```
//!
//! `boot` is new for each process, and the counts are of all its life. Answers with clusterset IPs are those of the
//! cluster `""`. What was never answered is left out.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use landfall_core::name::{ClusterId, InvalidName, ServiceKey};
use landfall_core::plan::{Plan, ServicePlan};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// 10,000 services with all of their 20 clusters are 4 MB.
pub const MOST_OCTETS: usize = 8 << 20;
/// A count of which more than a thousand can be added up, and that a float holds exactly. At a million answers per second
/// it is reached after 285 years.
const MOST_ANSWERS: u64 = 1 << 53;
/// How long the id of a process may be.
const MOST_BOOT: usize = 64;
/// How many ways to one replica are believed.
const MOST_PROBES: usize = 16;

/// Answers by service and cluster. `None`: clusterset IPs.
pub type Counts = BTreeMap<ServiceKey, BTreeMap<Option<ClusterId>, u64>>;

/// As it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Which process this is.
    pub boot: Box<str>,
    /// Where other clusters can probe it.
    pub probe: Vec<SocketAddr>,
    pub answers: Counts,
}

/// Why a page says nothing.
#[derive(Debug, Error)]
pub enum PageError {
    #[error("is longer than {} MiB", MOST_OCTETS >> 20)]
    TooLong,
    #[error("is not JSON as a DNS replica writes it: {0}")]
    Json(#[source] serde_json::Error),
    #[error("has {0:?} as the id of its process, and not 1 to {MOST_BOOT} letters and digits")]
    Boot(String),
    #[error("has {0:?} among its services, which is not NAMESPACE/NAME")]
    Form(String),
    #[error("has a wrong name: {0}")]
    Name(#[from] InvalidName),
}

#[derive(Serialize, Deserialize)]
struct Wire {
    boot: String,
    #[serde(default)]
    probe: Vec<SocketAddr>,
    answers: BTreeMap<String, BTreeMap<String, u64>>,
}

/// What a replica says. `plan`: `None` before the first one.
pub fn write(boot: &str, probe: &[SocketAddr], plan: Option<&Plan>) -> String {
    let services = plan.into_iter().flat_map(Plan::services);
    let answers = services.map(|(key, planned)| (key.to_string(), counts(planned)));
    let answers = answers.filter(|(_, counts)| !counts.is_empty()).collect();
    let wire = Wire { boot: boot.to_owned(), probe: probe.to_vec(), answers };
    serde_json::to_string(&wire).expect("maps by text, of numbers, can always be written")
}

fn counts(planned: &ServicePlan) -> BTreeMap<String, u64> {
    let some = planned.answered().filter(|(_, count)| *count > 0);
    some.map(|(cluster, count)| (cluster.map(ToString::to_string).unwrap_or_default(), count)).collect()
}

/// Takes what a replica said. It listens for probes on all of its addresses where it says `0.0.0.0` or `::`; the one that
/// we reach it by is one of them.
pub fn read(octets: &[u8], replica: IpAddr) -> Result<Page, PageError> {
    if octets.len() > MOST_OCTETS {
        return Err(PageError::TooLong);
    }
    let Wire { boot, probe, answers } = serde_json::from_slice(octets).map_err(PageError::Json)?;
    if boot.is_empty() || boot.len() > MOST_BOOT || !boot.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
        return Err(PageError::Boot(boot.chars().take(MOST_BOOT).collect()));
    }
    let reached = |probe: SocketAddr| match probe.ip().is_unspecified() {
        true => SocketAddr::new(replica, probe.port()),
        false => probe,
    };
    let probe = probe.into_iter().filter(|probe| probe.port() != 0).take(MOST_PROBES).map(reached).collect();
    let answers = answers.into_iter().map(|(service, counts)| Ok((key(&service)?, by_cluster(counts)?)));
    Ok(Page { boot: boot.into(), probe, answers: answers.collect::<Result<_, PageError>>()? })
}

fn key(service: &str) -> Result<ServiceKey, PageError> {
    let (namespace, name) = service.split_once('/').ok_or_else(|| PageError::Form(service.to_owned()))?;
    Ok(ServiceKey::new(namespace, name)?)
}

fn by_cluster(counts: BTreeMap<String, u64>) -> Result<BTreeMap<Option<ClusterId>, u64>, PageError> {
    let parsed = counts.into_iter().map(|(cluster, count)| {
        let cluster = if cluster.is_empty() { None } else { Some(ClusterId::new(&cluster)?) };
        Ok((cluster, count.min(MOST_ANSWERS)))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use landfall_core::export::Family;
    use landfall_core::export::{Endpoint, Export};
    use landfall_core::plan::plan;
    use landfall_core::snapshot::{NetworkView, RuleSource, Service, ServiceKind, Snapshot};

    use super::*;

    const REPLICA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 7));

    fn id(cluster: &str) -> ClusterId {
        ClusterId::new(cluster).unwrap()
    }

    fn answering() -> Plan {
        let exports = ["east", "west"]
            .map(|cluster| (id(cluster), Export { ready: [Endpoint::new([10, 0, 0, 1].into(), None)].into() }));
        let rule_source = RuleSource::Policy(Arc::default());
        let service = |kind| {
            Arc::new(Service { kind, exports: exports.clone().into_iter().collect(), rule_source: rule_source.clone() })
        };
        let per_cluster = ServiceKind::ClusterSetIp { ips: Vec::new() };
        let services = [
            ("web", per_cluster.clone()),
            ("unused", per_cluster),
            ("vip", ServiceKind::ClusterSetIp { ips: vec![[243, 0, 0, 1].into()] }),
        ];
        let services = services.map(|(name, kind)| (ServiceKey::new("shop", name).unwrap(), service(kind))).into();
        let view = NetworkView { local: id("east"), links_complete: false, links: BTreeMap::new() };
        plan(&Snapshot { view, services }, &Plan::default(), 1)
    }

    fn error(page: &str) -> String {
        read(page.as_bytes(), REPLICA).unwrap_err().to_string()
    }

    #[test]
    fn what_a_replica_writes_is_what_is_read() {
        let plan = answering();
        (0..3).for_each(|point| assert!(plan.get("web.shop").unwrap().answer_with_one(Family::Ipv4, point).is_some()));
        plan.get("vip.shop").unwrap().count_clusterset_answer();
        let probe = ["10.9.0.1:8053".parse().unwrap(), "[fd00::1]:8053".parse().unwrap()];
        let page = write("c0ffee", &probe, Some(&plan));
        let expected = concat!(
            r#"{"boot":"c0ffee","probe":["10.9.0.1:8053","[fd00::1]:8053"],"#,
            r#""answers":{"shop/vip":{"":1},"shop/web":{"east":3}}}"#
        );
        assert_eq!(page, expected);
        let page = read(page.as_bytes(), REPLICA).unwrap();
        assert_eq!((&*page.boot, page.probe.as_slice(), page.answers.len()), ("c0ffee", &probe[..], 2));
        assert_eq!(page.answers["web.shop"], BTreeMap::from([(Some(id("east")), 3)]));
        assert_eq!(page.answers["vip.shop"], BTreeMap::from([(None, 1)]));
    }

    #[test]
    fn a_replica_without_a_plan_has_answered_nothing() {
        assert_eq!(write("c0ffee", &[], None), r#"{"boot":"c0ffee","probe":[],"answers":{}}"#);
    }

    #[test]
    fn a_replica_that_listens_everywhere_is_probed_where_it_was_reached() {
        let probe = |text: &str, replica: &str| {
            let page = format!(r#"{{"boot":"1","probe":["{text}"],"answers":{{}}}}"#);
            read(page.as_bytes(), replica.parse().unwrap()).unwrap().probe
        };
        assert_eq!(probe("0.0.0.0:8053", "10.1.0.7"), ["10.1.0.7:8053".parse().unwrap()]);
        assert_eq!(probe("[::]:8053", "fd00::7"), ["[fd00::7]:8053".parse().unwrap()]);
        assert_eq!(probe("192.0.2.1:99", "10.1.0.7"), ["192.0.2.1:99".parse().unwrap()]);
        assert_eq!(probe("192.0.2.1:0", "10.1.0.7"), []);
    }

    #[test]
    fn what_is_no_page_says_what_is_wrong_with_it() {
        assert!(error("<html>").contains("not JSON"));
        assert!(error(r#"{"boot":"1"}"#).contains("missing field `answers`"));
        assert!(error(r#"{"boot":"1","answers":{"shop/web":{"east":-1}}}"#).contains("-1"));
        assert!(error(r#"{"boot":"1","probe":["east"],"answers":{}}"#).contains("not JSON as"));
        assert!(error(r#"{"boot":"","answers":{}}"#).contains("id of its process"));
        assert!(error(r#"{"boot":"a b","answers":{}}"#).contains("\"a b\""));
        assert!(error(r#"{"boot":"1","answers":{"web":{}}}"#).contains("not NAMESPACE/NAME"));
        assert!(error(r#"{"boot":"1","answers":{"shop/We.b":{}}}"#).contains("We.b"));
        assert!(error(r#"{"boot":"1","answers":{"shop/web":{"no cluster":1}}}"#).contains("no cluster"));
        let long = format!(r#"{{"boot":"1","answers":{{}}}}{}"#, " ".repeat(MOST_OCTETS));
        assert!(error(&long).contains("longer than 8 MiB"));
    }

    #[test]
    fn what_a_later_version_adds_is_ignored_and_an_absurd_count_is_cut() {
        let page = format!(r#"{{"boot":"1","new":{{}},"answers":{{"shop/web":{{"east":{}}}}}}}"#, u64::MAX);
        let page = read(page.as_bytes(), REPLICA).unwrap();
        assert_eq!(page.answers["web.shop"][&Some(id("east"))], MOST_ANSWERS);
    }
}
