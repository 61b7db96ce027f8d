//! What the optimiser knows of the fleet, from what each cluster says of itself: pure, as all that follows from the stores.
//!
//! What a cluster says in its ClusterFacts comes first, because the others plan with it too. What that leaves open comes from
//! what is seen here: round-trip times from the gateways, places from the nodes, prices from the price lists, capacities from
//! the ready endpoints.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use landfall_core::export::Export;
use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
use landfall_core::optimize;
use landfall_core::optimize::cost::{Path, Tariff, UnitCost, unit_cost};
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report;
use landfall_core::optimize::report::{CostMatrix, Method, Report, planning_input};
use landfall_core::pricing::{Location, PriceTable};
use landfall_core::snapshot::NetworkView;

use crate::broker::connection::Hearing;
use crate::facts::{Facts, PeerLink};
use crate::stores::Stores;

/// The way from a pod to another one of its own cluster.
const LOCAL: PeerLink = PeerLink { rtt_ms: Some(0.5), jitter_ms: None, loss: None, reachable: Some(true) };

/// What the local cluster says of itself as a whole, as it is now: what is to be published.
pub fn head(stores: &Stores, view: &NetworkView) -> Facts {
    let said = stores.facts.objects.get(&view.local).map(|facts| Facts::clone(facts));
    let mut head = said.unwrap_or_else(|| Facts::silent(view.local.clone()));
    for (peer, probed) in &stores.network.links {
        let known = head.links.entry(peer.clone()).or_default();
        *known = PeerLink {
            rtt_ms: known.rtt_ms.or_else(|| view.links.get(peer)?.rtt.map(ms)).or(probed.rtt_ms),
            jitter_ms: known.jitter_ms.or(probed.jitter_ms),
            loss: known.loss.or(probed.loss),
            reachable: known.reachable,
        };
    }
    completed(head, stores, view)
}

fn ms(rtt: Duration) -> f64 {
    rtt.as_micros() as f64 / 1000.0
}

/// What the local cluster has told the others, and for what that leaves open what is seen here.
pub fn own(stores: &Stores, view: &NetworkView) -> Facts {
    let mut own = Facts::clone(&said_by(stores, &view.local));
    // Who can be reached is seen here sooner than it comes back from the broker, if that is there at all.
    let people = stores.facts.objects.get(&view.local);
    for (peer, link) in &mut own.links {
        link.reachable = people.and_then(|said| said.links.get(peer)?.reachable);
    }
    completed(own, stores, view)
}

fn completed(mut own: Facts, stores: &Stores, view: &NetworkView) -> Facts {
    if own.location == Location::default() {
        own.location = stores.location.of_cluster().unwrap_or_default();
    }
    for (peer, link) in &view.links {
        let known = own.links.entry(peer.clone()).or_default();
        known.rtt_ms = known.rtt_ms.or_else(|| link.rtt.map(ms));
        known.reachable = known.reachable.or(Some(link.reachable));
    }
    let others: BTreeSet<&ClusterId> = others(stores).filter(|cluster| **cluster != view.local).collect();
    for cluster in others.iter().filter(|cluster| !view.reaches(cluster)) {
        own.links.entry((*cluster).clone()).or_default().reachable.get_or_insert(false);
    }
    let pricing = stores.location.pricing();
    for cluster in others {
        let Some(place) = place_of(stores, cluster) else { continue };
        if let Some(price) = pricing.usd_per_gb(&own.location, place) {
            own.egress_usd_per_gb.entry(cluster.clone()).or_insert(price.usd_per_gb);
        }
    }
    own
}

/// Everybody who is mentioned.
fn others(stores: &Stores) -> impl Iterator<Item = &ClusterId> {
    stores.facts.objects.keys().chain(stores.facts.peers.keys()).chain(stores.services.imports.exporters())
}

/// Where another cluster says that it is.
fn place_of<'a>(stores: &'a Stores, cluster: &ClusterId) -> Option<&'a Location> {
    let said = [&stores.facts.peers, &stores.facts.objects].into_iter().filter_map(|all| all.get(cluster));
    said.map(|facts| &facts.location).find(|place| **place != Location::default())
}

