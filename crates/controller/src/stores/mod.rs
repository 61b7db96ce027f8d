//! What we know of the cluster at this moment: the accepted objects, and nothing derived from them but who belongs to
//! which service.
//!
//! One task owns the stores and feeds them, so there is no lock. Each change tells which services it touches; those are
//! observed and planned anew.

mod facts;
mod imports;
mod location;
mod pods;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::policy::Mode;
use landfall_core::pricing::{Location, Rule as PricingRule};
use litemap::LiteMap;

pub use self::imports::Imports;
pub use self::pods::LocalPods;
use crate::accept::{Accepted, ExportWeights, Gateway, Selection, SelectionPolicy, Slice, Submariner, accept};
use crate::broker;
use crate::change::{Change, Touched};
use crate::facts::{Facts, PeerLink};
use crate::object::{Kind, Object, ObjectRef, Problem};

/// By their names.
pub type Slices = LiteMap<Box<str>, Arc<Slice>>;

#[derive(Debug, Default)]
pub struct Stores {
    pub imports: Imports,
    pub slices: BTreeMap<ServiceKey, Slices>,
    /// Of the services of this cluster, exported or not.
    pub pods: LocalPods,
    pub export_weights: BTreeMap<ServiceKey, LiteMap<ObjectRef, ExportWeights>>,
    pub policies: BTreeMap<ObjectRef, SelectionPolicy>,
    pub submariners: BTreeMap<ObjectRef, Submariner>,
    pub gateways: BTreeMap<ObjectRef, Gateway>,
    pub selections: BTreeMap<ServiceKey, Selection>,
    /// What each cluster says of itself, in all of its objects together.
    pub facts: BTreeMap<ClusterId, Arc<Facts>>,
    /// The same, from other clusters of the process. Newer than their objects.
    pub peers: BTreeMap<ClusterId, Arc<Facts>>,
    /// `None`: there is none.
    pub broker: Option<broker::state::BrokerState>,
    /// By probing. Gateways come first.
    pub links: BTreeMap<ClusterId, PeerLink>,
    /// Where this cluster is, which overrides what its nodes say.
    pub place: Option<Location>,
    fact_parts: BTreeMap<ObjectRef, Arc<Facts>>,
    pricings: BTreeMap<ObjectRef, Vec<PricingRule>>,
    nodes: BTreeMap<ObjectRef, Location>,
    /// Where each import and slice was put, for when its labels change or it goes.
    places: HashMap<(Kind, ObjectRef), ServiceKey>,
    lists: HashMap<Kind, List>,
    /// Ids of clusters that were seen.
    names: HashSet<ClusterId>,
    problems: BTreeMap<(Kind, ObjectRef), Problem>,
}

/// Far more than a fleet has clusters.
const MOST_NAMES: usize = 4096;

/// How far the list of one kind is.
#[derive(Debug, Default)]
struct List {
    complete: bool,
    interrupted: bool,
    completions: u64,
    /// While a list is under way: those that were in it.
    seen: Option<HashSet<ObjectRef>>,
}

impl Stores {
    pub fn apply(&mut self, change: Change, touched: &mut Touched) {
        match change {
            Change::ListBegins(kind) => self.list(kind).seen = Some(HashSet::new()),
            Change::ListEnds(kind) => {
                let list = self.list(kind);
                list.complete = true;
                list.interrupted = false;
                list.completions += 1;
                let seen = list.seen.take().unwrap_or_default();
                let gone: Vec<_> = self.references(kind).into_iter().filter(|object| !seen.contains(object)).collect();
                gone.into_iter().for_each(|object| self.delete(kind, &object, touched));
            }
            Change::Apply { object, origin } => self.accept(object, origin, touched),
            Change::Delete(kind, object) => self.delete(kind, &object, touched),
            Change::Interrupted(kind, _) => self.list(kind).interrupted = true,
            Change::Peer(facts) => {
                let cluster = facts.cluster.clone();
                let before = self.peers.insert(cluster.clone(), facts);
                self.touch_news(&cluster, before, touched);
            }
            Change::PeerGone(cluster) => self.peer_goes(&cluster, touched),
            Change::PeersListed(listed) => {
                let gone: Vec<_> = self.peers.keys().filter(|cluster| !listed.contains(*cluster)).cloned().collect();
                gone.iter().for_each(|cluster| self.peer_goes(cluster, touched));
            }
            Change::Broker(state) => {
                if state.is_none() {
                    self.apply(Change::PeersListed(BTreeSet::new()), touched);
                }
                touched.policies |= self.broker != state;
                self.broker = state;
            }
            // Whether it changes who can be reached is seen from the whole of them, as with gateways.
            Change::Links(links) => self.links = links,
            // For those who have rounds.
            Change::Measured(_) | Change::Leads(_) => {}
            Change::Malformed(problem) => {
                self.see(problem.kind, &problem.object);
                self.complain(problem, touched);
            }
        }
    }

    fn peer_goes(&mut self, cluster: &ClusterId, touched: &mut Touched) {
        let before = self.peers.remove(cluster);
        self.touch_news(cluster, before, touched);
    }

