//! The accepted objects of this cluster, and nothing derived from them but which service each belongs to.
//!
//! One task owns the stores, so there is no lock. Each change names the services that it touches; those are observed and
//! planned anew.

mod interner;
mod problems;
mod lists;
mod imports;
mod pods;
mod services;
mod settings;
mod location;
mod facts;
mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::pricing::Location;

pub use self::facts::FactsOfClusters;
pub use self::imports::Imports;
use self::interner::Interner;
use self::lists::Lists;
pub use self::location::LocationSources;
pub use self::network::Network;
pub use self::pods::LocalPods;
use self::problems::Problems;
use self::services::Removed;
pub use self::services::{Services, Slices};
pub use self::settings::Settings;
use crate::accept::{Accepted, ReadyPods, accept};
use crate::change::{ObjectEvent, PeerEvent, Touched};
use crate::facts::significance::{Replan, significant_change};
use crate::facts::{ClusterFacts, PeerLink};
use crate::object::{Kind, Object, ObjectRef, Problem};

#[derive(Debug, Default)]
pub struct Stores {
    pub services: Services,
    pub settings: Settings,
    pub location: LocationSources,
    pub facts: FactsOfClusters,
    pub network: Network,
    lists: Lists,
    cluster_ids: Interner,
    problems: Problems,
}

impl Stores {
    /// Stores an event of an object.
    pub fn apply(&mut self, event: ObjectEvent, touched: &mut Touched) {
        match event {
            ObjectEvent::ListBegins(kind) => self.lists.begin(kind),
            ObjectEvent::ListEnds(kind) => {
                let gone = self.lists.end(kind, self.problems.of(kind).cloned());
                gone.into_iter().for_each(|object| self.delete(kind, &object, touched));
            }
            ObjectEvent::Apply { object, origin } => self.accept(object, origin, touched),
            ObjectEvent::Delete(kind, object) => self.delete(kind, &object, touched),
            ObjectEvent::Interrupted(kind, _) => self.lists.interrupt(kind),
            ObjectEvent::Malformed(problem) => {
                self.lists.see(problem.kind, &problem.object);
                touched.problems.extend(self.problems.insert(problem));
            }
        }
    }

    /// Stores what a peer reports.
    pub fn apply_peer(&mut self, event: PeerEvent, touched: &mut Touched) {
        match event {
            PeerEvent::Reported(facts) => {
                let cluster = facts.cluster.clone();
                let before = self.facts.peers.insert(cluster.clone(), facts);
                self.touch_news(&cluster, before, touched);
            }
            PeerEvent::Gone(cluster) => self.remove_peer(&cluster, touched),
            PeerEvent::Listed(listed) => {
                self.facts.beyond(&listed).iter().for_each(|cluster| self.remove_peer(cluster, touched));
            }
            PeerEvent::Broker(state) => {
                if state.is_none() {
                    self.apply_peer(PeerEvent::Listed(BTreeSet::new()), touched);
                }
                touched.policies |= self.facts.broker != state;
                self.facts.broker = state;
            }
        }
    }

    /// Stores the paths that probes measured. Whether they change who can be reached is decided from all of them, as with
    /// gateways.
    pub fn apply_links(&mut self, links: BTreeMap<ClusterId, PeerLink>) {
        self.network.links = links;
    }

    /// Returns whether a complete list of every one of these kinds has been seen.
    pub fn complete(&self, kinds: &[Kind]) -> bool {
        kinds.iter().all(|kind| self.lists.is_complete(*kind))
    }

    pub fn interrupted(&self, kind: Kind) -> bool {
        self.lists.is_interrupted(kind)
    }

    /// Returns how many complete lists of that kind have been seen.
    pub fn completions(&self, kind: Kind) -> u64 {
        self.lists.completions(kind)
    }

    pub fn has_problem(&self, kind: Kind, object: &ObjectRef) -> bool {
        self.problems.contains(kind, object)
    }

