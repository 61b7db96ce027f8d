//! The source and the age of each number that a plan is computed from.

use landfall_api::time::from_unix_seconds;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use landfall_core::export::Export;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::optimize;
use landfall_core::optimize::cost::UNKNOWN_RTT_MS;
use landfall_core::optimize::facts::Exporter;
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::{PlanningInput, Report};
use landfall_core::snapshot::NetworkView;
use serde::Serialize;

use crate::facts::PeerLink;
use crate::observe::fleet::{Fleet, Origin};
use crate::stores::Stores;

/// A number and its source.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// `None` if it is not known and no other value replaces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    pub from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<Time>,
    /// Absent if ages are not judged, as for files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
}

impl Input {
    fn assumed(value: Option<f64>, from: impl Into<String>) -> Self {
        Self { value, from: from.into(), ..Self::default() }
    }
}

/// Prints the source and the age, such as `ClusterFacts of west, 12 s ago`.
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.from)?;
        match self.age_seconds {
            Some(age @ 0..300) => write!(f, ", {age} s ago"),
            Some(age @ 300..18_000) => write!(f, ", {} min ago", age / 60),
            Some(age) => write!(f, ", {} h ago", age / 3600),
            None => Ok(()),
        }
    }
}

/// The inputs of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Origins {
    pub rtt_ms: Input,
    /// The next four are absent if they are 0 or not known, which means the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<Input>,
    /// Fraction of the packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Input>,
    /// Load that no plan explains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residual_rps: Option<Input>,
    /// Deviation of the load from the plan, as a fraction of the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<Input>,
    /// From the source to the exporter: requests.
    pub requests_usd_per_gb: Input,
    /// From the exporter to the source: responses.
    pub responses_usd_per_gb: Input,
    pub capacity_rps: Input,
    pub service_ms: Input,
}

/// Everything that the sources of the inputs of one service are looked up in.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceLookup<'a> {
    pub(super) stores: &'a Stores,
    pub(super) view: &'a NetworkView,
    pub(super) fleet: &'a Fleet<'a>,
    pub(super) key: &'a ServiceKey,
    pub(super) known: &'a PlanningInput,
    pub(super) objective: &'a Objective,
    /// Seconds since 1970. `None` if ages are not judged.
    pub(super) now: Option<u64>,
}

