//! From the stores to what the core understands: pure, and the only place that knows both.

pub mod fleet;
pub mod perspective;
pub mod precedence;
pub mod round_trips;

use crate::observe::perspective::Guide;
use crate::observe::perspective::Perspective;
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use landfall_core::export::{Endpoint, Export};
use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
use landfall_core::optimize::report::Method;
use landfall_core::plan::Plan;
use landfall_core::policy::{LocalPreference, Mode, Policy, Weight, WeightRow};
use landfall_core::snapshot::{Link, NetworkView, RuleSource, Service, Snapshot};
use litemap::LiteMap;

use crate::accept::{Import, SelectionPolicy, Slice};
use crate::broker::connection::Hearing;
use crate::facts::PeerLink;
use crate::observe::fleet::{Fleet, Ways};
use crate::observe::precedence::{Precedence, submariner};
use crate::rounds::Rounds;
use crate::{
    change::Touched,
    stores::{Slices, Stores},
};

/// A gateway's heartbeat comes every 5 s; Submariner itself takes one for dead after three that are missing.
const GATEWAY_STALE_AFTER: u64 = 15;

/// What time it is for a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeats {
    /// They are not judged: the manifests were saved some time ago, or the API server, by which they come, is away.
    Unjudged,
    /// In seconds since 1970: now, and the time since which they have been able to come.
    Since { now: u64, since: u64 },
}

impl Heartbeats {
    fn fresh(self, updated: Option<u64>) -> bool {
        match (self, updated) {
            (Self::Since { now, since }, Some(updated)) => {
                now.saturating_sub(updated.max(since)) <= GATEWAY_STALE_AFTER
            }
            _ => true,
        }
    }
}

/// How the local cluster sees the others.
pub fn view(stores: &Stores, local: &ClusterId, heartbeats: Heartbeats) -> NetworkView {
    let gateways =
        stores.network.gateways.values().filter(|gateway| gateway.active && heartbeats.fresh(gateway.updated));
    let measured = gateways.clone().next().is_some();
    let mut links: BTreeMap<ClusterId, Link> = BTreeMap::new();
    for (peer, &link) in gateways.flat_map(|gateway| &gateway.links) {
        let best = links.entry(peer.clone()).or_insert(link);
        if link.reachable && !best.reachable {
            *best = link;
        }
    }
    if measured {
        return NetworkView { local: local.clone(), links_complete: measured, links };
    }
    // Whom nobody has probed can be anywhere, and so is taken to be there.
    let link = |(peer, link): (&ClusterId, &PeerLink)| {
        let rtt = link.rtt_ms.map(|ms| Duration::from_secs_f64(ms.max(0.0) / 1e3));
        (peer.clone(), Link { reachable: link.reachable != Some(false), rtt })
    };
    NetworkView {
        local: local.clone(),
        links_complete: measured,
        links: stores.network.links.iter().map(link).collect(),
    }
}

/// Another number whenever gateways may have measured anew.
pub fn heartbeat(stores: &Stores, now: u64) -> u64 {
    const EVERY: u64 = 5;
    stores.network.gateways.values().filter_map(|gateway| gateway.updated).max().unwrap_or(now / EVERY)
}

/// The next time at which a heartbeat becomes too old, in seconds since 1970.
pub fn next_stale(stores: &Stores, heartbeats: Heartbeats) -> Option<u64> {
    let Heartbeats::Since { now, since } = heartbeats else { return None };
    let stale_at = |updated: u64| updated.max(since) + GATEWAY_STALE_AFTER + 1;
    stores.network.gateways.values().filter_map(|gateway| gateway.updated.map(stale_at)).filter(|&at| at > now).min()
}

/// What services are observed from.
struct Ground<'a> {
    stores: &'a Stores,
    seen: &'a Seen<'a>,
    precedence: Precedence<'a>,
    /// Whether there is no plan yet to go on from.
    first: bool,
    /// Made when the first optimised service asks for it: most fleets have none.
    fleet: OnceCell<Fleet<'a>>,
    /// Of the last service: most that follow each other have the same.
    policy: RefCell<Arc<Policy>>,
}