    /// Whether a complete list of every one of these kinds has been seen.
    pub fn complete(&self, kinds: &[Kind]) -> bool {
        kinds.iter().all(|kind| self.lists.get(kind).is_some_and(|list| list.complete))
    }

    pub fn interrupted(&self, kind: Kind) -> bool {
        self.lists.get(&kind).is_some_and(|list| list.interrupted)
    }

    /// How many complete lists of that kind have been seen.
    pub fn completions(&self, kind: Kind) -> u64 {
        self.lists.get(&kind).map_or(0, |list| list.completions)
    }

    pub fn has_problem(&self, kind: Kind, object: &ObjectRef) -> bool {
        self.problems.contains_key(&(kind, object.clone()))
    }

    /// What is wrong at the moment, by kind and object.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values()
    }

    /// Whether any service can be in the optimised mode.
    pub fn optimizes(&self) -> bool {
        let policies = self.policies.values().map(|policy| policy.mode);
        policies
            .chain(self.submariners.values().map(|submariner| submariner.mode))
            .any(|mode| mode == Some(Mode::Optimized))
    }

    fn list(&mut self, kind: Kind) -> &mut List {
        self.lists.entry(kind).or_default()
    }

    fn see(&mut self, kind: Kind, object: &ObjectRef) {
        if let Some(seen) = &mut self.list(kind).seen {
            seen.insert(object.clone());
        }
    }

    fn accept(&mut self, object: Object, origin: Option<Arc<Path>>, touched: &mut Touched) {
        let (kind, object_ref) = (object.kind(), object.reference());
        self.see(kind, &object_ref);
        let known = self.problems.get(&(kind, object_ref.clone())).cloned();
        let refused = match accept(object) {
            Ok((accepted, left_out)) => {
                self.problems.remove(&(kind, object_ref.clone()));
                self.insert(kind, object_ref.clone(), accepted, touched);
                left_out
            }
            Err(refused) => Some(refused),
        };
        if let Some(refused) = refused {
            let problem = Problem { origin, kind, object: object_ref.clone(), what: refused.to_string() };
            self.problems.extend(known.map(|known| ((kind, object_ref), known)));
            self.complain(problem, touched);
        }
    }

    fn complain(&mut self, problem: Problem, touched: &mut Touched) {
        let before = self.problems.insert((problem.kind, problem.object.clone()), problem.clone());
        if before.as_ref() != Some(&problem) {
            touched.problems.push(problem);
        }
    }

    fn insert(&mut self, kind: Kind, object: ObjectRef, accepted: Accepted, touched: &mut Touched) {
        match accepted {
            Accepted::Submariner(submariner) => self.insert_submariner(object, submariner, touched),
            Accepted::Policy(policy) => self.insert_policy(object, *policy, touched),
            Accepted::Gateway(gateway) => {
                // Rewritten every five seconds. Whether it changes who can be reached is seen from the whole of them.
                self.gateways.insert(object, gateway);
            }
            Accepted::Ignored => self.delete(kind, &object, touched),
            Accepted::Import(mut import) => {
                let key = import.key.clone();
                import.exporters.iter_mut().for_each(|exporter| *exporter = self.known(exporter));
                self.move_to(kind, &object, &key, touched);
                touched.policies = true;
                self.imports.insert(import);
            }
            Accepted::ExportWeights(weights) => {
                let key = weights.key.clone();
                self.move_to(kind, &object, &key, touched);
                self.export_weights.entry(key).or_default().insert(object, weights);
            }
            Accepted::Slice(mut slice) => {
                let known = self.imports.get(&slice.key).map(|import| &import.key);
                slice.key = known
                    .or_else(|| self.slices.get_key_value(&slice.key).map(|(key, _)| key))
                    .unwrap_or(&slice.key)
                    .clone();
                slice.cluster = self.known(&slice.cluster);
                let key = slice.key.clone();
                self.move_to(kind, &object, &key, touched);
                self.slices.entry(key).or_default().insert(object.name, Arc::new(slice));
            }
            Accepted::Pods(pods) => self.insert_pods(object, pods, touched),
            Accepted::Selection(selection) => {
                touched.services.insert(selection.key.clone());
                self.selections.insert(selection.key.clone(), selection);
            }
            Accepted::Node(location) => self.place_node(object, Some(location), touched),
            Accepted::Pricing(rules) => {
                let news = self.pricings.insert(object, rules.clone()) != Some(rules);
                self.touch_optimized(news, touched);
            }
            Accepted::Facts(facts) => {
                let cluster = facts.cluster.clone();
                let before = self.fact_parts.insert(object, Arc::new(facts));
                let moved = before.map(|before| before.cluster.clone()).filter(|before| *before != cluster);
                let news = self.unite_facts(&cluster);
                let news = moved.is_some_and(|moved| self.unite_facts(&moved)) || news;
                self.touch_optimized(news, touched);
            }
        }
    }

    /// The same id, kept once for all objects that name it.
    fn known(&mut self, cluster: &ClusterId) -> ClusterId {
        if let Some(known) = self.names.get(cluster) {
            return known.clone();
        }
        if self.names.len() >= MOST_NAMES {
            self.names.clear();
        }
        self.names.insert(cluster.clone());
        cluster.clone()
    }

    fn insert_submariner(&mut self, object: ObjectRef, submariner: Submariner, touched: &mut Touched) {
        let default = |submariner: &Submariner| (submariner.mode, submariner.params, submariner.service_discovery);
        let now = default(&submariner);
        touched.all |= self.submariners.insert(object, submariner).as_ref().map(default) != Some(now);
        touched.policies = true;
    }

    /// A policy that contradicts itself stays in force as it was.
    fn insert_policy(&mut self, object: ObjectRef, mut policy: SelectionPolicy, touched: &mut Touched) {
        let before = self.policies.get(&object);
        if let (Some(valid @ SelectionPolicy { policy: Some(_), .. }), None) = (before, &policy.policy) {
            policy = SelectionPolicy {
                created: policy.created,
                generation: policy.generation,
                invalid: policy.invalid,
                status: policy.status,
                ..valid.clone()
            };
        }
        touched.all |= before.map(SelectionPolicy::rule) != Some(policy.rule());
        touched.policies = true;
        self.policies.insert(object, policy);
    }

    /// Takes the object from where it was, if that is another service or another store.
    fn move_to(&mut self, kind: Kind, object: &ObjectRef, key: &ServiceKey, touched: &mut Touched) {
        self.delete(kind, object, touched);
        self.places.insert((kind, object.clone()), key.clone());
        touched.services.insert(key.clone());
    }

    fn delete(&mut self, kind: Kind, object: &ObjectRef, touched: &mut Touched) {
        self.problems.remove(&(kind, object.clone()));
        match kind {
            Kind::Submariner => touched.all |= self.submariners.remove(object).is_some(),
            Kind::SelectionPolicy => touched.all |= self.policies.remove(object).is_some(),
            Kind::Gateway => drop(self.gateways.remove(object)),
            Kind::Node => self.place_node(object.clone(), None, touched),
            Kind::NetworkPricing => {
                let known = self.pricings.remove(object).is_some();
                self.touch_optimized(known, touched);
            }
            Kind::ClusterFacts => {
                if let Some(gone) = self.fact_parts.remove(object) {
                    let news = self.unite_facts(&gone.cluster);
                    self.touch_optimized(news, touched);
                }
            }
            Kind::ServiceSelection => {
                let Ok(key) = ServiceKey::new(&object.namespace, &object.name) else { return };
                if self.selections.remove(&key).is_some() {
                    touched.services.insert(key);
                }
            }
            Kind::ServiceImport | Kind::EndpointSlice => {
                if let Some(key) = self.places.remove(&(kind, object.clone())) {
                    self.remove_from(kind, object, key, touched);
                }
            }
        }
        touched.policies |= matches!(kind, Kind::Submariner | Kind::SelectionPolicy | Kind::ServiceImport);
    }

    fn remove_from(&mut self, kind: Kind, object: &ObjectRef, key: ServiceKey, touched: &mut Touched) {
        if kind == Kind::EndpointSlice {
            if let Some(news) = self.pods.remove(&key, &object.name) {
                return self.touch_counted(key, news, touched);
            }
            remove_entry(&mut self.slices, &key, &object.name);
        } else if self.export_weights.get(&key).is_some_and(|weights| weights.contains_key(object)) {
            remove_entry(&mut self.export_weights, &key, object);
        } else {
            self.imports.remove(&key);
        }
        touched.services.insert(key);
    }

    fn references(&self, kind: Kind) -> Vec<ObjectRef> {
        let problems = self.problems.keys().filter(|(of, _)| *of == kind).map(|(_, object)| object);
        match kind {
            Kind::Submariner => self.submariners.keys().chain(problems).cloned().collect(),
            Kind::SelectionPolicy => self.policies.keys().chain(problems).cloned().collect(),
            Kind::Gateway => self.gateways.keys().chain(problems).cloned().collect(),
            Kind::Node => self.nodes.keys().chain(problems).cloned().collect(),
            Kind::NetworkPricing => self.pricings.keys().chain(problems).cloned().collect(),
            Kind::ClusterFacts => self.fact_parts.keys().chain(problems).cloned().collect(),
            Kind::ServiceSelection => {
                let selections = self.selections.keys().map(|key| ObjectRef::new(key.namespace(), key.name()));
                selections.chain(problems.cloned()).collect()
            }
            Kind::ServiceImport | Kind::EndpointSlice => {
                let places = self.places.keys().filter(|(of, _)| *of == kind).map(|(_, object)| object);
                places.chain(problems).cloned().collect()
            }
        }
    }
}

/// Removes an entry, and the inner map with its last one.
fn remove_entry<Q, K, V>(maps: &mut BTreeMap<ServiceKey, LiteMap<K, V>>, key: &ServiceKey, entry: &Q)
where
    K: std::borrow::Borrow<Q> + Ord,
    Q: Ord + ?Sized,
{
    if let Some(map) = maps.get_mut(key) {
        map.remove(entry);
        if map.is_empty() {
            maps.remove(key);
        }
    }
}