impl SourceLookup<'_> {
    pub(super) fn origins(&self, exporter: &ClusterId, export: Option<&Export>) -> Origins {
        let local = &self.view.local;
        Origins {
            rtt_ms: self.rtt(exporter),
            jitter_ms: self.of_link(exporter, |link| link.jitter_ms),
            loss: self.of_link(exporter, |link| link.loss),
            residual_rps: self.of_load(exporter, |exporter| exporter.residual_rps),
            deviation: self.of_load(exporter, |exporter| exporter.deviation),
            requests_usd_per_gb: self.price(local, exporter),
            responses_usd_per_gb: self.price(exporter, local),
            capacity_rps: self.capacity(exporter, export),
            service_ms: self.service_time(exporter),
        }
    }

    /// Returns the demand of the clients of a cluster.
    pub(super) fn demand(&self, source: &ClusterId) -> Input {
        let value = self.known.facts.sources.get(source).map(|source| source.demand_rps);
        match self.report(source) {
            _ if self.known.facts.demand_unknown => Input::assumed(
                None,
                "some demands are unknown, so the same is assumed for all clusters: half of the capacity in total",
            ),
            Some(report) if self.known.facts.sources.get(source).is_some_and(|source| source.counted) => {
                self.reported(source, value, Some(report.at))
            }
            _ => Input::assumed(value, "not counted there: its demand is in the residuals of the exporters"),
        }
    }

    fn rtt(&self, exporter: &ClusterId) -> Input {
        let rtt = self.fleet.rtt_ms(&self.view.local, exporter);
        match rtt.from {
            Origin::WithinCluster => Input::assumed(rtt.value, "within the cluster: assumed"),
            Origin::Measured => self.measured(exporter, rtt.value),
            Origin::Facts(by) => self.reported(by, rtt.value, self.observed(by)),
            Origin::PriceRule(_) | Origin::Assumed => Input::assumed(Some(UNKNOWN_RTT_MS), "not measured: assumed"),
        }
    }

    /// Returns a property of the link, unless it is 0 or not known.
    fn of_link(&self, exporter: &ClusterId, part: impl Fn(&PeerLink) -> Option<f64>) -> Option<Input> {
        let found = self.fleet.of_link(&self.view.local, exporter, part);
        let Origin::Facts(by) = found.from else { return None };
        let value = found.value.filter(|value| *value != 0.0)?;
        Some(self.reported(by, Some(value), self.observed(by)))
    }

    /// Returns a number that an exporter reports about its load, as the plan uses it.
    fn of_load(&self, exporter: &ClusterId, which: impl Fn(&Exporter) -> f64) -> Option<Input> {
        let value = which(self.if_all_ready().exporters.get(exporter)?);
        let report = self.report(exporter).filter(|_| value != 0.0)?;
        Some(self.reported(exporter, Some(value), Some(report.at)))
    }

    /// Returns the facts, including those of exporters that are not ready.
    fn if_all_ready(&self) -> &optimize::facts::Facts {
        self.known.if_all_ready.as_ref().unwrap_or(&self.known.facts)
    }

    /// Returns a round-trip time measured by Submariner's gateway or by a probe of Landfall.
    fn measured(&self, exporter: &ClusterId, value: Option<f64>) -> Input {
        let by = |gateway: &&crate::accept::Gateway| gateway.active && gateway.links.contains_key(exporter);
        let gateways = self.stores.network.gateways.values().filter(by);
        match gateways.max_by_key(|gateway| gateway.updated) {
            Some(gateway) => self.timed(value, "Gateway".to_owned(), gateway.updated),
            None => Input::assumed(value, format!("probes of {}", self.view.local)),
        }
    }

    fn price(&self, from: &ClusterId, to: &ClusterId) -> Input {
        let price = self.fleet.usd_per_gb(from, to);
        let value = Some(price.value);
        match price.from {
            Origin::WithinCluster => Input::assumed(value, "within the cluster: free"),
            Origin::Facts(by) => self.reported(by, value, self.observed(by)),
            Origin::PriceRule(rule) => Input::assumed(value, format!("NetworkPricing, rule {}", rule + 1)),
            Origin::Measured | Origin::Assumed => Input::assumed(value, "no NetworkPricing rule: free"),
        }
    }

    fn capacity(&self, exporter: &ClusterId, export: Option<&Export>) -> Input {
        let value = self.if_all_ready().exporters.get(exporter).map(|exporter| exporter.capacity_rps);
        match self.report(exporter) {
            Some(report) if report.capacity_rps.is_some() => self.reported(exporter, value, Some(report.at)),
            _ => {
                let each = self.objective.capacity_rps_per_pod;
                let from = match export {
                    Some(export) => {
                        format!("{} × capacityRpsPerPod {each}", self.fleet.pods(self.key, (exporter, export)))
                    }
                    None => "it exports nothing".to_owned(),
                };
                Input::assumed(value, from)
            }
        }
    }

    fn service_time(&self, exporter: &ClusterId) -> Input {
        match self.report(exporter) {
            Some(report) if report.service_ms > 0.0 => {
                self.reported(exporter, Some(report.service_ms), Some(report.at))
            }
            _ => Input::assumed(None, "not known: taken as 0"),
        }
    }

    fn report(&self, cluster: &ClusterId) -> Option<&Report> {
        self.fleet.clusters().get(cluster)?.services.get(self.key)
    }

    fn observed(&self, cluster: &ClusterId) -> Option<u64> {
        self.fleet.clusters().get(cluster)?.observed
    }

    fn reported(&self, by: &ClusterId, value: Option<f64>, observed: Option<u64>) -> Input {
        self.timed(value, format!("ClusterFacts of {by}"), observed)
    }

    fn timed(&self, value: Option<f64>, from: String, observed: Option<u64>) -> Input {
        let observed = observed.filter(|at| *at > 0);
        let age_seconds = self.now.zip(observed).map(|(now, at)| now.saturating_sub(at));
        Input { value, from, observed: observed.and_then(from_unix_seconds), age_seconds }
    }
}