    /// Objects that are wrong at the moment, by kind and name.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.all()
    }

    fn accept(&mut self, object: Object, origin: Option<Arc<Path>>, touched: &mut Touched) {
        let (kind, object_ref) = (object.kind(), object.reference());
        self.lists.see(kind, &object_ref);
        let refused = match accept(object) {
            Ok((accepted, left_out)) => {
                let before = self.problems.remove(kind, &object_ref);
                self.insert(kind, object_ref.clone(), accepted, touched);
                // Known still, so that it is not named again.
                before.filter(|_| left_out.is_some()).map(|before| self.problems.insert(before));
                left_out
            }
            Err(refused) => Some(refused),
        };
        if let Some(refused) = refused {
            let problem = Problem { origin, kind, object: object_ref, what: refused.to_string() };
            touched.problems.extend(self.problems.insert(problem));
        }
    }

    fn insert(&mut self, kind: Kind, object: ObjectRef, accepted: Accepted, touched: &mut Touched) {
        let service = accepted.service().cloned();
        if service.is_some() {
            // What the object brought before may belong to another service.
            self.delete(kind, &object, touched);
        }
        match accepted {
            Accepted::Ignored => return self.delete(kind, &object, touched),
            Accepted::Pods(pods) => return self.insert_pods(object, pods, touched),
            Accepted::Import(mut import) => {
                import.exporters.iter_mut().for_each(|exporter| *exporter = self.cluster_ids.intern(exporter));
                self.services.imports.insert(import);
                touched.policies = true;
            }
            Accepted::ExportWeights(weights) => {
                let of_service = self.services.export_weights.entry(weights.key.clone()).or_default();
                of_service.insert(object.clone(), weights);
            }
            Accepted::Slice(mut slice) => {
                slice.cluster = self.cluster_ids.intern(&slice.cluster);
                self.services.insert_slice(object.name.clone(), slice);
            }
            Accepted::Selection(selection) => {
                touched.services.insert(selection.key.clone());
                self.services.selections.insert(selection.key.clone(), selection);
            }
            Accepted::Submariner(submariner) => {
                touched.all |= self.settings.insert_submariner(object.clone(), submariner);
                touched.policies = true;
            }
            Accepted::Policy(policy) => {
                touched.all |= self.settings.insert_policy(object.clone(), *policy);
                touched.policies = true;
            }
            Accepted::Gateway(gateway) => drop(self.network.gateways.insert(object.clone(), gateway)),
            Accepted::Node(location) => self.set_node(object.clone(), Some(location), touched),
            Accepted::Pricing(rules) => {
                let changed = self.location.insert_pricing(object.clone(), rules);
                self.touch_optimized(changed, touched);
            }
            Accepted::Facts(facts) => {
                let changed = self.facts.insert(object.clone(), facts);
                self.touch_optimized(changed, touched);
            }
        }
        touched.services.extend(service.clone());
        self.lists.store(kind, object, service);
    }

    /// Every pod of the cluster that becomes ready or goes comes by here, and most are of no service that is optimized.
    fn insert_pods(&mut self, object: ObjectRef, pods: ReadyPods, touched: &mut Touched) {
        let (kind, key) = (Kind::EndpointSlice, pods.key.clone());
        if !self.services.pods.contains(&key, &object.name) {
            self.delete(kind, &object, touched);
            self.lists.store(kind, object.clone(), Some(key.clone()));
        }
        let changed = self.services.pods.insert(object.name, pods);
        self.touch_counted(key, changed, touched);
    }

    fn set_node(&mut self, object: ObjectRef, location: Option<Location>, touched: &mut Touched) {
        // Nothing is planned before the list of nodes is complete.
        let compare = !touched.all && self.lists.is_complete(Kind::Node) && self.settings.optimize();
        touched.all |= self.location.set_node(object, location, compare);
    }

    fn delete(&mut self, kind: Kind, object: &ObjectRef, touched: &mut Touched) {
        self.problems.remove(kind, object);
        let stored = self.lists.remove(kind, object);
        touched.policies |= matches!(kind, Kind::Submariner | Kind::SelectionPolicy | Kind::ServiceImport);
        let Some(service) = stored else { return };
        match kind {
            Kind::Submariner => touched.all |= self.settings.submariners.remove(object).is_some(),
            Kind::SelectionPolicy => touched.all |= self.settings.policies.remove(object).is_some(),
            Kind::Gateway => drop(self.network.gateways.remove(object)),
            Kind::Node => self.set_node(object.clone(), None, touched),
            Kind::NetworkPricing => {
                let changed = self.location.remove_pricing(object);
                self.touch_optimized(changed, touched);
            }
            Kind::ClusterFacts => {
                let changed = self.facts.remove(object);
                self.touch_optimized(changed, touched);
            }
            Kind::ServiceSelection => {
                let Ok(key) = ServiceKey::new(&object.namespace, &object.name) else { return };
                if self.services.selections.remove(&key).is_some() {
                    touched.services.insert(key);
                }
            }
            Kind::ServiceImport | Kind::EndpointSlice => {
                let Some(key) = service else { return };
                match self.services.remove(kind, object, &key) {
                    Removed::Pods(changed) => self.touch_counted(key, changed, touched),
                    Removed::Service => drop(touched.services.insert(key)),
                }
            }
        }
    }

    fn remove_peer(&mut self, cluster: &ClusterId, touched: &mut Touched) {
        let before = self.facts.peers.remove(cluster);
        self.touch_news(cluster, before, touched);
    }

    /// Touches all services if an input changed that only optimized services have. A policy that makes a service an optimized
    /// one touches it itself.
    fn touch_optimized(&self, changed: bool, touched: &mut Touched) {
        touched.all |= changed && self.settings.optimize();
    }

    fn touch_counted(&self, key: ServiceKey, changed: bool, touched: &mut Touched) {
        if changed && self.services.imports.contains_key(&key) && self.settings.optimize() {
            touched.services.insert(key);
        }
    }

    /// Touches the services for which the facts of a peer changed significantly. The others wait for the next round.
    fn touch_news(&self, cluster: &ClusterId, before: Option<Arc<ClusterFacts>>, touched: &mut Touched) {
        touched.peers.insert(cluster.clone());
        if !self.settings.optimize() {
            return;
        }
        match significant_change(before.as_deref(), self.facts.peers.get(cluster).map(Arc::as_ref)) {
            Replan::All => touched.all = true,
            Replan::Services(services) => touched.services.extend(services),
        }
    }
}
