//! The optimizer's input of one service, from what each cluster reports of itself.
//!
//! Published facts take precedence, because the other clusters plan with them too. What they leave open comes from what is
//! seen here: round-trip times from gateways, locations from nodes, prices from price lists, capacities from ready endpoints.
//! Each look-up returns the value and where it comes from, so that `explain` names the source that was used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use landfall_core::export::Export;
use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
use landfall_core::optimize;
use landfall_core::optimize::cost::{Path, Tariff, UnitCost, unit_cost};
use landfall_core::optimize::facts::Source;
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::{CostMatrix, Method, PlanningInput, Report, planning_input};
use landfall_core::pricing::PriceTable;
use landfall_core::snapshot::NetworkView;

use super::context::ObserveContext;
use super::own_facts::{facts_of, mentioned, own_facts};
use super::path_costs::PathCosts;
use super::perspective::Age;
use crate::broker::connection::BrokerConnection;
use crate::facts::{ClusterFacts, PeerLink};
use crate::stores::Stores;

/// Round-trip time between two pods of one cluster, in milliseconds. Assumed.
pub const LOCAL_RTT_MS: f64 = 0.5;

/// All clusters that are known, and what they report.
#[derive(Debug)]
pub struct Fleet<'a> {
    stores: &'a Stores,
    view: &'a NetworkView,
    clusters: BTreeMap<ClusterId, Arc<ClusterFacts>>,
    /// Own facts as they were reported, without what is completed here.
    reported: Arc<ClusterFacts>,
    pricing: PriceTable,
    /// Seconds since 1970. `None`: facts are not judged by their age.
    now: Option<u64>,
    hearing: BrokerConnection,
    path_costs: &'a PathCosts,
}

/// A value, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sourced<'a, T> {
    pub value: T,
    pub from: Origin<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Origin<'a> {
    /// Both ends are one cluster.
    WithinCluster,
    /// ClusterFacts of this cluster.
    Facts(&'a ClusterId),
    /// A gateway or a probe of this cluster.
    Measured,
    /// A rule of the price list, counted from 0.
    PriceRule(usize),
    /// Nothing: a default stands for it.
    Assumed,
}

impl<'a> Fleet<'a> {
    pub fn observe(stores: &'a Stores, context: &ObserveContext<'a>) -> Self {
        let now = (context.age == Age::Live).then_some(context.now);
        Self::new(stores, context.view, (now, context.hearing), context.path_costs)
    }

    pub fn new(
        stores: &'a Stores,
        view: &'a NetworkView,
        (now, hearing): (Option<u64>, BrokerConnection),
        path_costs: &'a PathCosts,
    ) -> Self {
        let mentioned: BTreeSet<&ClusterId> = mentioned(stores).chain(view.links.keys()).collect();
        let facts = |cluster: &ClusterId| (cluster.clone(), facts_of(stores, cluster));
        let mut clusters: BTreeMap<ClusterId, Arc<ClusterFacts>> = mentioned.into_iter().map(facts).collect();
        let reported = facts_of(stores, &view.local);
        clusters.insert(view.local.clone(), Arc::new(own_facts(stores, view)));
        let pricing = stores.location.pricing();
        let fleet = Self { stores, view, clusters, reported, pricing, now, hearing, path_costs };
        fleet.path_costs.refresh(view, &fleet.pricing, &fleet.clusters);
        fleet
    }

    /// Facts of each cluster.
    pub fn clusters(&self) -> &BTreeMap<ClusterId, Arc<ClusterFacts>> {
        &self.clusters
    }

    /// The same fleet with other facts.
    #[must_use]
    pub fn with_facts(self, clusters: BTreeMap<ClusterId, Arc<ClusterFacts>>) -> Self {
        let fleet = Self { clusters, ..self };
        fleet.path_costs.refresh(fleet.view, &fleet.pricing, &fleet.clusters);
        fleet
    }