/// What another cluster says, in its objects and in this process.
fn said_by(stores: &Stores, cluster: &ClusterId) -> Arc<Facts> {
    match (stores.facts.objects.get(cluster), stores.facts.peers.get(cluster)) {
        (Some(in_objects), Some(itself)) => Arc::new(Facts::clone(in_objects).with_newer(itself)),
        (Some(said), None) | (None, Some(said)) => Arc::clone(said),
        (None, None) => Arc::new(Facts::silent(cluster.clone())),
    }
}

/// All clusters that are known, and what they say.
#[derive(Debug)]
pub struct Fleet<'a> {
    stores: &'a Stores,
    view: &'a NetworkView,
    clusters: BTreeMap<ClusterId, Arc<Facts>>,
    pricing: PriceTable,
    /// Seconds since 1970. `None`: facts are not judged by their age.
    now: Option<u64>,
    hearing: Hearing,
    ways: &'a Ways,
}

/// What the ways of the fleet cost, for as long as nothing of it changes. Policies are few and services many: those that
/// weigh alike share their costs.
#[derive(Debug, Default)]
pub struct Ways(RefCell<Option<Known>>);

/// What costs were computed from, and the costs.
#[derive(Debug)]
struct Known {
    view: NetworkView,
    pricing: PriceTable,
    /// Without their services: the facts of a round are not to be kept for as long as ways stay.
    clusters: Vec<Facts>,
    costs: Vec<(Objective, CostMatrix)>,
}

impl<'a> Fleet<'a> {
    pub fn new(
        stores: &'a Stores,
        view: &'a NetworkView,
        (now, hearing): (Option<u64>, Hearing),
        ways: &'a Ways,
    ) -> Self {
        let mentioned: BTreeSet<&ClusterId> = others(stores).chain(view.links.keys()).collect();
        let facts = |cluster: &ClusterId| (cluster.clone(), said_by(stores, cluster));
        let mut clusters: BTreeMap<ClusterId, Arc<Facts>> = mentioned.into_iter().map(facts).collect();
        clusters.insert(view.local.clone(), Arc::new(own(stores, view)));
        let fleet = Self { stores, view, clusters, pricing: stores.location.pricing(), now, hearing, ways };
        fleet.forget_what_has_changed();
        fleet
    }

    /// What each cluster says.
    pub fn clusters(&self) -> &BTreeMap<ClusterId, Arc<Facts>> {
        &self.clusters
    }

    /// The same fleet, if its clusters said something else.
    #[must_use]
    pub fn saying(self, clusters: BTreeMap<ClusterId, Arc<Facts>>) -> Self {
        let fleet = Self { clusters, ..self };
        fleet.forget_what_has_changed();
        fleet
    }

    pub fn pricing(&self) -> &PriceTable {
        &self.pricing
    }

    fn forget_what_has_changed(&self) {
        let mut known = self.ways.0.borrow_mut();
        let same = |known: &Known| {
            known.view == *self.view
                && known.pricing == self.pricing
                && known.clusters.iter().map(network).eq(self.clusters.values().map(Arc::as_ref).map(network))
        };
        if !known.as_ref().is_some_and(same) {
            let without_services = |facts: &Arc<Facts>| Facts {
                services: Arc::default(),
                answers_rps: Arc::default(),
                ..Facts::clone(facts)
            };
            let clusters = self.clusters.values().map(without_services).collect();
            let (view, pricing) = (self.view.clone(), self.pricing.clone());
            *known = Some(Known { view, pricing, clusters, costs: Vec::new() });
        }
    }

