//! Report of a DNS replica: how many of its answers named each cluster. This module writes and reads it.
//!
//! ```json
//! {"boot": "9f3c…", "probe": ["0.0.0.0:8053"], "answers": {"shop/web": {"east": 123, "west": 45}}}
//! ```
//!
//! `boot` is unique to each process, and counts start with the process. Answers with a clusterset IP count for the
//! cluster `""`. Counts of 0 are left out.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use landfall_core::name::{ClusterId, InvalidName, ServiceKey};
use landfall_core::plan::{Plan, ServicePlan};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Limit of a report. 10,000 services with 20 clusters each take 4 MB.
pub const MAX_REPORT_BYTES: usize = 8 << 20;
/// Limit of a count. A float represents it exactly, and more than a thousand of them can be added. A million answers
/// per second reach it after 285 years.
const MAX_ANSWERS: u64 = 1 << 53;
const MAX_PROCESS_ID_BYTES: usize = 64;
/// Limit of probe addresses of one replica.
const MAX_PROBES: usize = 16;

/// Answers by service and cluster. `None` stands for answers with a clusterset IP.
pub type Counts = BTreeMap<ServiceKey, BTreeMap<Option<ClusterId>, u64>>;

/// An accepted report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswersReport {
    /// Identifies the process. `boot` in JSON.
    pub process_id: Box<str>,
    /// Addresses at which other clusters can probe the replica.
    pub probe: Vec<SocketAddr>,
    pub answers: Counts,
}

/// Reason why a report is refused. The message continues a sentence: "the report of 10.1.0.7 is longer than 8 MiB".
#[derive(Debug, Error)]
pub enum AnswersReportError {
    #[error("is longer than {} MiB", MAX_REPORT_BYTES >> 20)]
    TooLong,
    #[error("is not JSON as a DNS replica writes it: {0}")]
    Json(#[source] serde_json::Error),
    #[error("has {0:?} as the id of its process, and not 1 to {MAX_PROCESS_ID_BYTES} letters and digits")]
    ProcessId(String),
    #[error("has {0:?} among its services, which is not NAMESPACE/NAME")]
    Form(String),
    #[error("has a wrong name: {0}")]
    Name(#[from] InvalidName),
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "boot")]
    process_id: String,
    #[serde(default)]
    probe: Vec<SocketAddr>,
    answers: BTreeMap<String, BTreeMap<String, u64>>,
}

/// Returns the report of a replica as JSON. `plan` is `None` before the first plan.
pub fn write(process_id: &str, probe: &[SocketAddr], plan: Option<&Plan>) -> String {
    let services = plan.into_iter().flat_map(Plan::services);
    let answers = services.map(|(key, planned)| (key.to_string(), counts(planned)));
    let answers = answers.filter(|(_, counts)| !counts.is_empty()).collect();
    let wire = Wire { process_id: process_id.to_owned(), probe: probe.to_vec(), answers };
    serde_json::to_string(&wire).expect("maps by text, of numbers, can always be written")
}

fn counts(planned: &ServicePlan) -> BTreeMap<String, u64> {
    let some = planned.answered().filter(|(_, count)| *count > 0);
    some.map(|(cluster, count)| (cluster.map(ToString::to_string).unwrap_or_default(), count)).collect()
}

/// Reads a report. A probe address of `0.0.0.0` or `::` stands for all addresses of the replica; it is replaced with
/// `replica`, the address at which the report was collected.
pub fn read(bytes: &[u8], replica: IpAddr) -> Result<AnswersReport, AnswersReportError> {
    if bytes.len() > MAX_REPORT_BYTES {
        return Err(AnswersReportError::TooLong);
    }
    let Wire { process_id, probe, answers } = serde_json::from_slice(bytes).map_err(AnswersReportError::Json)?;
    if process_id.is_empty()
        || process_id.len() > MAX_PROCESS_ID_BYTES
        || !process_id.bytes().all(|byte| byte.is_ascii_alphanumeric())
    {
        return Err(AnswersReportError::ProcessId(process_id.chars().take(MAX_PROCESS_ID_BYTES).collect()));
    }
    let reached = |probe: SocketAddr| match probe.ip().is_unspecified() {
        true => SocketAddr::new(replica, probe.port()),
        false => probe,
    };
    let probe = probe.into_iter().filter(|probe| probe.port() != 0).take(MAX_PROBES).map(reached).collect();
    let answers = answers.into_iter().map(|(service, counts)| Ok((key(&service)?, by_cluster(counts)?)));
    Ok(AnswersReport {
        process_id: process_id.into(),
        probe,
        answers: answers.collect::<Result<_, AnswersReportError>>()?,
    })
}

fn key(service: &str) -> Result<ServiceKey, AnswersReportError> {
    let (namespace, name) = service.split_once('/').ok_or_else(|| AnswersReportError::Form(service.to_owned()))?;
    Ok(ServiceKey::new(namespace, name)?)
}