    /// Returns what one service is planned from.
    pub fn planning_input(
        &self,
        key: &ServiceKey,
        objective: &Objective,
        exports: &ByCluster<Export>,
    ) -> PlanningInput {
        let dated = |(cluster, facts): (&ClusterId, &Arc<ClusterFacts>)| {
            let report = facts.services.get(key)?;
            let at = self.now.map_or(0, |now| self.hearing.effective_time(report.at, now));
            Some((cluster.clone(), Report { at, ..*report }))
        };
        let reports = self.clusters.iter().filter_map(dated).collect();
        let costs = self.costs(objective);
        let from = (objective, self.now.unwrap_or_default());
        let capacity_rps = |cluster: &ClusterId| {
            let pods = self.pods(key, (cluster, exports.get(cluster)?));
            Some(pods.number() as f64 * objective.capacity_rps_per_pod)
        };
        let if_ready = |cluster: &ClusterId| capacity_rps(cluster).filter(|_| !exports[cluster].ready.is_empty());
        let mut input = planning_input(&reports, &costs, if_ready, from);
        if exports.values().any(|export| export.ready.is_empty()) {
            input.if_all_ready = Some(planning_input(&reports, &costs, capacity_rps, from).facts);
        }
        if !self.hearing.has_facts() {
            input.method = Method::Keep;
        }
        for facts in std::iter::once(&mut input.facts).chain(input.if_all_ready.as_mut()) {
            self.leave_out_idle_sources(facts);
            // Own traffic is looked up by the time at which the load was measured, and not by its effective age.
            for (cluster, exporter) in facts.exporters.iter_mut().filter(|(_, exporter)| exporter.measured_at > 0) {
                let report = self.clusters.get(cluster).and_then(|facts| facts.services.get(key));
                exporter.measured_at = report.map_or(0, |report| report.at);
            }
        }
        input
    }

    /// Returns how many pods an export is taken to have while it does not report its capacity.
    pub fn pods(&self, key: &ServiceKey, (cluster, export): (&ClusterId, &Export)) -> PodCount {
        let counted = if *cluster == self.view.local { self.stores.services.pods.count(key) } else { None };
        counted.map_or_else(|| PodCount::Endpoints(export.pods()), PodCount::Counted)
    }

    /// A source without demand changes no plan, and most clusters of a large fleet use few of its services.
    fn leave_out_idle_sources(&self, facts: &mut optimize::facts::Facts) {
        if !facts.demand_unknown {
            let counts =
                |(cluster, source): &(&ClusterId, &Source)| source.demand_rps > 0.0 || **cluster == self.view.local;
            // Not `retain`, which keeps the memory of all.
            let sources =
                facts.sources.iter().filter(counts).map(|(cluster, source)| (cluster.clone(), source.clone()));
            facts.sources = Arc::new(sources.collect());
        }
    }

    fn costs(&self, objective: &Objective) -> CostMatrix {
        self.path_costs.get(objective, || {
            let row = |source: &ClusterId| {
                let cost =
                    |exporter: &ClusterId| Some((exporter.clone(), self.path_cost(source, exporter, objective)?));
                (source.clone(), Arc::new(self.clusters.keys().filter_map(cost).collect()))
            };
            self.clusters.keys().map(row).collect()
        })
    }

    /// Returns `None` if the exporter is unreachable.
    fn path_cost(&self, source: &ClusterId, exporter: &ClusterId, objective: &Objective) -> Option<UnitCost> {
        let reported_unreachable = source != exporter && self.link(source, exporter).reachable == Some(false);
        if reported_unreachable || (*source == self.view.local && !self.view.reaches(exporter)) {
            return None;
        }
        let path = Path {
            rtt_ms: self.rtt_ms(source, exporter).value,
            jitter_ms: self.of_link(source, exporter, |link| link.jitter_ms).value.unwrap_or(0.0),
            loss: self.of_link(source, exporter, |link| link.loss).value.unwrap_or(0.0),
            round_trips: objective.round_trips,
        };
        let tariff = Tariff {
            to_exporter_usd_per_gb: self.usd_per_gb(source, exporter).value,
            to_source_usd_per_gb: self.usd_per_gb(exporter, source).value,
        };
        Some(unit_cost(path, tariff.usd_per_million(objective.bytes), objective.rate))
    }