    /// What there is to decide from about one service.
    pub fn known(&self, key: &ServiceKey, objective: &Objective, exports: &ByCluster<Export>) -> report::PlanningInput {
        let said = |(cluster, facts): (&ClusterId, &Arc<Facts>)| {
            let report = facts.services.get(key)?;
            let at = self.now.map_or(0, |now| self.hearing.counts_as_of(report.at, now));
            Some((cluster.clone(), Report { at, ..*report }))
        };
        let reports = self.clusters.iter().filter_map(said).collect();
        let costs = self.costs(objective);
        let from = (objective, self.now.unwrap_or_default());
        let able = |cluster: &ClusterId| {
            let pods = self.pods(key, (cluster, exports.get(cluster)?));
            Some(pods.number() as f64 * objective.capacity_rps_per_pod)
        };
        let ready = |cluster: &ClusterId| able(cluster).filter(|_| !exports[cluster].ready.is_empty());
        let mut known = planning_input(&reports, &costs, ready, from);
        if exports.values().any(|export| export.ready.is_empty()) {
            known.if_all_ready = Some(planning_input(&reports, &costs, able, from).facts);
        }
        if !self.hearing.knows() {
            known.method = Method::Keep;
        }
        for facts in std::iter::once(&mut known.facts).chain(known.if_all_ready.as_mut()) {
            self.leave_out_idle_sources(facts);
            // What was sent is looked up by the time at which the load was measured, and not by how old that counts.
            for (cluster, exporter) in facts.exporters.iter_mut().filter(|(_, exporter)| exporter.measured_at > 0) {
                let said = self.clusters.get(cluster).and_then(|facts| facts.services.get(key));
                exporter.measured_at = said.map_or(0, |report| report.at);
            }
        }
        known
    }

    /// What an export is taken to consist of while it does not say what it can bear.
    pub(crate) fn pods(&self, key: &ServiceKey, (cluster, export): (&ClusterId, &Export)) -> Pods {
        let counted = if *cluster == self.view.local { self.stores.services.pods.count(key) } else { None };
        counted.map_or_else(|| Pods::Endpoints(export.pods()), Pods::Counted)
    }

    /// Who asks for nothing changes no plan. Most clusters of a large fleet ask for few of its services.
    fn leave_out_idle_sources(&self, facts: &mut optimize::facts::Facts) {
        if !facts.demand_unknown {
            let asks = |(cluster, source): &(&ClusterId, &optimize::facts::Source)| {
                source.demand_rps > 0.0 || **cluster == self.view.local
            };
            // Not `retain`, which keeps the room of all.
            let asking = facts.sources.iter().filter(asks).map(|(cluster, source)| (cluster.clone(), source.clone()));
            facts.sources = Arc::new(asking.collect());
        }
    }

    fn costs(&self, objective: &Objective) -> CostMatrix {
        let mut known = self.ways.0.borrow_mut();
        let computed = known.iter().flat_map(|known| &known.costs).find(|(of, _)| of.costs_like(objective));
        if let Some((_, costs)) = computed {
            return costs.clone();
        }
        let row = |source: &ClusterId| {
            let way = |exporter: &ClusterId| Some((exporter.clone(), self.way(source, exporter, objective)?));
            (source.clone(), Arc::new(self.clusters.keys().filter_map(way).collect()))
        };
        let costs: CostMatrix = self.clusters.keys().map(row).collect();
        known.iter_mut().for_each(|known| known.costs.push((*objective, costs.clone())));
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
    pub(crate) fn link(&self, source: &ClusterId, exporter: &ClusterId) -> PeerLink {
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
    pub(crate) fn usd_per_gb(&self, from: &ClusterId, to: &ClusterId) -> f64 {
        let (Some(sender), Some(receiver)) = (self.clusters.get(from), self.clusters.get(to)) else { return 0.0 };
        let listed = || self.pricing.usd_per_gb(&sender.location, &receiver.location).map(|price| price.usd_per_gb);
        let said = sender.egress_usd_per_gb.get(to).copied();
        if from == to { 0.0 } else { said.or_else(listed).unwrap_or(0.0) }
    }
}

/// What the costs of ways depend on: where a cluster is, its links, and what it is billed.
fn network(facts: &Facts) -> impl PartialEq + use<'_> {
    (&facts.cluster, &facts.location, &facts.links, &facts.egress_usd_per_gb)
}

/// How many answer for an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pods {
    /// By the slices that Kubernetes keeps of its own services.
    Counted(usize),
    /// By what the clusterset is told.
    Endpoints(usize),
}

impl Pods {
    /// Who has none, or none yet, bears at least what one does.
    pub(crate) fn number(self) -> usize {
        let (Self::Counted(number) | Self::Endpoints(number)) = self;
        number.max(1)
    }
}

/// `3 ready pods`
impl fmt::Display for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number();
        let noun = match self {
            Self::Counted(_) => "pod",
            Self::Endpoints(_) => "endpoint",
        };
        write!(f, "{number} ready {noun}{}", if number == 1 { "" } else { "s" })
    }
}