impl<'a> Ground<'a> {
    fn new(stores: &'a Stores, seen: &'a Seen<'a>, first: bool) -> Self {
        let precedence = Precedence::new(stores, &seen.perspective.namespace);
        Self { stores, seen, precedence, first, fleet: OnceCell::new(), policy: RefCell::default() }
    }

    fn policy(&self, import: &Import, winner: Option<&SelectionPolicy>) -> Arc<Policy> {
        let mut policy = policy(self.stores, self.seen.perspective, winner, import);
        if self.seen.facts_now.is_none() {
            // What somebody changes in a file is no noise.
            policy.objective.tuning.hysteresis = 0.0;
        }
        let mut last = self.policy.borrow_mut();
        if **last != policy {
            *last = Arc::new(policy);
        }
        Arc::clone(&last)
    }

    fn rule_source(&self, import: &Import, exports: &ByCluster<Export>) -> RuleSource {
        match self.seen.perspective.guide {
            Guide::Policies => {
                let served = self.by_policy(import, exports, self.precedence.winner(&import.key));
                match self.precedence.tried(&import.key) {
                    None => served,
                    tried => RuleSource::Shadowed {
                        served: Box::new(served),
                        shadow: Box::new(self.by_policy(import, exports, tried)),
                    },
                }
            }
            Guide::Selections => published(self.stores, &import.key),
        }
    }

    fn by_policy(&self, import: &Import, exports: &ByCluster<Export>, winner: Option<&SelectionPolicy>) -> RuleSource {
        let policy = self.policy(import, winner);
        if policy.mode != Mode::Optimized {
            return RuleSource::Policy(policy);
        }
        let Seen { view, facts_now, hearing, ways, rounds, .. } = *self.seen;
        let fleet = self.fleet.get_or_init(|| Fleet::new(self.stores, view, (facts_now, hearing), ways));
        let mut known = fleet.known(&import.key, &policy.objective, exports);
        if known.method == Method::Fallback {
            known.own_traffic_rps = rounds.sent(&import.key, &known);
        }
        let published = self.first.then(|| self.stores.services.selections.get(&import.key)).flatten();
        let published = published.map(|selection| Arc::clone(&selection.rule));
        RuleSource::Optimized(policy, Arc::new(known), published)
    }
}

/// What DNS replicas follow: what was published, and until then what is done without a policy.
pub fn published(stores: &Stores, key: &ServiceKey) -> RuleSource {
    match stores.services.selections.get(key) {
        Some(selection) => RuleSource::Published(Arc::clone(&selection.rule)),
        None => RuleSource::Policy(Arc::default()),
    }
}

/// One service as it is now. `None`: there is no import of it.
fn service(ground: &Ground<'_>, key: &ServiceKey) -> Option<Service> {
    let stores = ground.stores;
    let import = stores.services.imports.get(key)?;
    let mut found: ByCluster<Vec<&Slice>> =
        import.exporters.iter().map(|cluster| (cluster.clone(), Vec::new())).collect();
    let none = Slices::new();
    let slices = stores.services.slices.get(key).unwrap_or(&none);
    for slice in slices.values().filter(|slice| !replaced(slice, slices)) {
        found.entry(slice.cluster.clone()).or_default().push(slice);
    }
    let exports = found.into_iter().map(|(cluster, slices)| (cluster, Export { ready: united(&slices) })).collect();
    let rule_source = ground.rule_source(import, &exports);
    Some(Service { kind: import.kind.clone(), exports, rule_source })
}

/// The endpoints of all, sorted and each once, as those of each are. Most clusters have one slice, which is shared.
fn united(slices: &[&Slice]) -> Arc<[Endpoint]> {
    if let [alone] = slices {
        return Arc::clone(&alone.ready);
    }
    let all: BTreeSet<&Endpoint> = slices.iter().flat_map(|slice| slice.ready.iter()).collect();
    all.into_iter().cloned().collect()
}