    fn link(&self, by: &ClusterId, of: &ClusterId) -> PeerLink {
        let link = self.clusters.get(by).and_then(|facts| facts.links.get(of).copied());
        link.unwrap_or_default()
    }

    /// Round-trip time as the source measured it, else as the exporter did: it is as long from either end.
    pub fn rtt_ms<'s>(&'s self, source: &'s ClusterId, exporter: &'s ClusterId) -> Sourced<'s, Option<f64>> {
        if source == exporter {
            return Sourced { value: Some(LOCAL_RTT_MS), from: Origin::WithinCluster };
        }
        let found = self.of_link(source, exporter, |link| link.rtt_ms);
        let is_own = *source == self.view.local && found.from == Origin::Facts(source);
        let is_reported = self.reported.links.get(exporter).is_some_and(|link| link.rtt_ms.is_some());
        if is_own && !is_reported { Sourced { from: Origin::Measured, ..found } } else { found }
    }

    /// A part of a link as the source reports it, else as the exporter does. `None` within a cluster.
    pub fn of_link<'s>(
        &'s self,
        source: &'s ClusterId,
        exporter: &'s ClusterId,
        part: impl Fn(&PeerLink) -> Option<f64>,
    ) -> Sourced<'s, Option<f64>> {
        if source == exporter {
            return Sourced { value: None, from: Origin::WithinCluster };
        }
        let ends = [(source, exporter), (exporter, source)];
        let found = ends.into_iter().find_map(|(by, of)| Some((part(&self.link(by, of))?, by)));
        match found {
            Some((value, by)) => Sourced { value: Some(value), from: Origin::Facts(by) },
            None => Sourced { value: None, from: Origin::Assumed },
        }
    }

    /// Price as the sender reports it, else by the price lists here; free if neither knows it.
    pub fn usd_per_gb<'s>(&'s self, from: &'s ClusterId, to: &'s ClusterId) -> Sourced<'s, f64> {
        let free = |from| Sourced { value: 0.0, from };
        if from == to {
            return free(Origin::WithinCluster);
        }
        let (Some(sender), Some(receiver)) = (self.clusters.get(from), self.clusters.get(to)) else {
            return free(Origin::Assumed);
        };
        let facts = sender.egress_usd_per_gb.get(to).copied();
        let is_reported = *from != self.view.local || self.reported.egress_usd_per_gb.contains_key(to);
        if let Some(value) = facts.filter(|_| is_reported) {
            return Sourced { value, from: Origin::Facts(from) };
        }
        match self.pricing.usd_per_gb(&sender.location, &receiver.location) {
            Some(price) => Sourced { value: facts.unwrap_or(price.usd_per_gb), from: Origin::PriceRule(price.rule) },
            None => Sourced { value: facts.unwrap_or(0.0), from: Origin::Assumed },
        }
    }
}

/// Number of pods of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodCount {
    /// From the EndpointSlices that Kubernetes keeps for the local service.
    Counted(usize),
    /// From the endpoints of the clusterset.
    Endpoints(usize),
}

impl PodCount {
    /// Returns at least one: an export without ready pods is taken to have what one pod has.
    pub fn number(self) -> usize {
        let (Self::Counted(number) | Self::Endpoints(number)) = self;
        number.max(1)
    }
}

/// `3 ready pods`
impl fmt::Display for PodCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number();
        let noun = match self {
            Self::Counted(_) => "pod",
            Self::Endpoints(_) => "endpoint",
        };
        write!(f, "{number} ready {noun}{}", if number == 1 { "" } else { "s" })
    }
}
