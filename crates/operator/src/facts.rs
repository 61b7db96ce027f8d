//! What the optimiser knows of the fleet, from what each cluster says of itself: pure, as all that follows from the stores.
//!
//! What a cluster says in its ClusterFacts comes first. What that leaves open comes from what is seen here: round-trip times
//! from the gateways, places from the nodes, prices from the price lists, capacities from the ready endpoints.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::optimize::cost::{Path, Tariff, UnitCost, unit_cost};
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::{Costs, Known, Report, facts};
use landfall_core::pricing::PriceTable;
use landfall_core::snapshot::{Export, View};

use crate::accept::{Facts, PeerLink};
use crate::stores::Stores;

/// The way from a pod to another one of its own cluster.
const LOCAL: PeerLink = PeerLink { rtt_ms: Some(0.5), jitter_ms: None, loss: None, reachable: Some(true) };

/// What the local cluster tells the others.
pub fn own(stores: &Stores, view: &View) -> Facts {
    let said = stores.facts.get(&view.local).map(|facts| Facts::clone(facts));
    let mut own = said.unwrap_or_else(|| Facts::silent(view.local.clone()));
    if own.location == Default::default() {
        own.location = stores.location().unwrap_or_default();
    }
    for (peer, link) in &view.links {
        let rtt_ms = link.rtt.map(|rtt| rtt.as_micros() as f64 / 1000.0);
        let known = own.links.entry(peer.clone()).or_default();
        known.rtt_ms = rtt_ms.or(known.rtt_ms);
        known.reachable = Some(link.reachable);
    }
    own
}

/// All clusters that are known, and what they say.
#[derive(Debug)]
pub struct Fleet<'a> {
    view: &'a View,
    clusters: BTreeMap<ClusterId, Arc<Facts>>,
    pricing: PriceTable,
    /// Seconds since 1970. `None`: facts are not judged by their age.
    now: Option<u64>,
    /// Policies are few and services many: those that weigh alike share their costs.
    costs: RefCell<Vec<(Objective, Costs)>>,
}

impl<'a> Fleet<'a> {
    pub fn new(stores: &Stores, view: &'a View, now: Option<u64>) -> Self {
        let mut clusters: BTreeMap<ClusterId, Arc<Facts>> = stores.facts.clone();
        clusters.extend(stores.peers.iter().map(|(id, facts)| (id.clone(), Arc::clone(facts))));
        clusters.insert(view.local.clone(), Arc::new(own(stores, view)));
        let mentioned = view.links.keys().chain(stores.imports.values().flat_map(|import| &import.exporters));
        for cluster in mentioned.collect::<BTreeSet<_>>() {
            clusters.entry(cluster.clone()).or_insert_with(|| Arc::new(Facts::silent(cluster.clone())));
        }
        Self { view, clusters, pricing: stores.pricing(), now, costs: RefCell::default() }
    }

    /// What there is to decide from about one service.
    pub fn known(&self, key: &ServiceKey, objective: &Objective, exports: &BTreeMap<ClusterId, Export>) -> Known {
        let report = |(cluster, facts): (&ClusterId, &Arc<Facts>)| {
            let said = facts.services.get(key).copied().unwrap_or_default();
            let ready = exports.get(cluster).map_or(0, |export| export.ready.len());
            let capacity_rps = said.capacity_rps.unwrap_or(ready as f64 * objective.capacity_rps_per_pod);
            (cluster.clone(), Report { at: self.at(&said), capacity_rps: Some(capacity_rps), ..said })
        };
        let reports = self.clusters.iter().map(report).collect();
        let ready = |cluster: &ClusterId| exports.get(cluster).is_some_and(|export| !export.ready.is_empty());
        facts(&reports, &self.costs(objective), ready, (objective, self.now.unwrap_or_default()))
    }

    /// Who does not say when it measured is believed to have done so now.
    fn at(&self, said: &Report) -> u64 {
        let now = self.now.unwrap_or_default();
        if self.now.is_some() && said.at > 0 { said.at } else { now }
    }

    fn costs(&self, objective: &Objective) -> Costs {
        let mut all = self.costs.borrow_mut();
        if let Some((_, costs)) = all.iter().find(|(of, _)| of.costs_like(objective)) {
            return costs.clone();
        }
        let row = |source: &ClusterId| {
            let way = |exporter: &ClusterId| Some((exporter.clone(), self.way(source, exporter, objective)?));
            (source.clone(), Arc::new(self.clusters.keys().filter_map(way).collect()))
        };
        let costs: Costs = self.clusters.keys().map(row).collect();
        all.push((*objective, costs.clone()));
        costs
    }

    /// `None`: there is none.
    fn way(&self, source: &ClusterId, exporter: &ClusterId, objective: &Objective) -> Option<UnitCost> {
        let link = if source == exporter { LOCAL } else { self.link(source, exporter) };
        let unreachable = link.reachable == Some(false) || (*source == self.view.local && !self.view.reaches(exporter));
        if unreachable {
            return None;
        }
        let path = Path {
            rtt_ms: link.rtt_ms,
            jitter_ms: link.jitter_ms.unwrap_or(0.0),
            loss: link.loss.unwrap_or(0.0),
            round_trips: objective.round_trips,
        };
        let tariff = Tariff {
            to_exporter_usd_per_gb: self.usd_per_gb(source, exporter),
            to_source_usd_per_gb: self.usd_per_gb(exporter, source),
        };
        Some(unit_cost(path, tariff.usd_per_million(objective.bytes), objective.rate))
    }

    /// As the source measured it, else as the exporter did: a round trip is as long from either end.
    fn link(&self, source: &ClusterId, exporter: &ClusterId) -> PeerLink {
        let said = |by: &ClusterId, of: &ClusterId| self.clusters.get(by)?.links.get(of).copied();
        let (there, back) = (said(source, exporter).unwrap_or_default(), said(exporter, source).unwrap_or_default());
        PeerLink {
            rtt_ms: there.rtt_ms.or(back.rtt_ms),
            jitter_ms: there.jitter_ms.or(back.jitter_ms),
            loss: there.loss.or(back.loss),
            reachable: there.reachable,
        }
    }

    /// What the sender says that it is billed, else by the price lists here; 0 when neither knows.
    fn usd_per_gb(&self, from: &ClusterId, to: &ClusterId) -> f64 {
        let (Some(sender), Some(receiver)) = (self.clusters.get(from), self.clusters.get(to)) else { return 0.0 };
        let listed = || self.pricing.usd_per_gb(&sender.location, &receiver.location).map(|price| price.usd_per_gb);
        let said = sender.egress_usd_per_gb.get(to).copied();
        if from == to { 0.0 } else { said.or_else(listed).unwrap_or(0.0) }
    }
}