/// A legacy slice counts only while its cluster has no other for the service.
fn replaced(slice: &Slice, slices: &Slices) -> bool {
    slice.legacy && slices.values().any(|other| other.cluster == slice.cluster && !other.legacy)
}

/// The policy in force: what the most specific object says, and for what it leaves open the import's annotations, then
/// the cluster's default.
fn policy(stores: &Stores, perspective: &Perspective, winner: Option<&SelectionPolicy>, import: &Import) -> Policy {
    let mut policy = winner.and_then(|winner| winner.policy.clone()).unwrap_or_default();
    let annotated = annotated_row(stores, perspective, import);
    let default = submariner(stores, perspective)
        .map(|(_, submariner)| submariner)
        .filter(|submariner| submariner.service_discovery);
    let by_annotation = annotated.is_some().then_some(Mode::WeightedRoundRobin);
    let mode = winner.and_then(|winner| winner.mode).or_else(|| default.and_then(|default| default.mode));
    policy.mode = mode.or(by_annotation).unwrap_or_default();
    if policy.rows.is_empty() && policy.mode == Mode::WeightedRoundRobin {
        policy.rows.extend(annotated);
    }
    policy.local_preference = policy.local_preference.or_else(|| annotated_preference(stores, import));
    let settings = winner.and_then(|winner| winner.optimized).unwrap_or_default();
    policy.objective = settings.objective(default.and_then(|default| default.params));
    policy
}

/// The weights that Lighthouse's annotations give the exporters here: those of the aggregated import, then those of each
/// exporter's own. Where several give 0 the first exporter keeps it.
fn annotated_row(stores: &Stores, perspective: &Perspective, import: &Import) -> Option<WeightRow> {
    let local = &perspective.local;
    let mut weights = import.weights.get(local).cloned().unwrap_or_default();
    for own in stores.services.export_weights.get(&import.key).into_iter().flat_map(LiteMap::values) {
        if let Some(&weight) = own.weights.get(local) {
            weights.entry(own.exporter.clone()).or_insert(weight);
        }
    }
    let mut zeros = 0;
    for weight in weights.values_mut().filter(|weight| **weight == Weight::Zero) {
        zeros += 1;
        if zeros > 1 {
            *weight = Weight::Invalid;
        }
    }
    if weights.is_empty() { None } else { WeightRow::new(Some(local.clone()), weights).ok() }
}

fn annotated_preference(stores: &Stores, import: &Import) -> Option<LocalPreference> {
    let own = stores.services.export_weights.get(&import.key).into_iter().flat_map(LiteMap::values);
    import.local_preference.or_else(|| own.filter_map(|weights| weights.local_preference).next())
}

/// Everything at once: what [`update`] arrives at step by step.
pub fn snapshot(stores: &Stores, seen: &Seen<'_>) -> Snapshot {
    let ground = Ground::new(stores, seen, true);
    let one = |key: &ServiceKey| Some((key.clone(), Arc::new(service(&ground, key)?)));
    let services = stores.services.imports.keys().filter_map(one).collect();
    Snapshot { view: seen.view.clone(), services }
}

/// Plans anew what was touched. `None`: nothing changed.
pub fn update(plan: &Plan, stores: &Stores, seen: &Seen<'_>, touched: &Touched) -> Option<Plan> {
    let keys: BTreeSet<ServiceKey> = match touched.all {
        true => plan.keys().into_iter().chain(stores.services.imports.keys().cloned()).collect(),
        false => touched.services.clone(),
    };
    let ground = Ground::new(stores, seen, false);
    let services = keys.into_iter().map(|key| {
        let service = service(&ground, &key).map(Arc::new);
        (key, service)
    });
    plan.updated(seen.view, services, seen.now)
}

/// From where, and when.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub perspective: &'a Perspective,
    pub view: &'a NetworkView,
    /// Seconds since 1970.
    pub now: u64,
    /// The same for the age of facts; `None`: that is not judged.
    pub facts_now: Option<u64>,
    pub hearing: Hearing,
    pub rounds: &'a Rounds,
    pub ways: &'a Ways,
}