fn by_cluster(counts: BTreeMap<String, u64>) -> Result<BTreeMap<Option<ClusterId>, u64>, AnswersReportError> {
    let parsed = counts.into_iter().map(|(cluster, count)| {
        let cluster = if cluster.is_empty() { None } else { Some(ClusterId::new(&cluster)?) };
        Ok((cluster, count.min(MAX_ANSWERS)))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use landfall_core::export::{Endpoint, Export, Family};
    use landfall_core::plan::plan;
    use landfall_core::snapshot::{NetworkView, RuleSource, Service, ServiceKind, Snapshot};

    use super::*;

    const REPLICA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 7));

    fn id(cluster: &str) -> ClusterId {
        ClusterId::new(cluster).unwrap()
    }

    fn plan_with_exports() -> Plan {
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

    fn error(report: &str) -> String {
        read(report.as_bytes(), REPLICA).unwrap_err().to_string()
    }

    #[test]
    fn report_is_read_as_it_was_written() {
        let plan = plan_with_exports();
        (0..3).for_each(|point| assert!(plan.get("web.shop").unwrap().answer_with_one(Family::Ipv4, point).is_some()));
        plan.get("vip.shop").unwrap().count_clusterset_answer();
        let probe = ["10.9.0.1:8053".parse().unwrap(), "[fd00::1]:8053".parse().unwrap()];
        let report = write("c0ffee", &probe, Some(&plan));
        let expected = concat!(
            r#"{"boot":"c0ffee","probe":["10.9.0.1:8053","[fd00::1]:8053"],"#,
            r#""answers":{"shop/vip":{"":1},"shop/web":{"east":3}}}"#
        );
        assert_eq!(report, expected);
        let report = read(report.as_bytes(), REPLICA).unwrap();
        assert_eq!((&*report.process_id, report.probe.as_slice(), report.answers.len()), ("c0ffee", &probe[..], 2));
        assert_eq!(report.answers["web.shop"], BTreeMap::from([(Some(id("east")), 3)]));
        assert_eq!(report.answers["vip.shop"], BTreeMap::from([(None, 1)]));
    }

    #[test]
    fn replica_without_a_plan_reports_no_answers() {
        assert_eq!(write("c0ffee", &[], None), r#"{"boot":"c0ffee","probe":[],"answers":{}}"#);
    }

    #[test]
    fn unspecified_probe_address_is_replaced_with_the_address_of_the_replica() {
        let probe = |text: &str, replica: &str| {
            let report = format!(r#"{{"boot":"1","probe":["{text}"],"answers":{{}}}}"#);
            read(report.as_bytes(), replica.parse().unwrap()).unwrap().probe
        };
        assert_eq!(probe("0.0.0.0:8053", "10.1.0.7"), ["10.1.0.7:8053".parse().unwrap()]);
        assert_eq!(probe("[::]:8053", "fd00::7"), ["[fd00::7]:8053".parse().unwrap()]);
        assert_eq!(probe("192.0.2.1:99", "10.1.0.7"), ["192.0.2.1:99".parse().unwrap()]);
        assert_eq!(probe("192.0.2.1:0", "10.1.0.7"), []);
    }

    #[test]
    fn error_of_an_invalid_report_names_the_problem() {
        assert!(error("<html>").contains("not JSON"));
        assert!(error(r#"{"boot":"1"}"#).contains("missing field `answers`"));
        assert!(error(r#"{"boot":"1","answers":{"shop/web":{"east":-1}}}"#).contains("-1"));
        assert!(error(r#"{"boot":"1","probe":["east"],"answers":{}}"#).contains("not JSON as"));
        assert!(error(r#"{"boot":"","answers":{}}"#).contains("id of its process"));
        assert!(error(r#"{"boot":"a b","answers":{}}"#).contains("\"a b\""));
        assert!(error(r#"{"boot":"1","answers":{"web":{}}}"#).contains("not NAMESPACE/NAME"));
        assert!(error(r#"{"boot":"1","answers":{"shop/We.b":{}}}"#).contains("We.b"));
        assert!(error(r#"{"boot":"1","answers":{"shop/web":{"no cluster":1}}}"#).contains("no cluster"));
        let long = format!(r#"{{"boot":"1","answers":{{}}}}{}"#, " ".repeat(MAX_REPORT_BYTES));
        assert!(error(&long).contains("longer than 8 MiB"));
    }

    #[test]
    fn unknown_fields_are_ignored_and_excessive_counts_are_clipped() {
        let report = format!(r#"{{"boot":"1","new":{{}},"answers":{{"shop/web":{{"east":{}}}}}}}"#, u64::MAX);
        let report = read(report.as_bytes(), REPLICA).unwrap();
        assert_eq!(report.answers["web.shop"][&Some(id("east"))], MAX_ANSWERS);
    }
}
