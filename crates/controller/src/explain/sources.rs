//! Where each number comes from that a plan is computed from, and how old it is: by the same order in which `facts` looks.

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

use crate::facts::{Facts, PeerLink};
use crate::observe::fleet::Fleet;
use crate::stores::Stores;

/// A number, and who says it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// `None`: not known, and nothing stands for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    pub from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<Time>,
    /// Absent where ages are not judged, as in files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
}

impl Input {
    fn assumed(value: Option<f64>, from: impl Into<String>) -> Self {
        Self { value, from: from.into(), ..Self::default() }
    }
}

/// `ClusterFacts of west, 12 s ago`
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
    /// These four are absent where they are 0 or not known, which is the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<Input>,
    /// The part of the packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Input>,
    /// What no plan explains of its load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residual_rps: Option<Input>,
    /// How far its load strays from the plan, as a part of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<Input>,
    /// From the source to it: requests.
    pub requests_usd_per_gb: Input,
    /// From it to the source: responses.
    pub responses_usd_per_gb: Input,
    pub capacity_rps: Input,
    pub service_ms: Input,
}

/// What there is to look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) stores: &'a Stores,
    pub(super) view: &'a NetworkView,
    pub(super) fleet: &'a Fleet<'a>,
    pub(super) key: &'a ServiceKey,
    pub(super) known: &'a PlanningInput,
    pub(super) objective: &'a Objective,
    /// Seconds since 1970. `None`: ages are not judged.
    pub(super) now: Option<u64>,
}

impl Ground<'_> {
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

    /// What the clients of a cluster ask for.
    pub(super) fn demand(&self, source: &ClusterId) -> Input {
        let value = self.known.facts.sources.get(source).map(|source| source.demand_rps);
        match self.report(source) {
            _ if self.known.facts.demand_unknown => {
                Input::assumed(None, "nobody knows all demands: half of the capacity is assumed, from all alike")
            }
            Some(report) if self.known.facts.sources.get(source).is_some_and(|source| source.counted) => {
                self.said(source, value, Some(report.at))
            }
            _ => Input::assumed(value, "not counted there: what it asks for is in the residuals of the exporters"),
        }
    }

    fn rtt(&self, exporter: &ClusterId) -> Input {
        let local = &self.view.local;
        if exporter == local {
            return Input::assumed(Some(0.5), "within the cluster: assumed");
        }
        let rtt = |by: &ClusterId, of: &ClusterId| self.fleet.clusters().get(by)?.links.get(of)?.rtt_ms;
        let value = self.fleet.link(local, exporter).rtt_ms;
        let written = self.own().find_map(|facts| facts.links.get(exporter)?.rtt_ms);
        let measured = self.view.links.get(exporter).and_then(|link| link.rtt);
        if written.is_some() {
            self.said(local, value, self.observed(local))
        } else if measured.is_some() {
            self.measured(exporter, value)
        } else if rtt(local, exporter).is_some() {
            self.said(local, value, self.observed(local))
        } else if rtt(exporter, local).is_some() {
            self.said(exporter, value, self.observed(exporter))
        } else {
            Input::assumed(Some(UNKNOWN_RTT_MS), "nobody has measured it: assumed")
        }
    }

    /// As the source says it, else the exporter, in the order in which [`Fleet::link`] asks them.
    fn of_link(&self, exporter: &ClusterId, which: impl Fn(&PeerLink) -> Option<f64>) -> Option<Input> {
        let local = &self.view.local;
        let said = |by: &'_ ClusterId, of| which(self.fleet.clusters().get(by)?.links.get(of)?);
        let by = if said(local, exporter).is_some() { local } else { exporter };
        let value = which(&self.fleet.link(local, exporter)).filter(|value| *value != 0.0 && exporter != local)?;
        Some(self.said(by, Some(value), self.observed(by)))
    }

    /// Of what an exporter says of its load, as it counts.
    fn of_load(&self, exporter: &ClusterId, which: impl Fn(&Exporter) -> f64) -> Option<Input> {
        let value = which(self.whole().exporters.get(exporter)?);
        let report = self.report(exporter).filter(|_| value != 0.0)?;
        Some(self.said(exporter, Some(value), Some(report.at)))
    }

    /// Also of those that cannot answer.
    fn whole(&self) -> &optimize::facts::Facts {
        self.known.if_all_ready.as_ref().unwrap_or(&self.known.facts)
    }

    /// By Submariner's gateway, or by a probe of our own.
    fn measured(&self, exporter: &ClusterId, value: Option<f64>) -> Input {
        let by = |gateway: &&crate::accept::Gateway| gateway.active && gateway.links.contains_key(exporter);
        let gateways = self.stores.network.gateways.values().filter(by);
        match gateways.max_by_key(|gateway| gateway.updated) {
            Some(gateway) => self.timed(value, "Gateway".to_owned(), gateway.updated),
            None => Input::assumed(value, format!("probes of {}", self.view.local)),
        }
    }

    fn price(&self, from: &ClusterId, to: &ClusterId) -> Input {
        if from == to {
            return Input::assumed(Some(0.0), "within the cluster: free");
        }
        let value = Some(self.fleet.usd_per_gb(from, to));
        // What the local cluster tells the others is filled from its own price list.
        let said_of = match *from == self.view.local {
            true => self.own().find_map(|facts| facts.egress_usd_per_gb.get(to)),
            false => self.fleet.clusters().get(from).and_then(|facts| facts.egress_usd_per_gb.get(to)),
        };
        if said_of.is_some() {
            return self.said(from, value, self.observed(from));
        }
        let place = |cluster: &ClusterId| self.fleet.clusters().get(cluster).map(|facts| &facts.location);
        let places = place(from).zip(place(to));
        match places.and_then(|(from, to)| self.fleet.pricing().usd_per_gb(from, to)) {
            Some(price) => Input::assumed(value, format!("NetworkPricing, rule {}", price.rule + 1)),
            None => Input::assumed(value, "no rule of a NetworkPricing: free"),
        }
    }

    fn capacity(&self, exporter: &ClusterId, export: Option<&Export>) -> Input {
        let value = self.whole().exporters.get(exporter).map(|exporter| exporter.capacity_rps);
        match self.report(exporter) {
            Some(report) if report.capacity_rps.is_some() => self.said(exporter, value, Some(report.at)),
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
            Some(report) if report.service_ms > 0.0 => self.said(exporter, Some(report.service_ms), Some(report.at)),
            _ => Input::assumed(None, "not known: taken as 0"),
        }
    }

    /// What this cluster itself has told the others: on the broker, and what a person wrote for it.
    fn own(&self) -> impl Iterator<Item = &Facts> {
        let local = &self.view.local;
        [&self.stores.facts.peers, &self.stores.facts.objects]
            .into_iter()
            .filter_map(|said| said.get(local))
            .map(AsRef::as_ref)
    }

    fn report(&self, cluster: &ClusterId) -> Option<&Report> {
        self.fleet.clusters().get(cluster)?.services.get(self.key)
    }

    fn observed(&self, cluster: &ClusterId) -> Option<u64> {
        self.fleet.clusters().get(cluster)?.observed
    }

    fn said(&self, by: &ClusterId, value: Option<f64>, observed: Option<u64>) -> Input {
        self.timed(value, format!("ClusterFacts of {by}"), observed)
    }

    fn timed(&self, value: Option<f64>, from: String, observed: Option<u64>) -> Input {
        let observed = observed.filter(|at| *at > 0);
        let age_seconds = self.now.zip(observed).map(|(now, at)| now.saturating_sub(at));
        Input { value, from, observed: observed.and_then(from_unix_seconds), age_seconds }
    }
}
