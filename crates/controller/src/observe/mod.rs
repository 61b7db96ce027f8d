//! Turns the stores into the snapshot that the core plans from. The only place that knows both.
//!
//! ```text
//! stores ─┬─ network: NetworkView ──────────────────┐
//!         ├─ precedence ─▶ policy: Policy ──────────┼─▶ Service (exports, rule source) ─▶ Snapshot ─▶ core::plan
//!         └─ own_facts ─▶ fleet: PlanningInput ─────┘
//! ```

pub mod perspective;
pub mod round_trips;
pub mod network;
pub mod precedence;
mod policy;
pub mod own_facts;
pub mod path_costs;
mod context;
pub mod fleet;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

use landfall_core::export::{Endpoint, Export};
use landfall_core::name::{ByCluster, ServiceKey};
use landfall_core::optimize::report::Method;
use landfall_core::plan::Plan;
use landfall_core::policy::{Mode, Policy};
use landfall_core::snapshot::{Continuation, RuleSource, Service, Snapshot};

pub use self::context::ObserveContext;
use self::fleet::Fleet;
use self::perspective::{Age, RulesFrom};
use self::policy::policy_in_force;
use self::precedence::Precedence;
use crate::accept::{Import, SelectionPolicy, Slice};
use crate::change::Touched;
use crate::stores::{Slices, Stores};

/// Observes all services. [`update`] arrives at the same step by step.
pub fn snapshot(stores: &Stores, context: &ObserveContext<'_>) -> Snapshot {
    let observer = ServiceObserver::new(stores, context, IsFirst::Yes);
    let one = |key: &ServiceKey| Some((key.clone(), Arc::new(observer.observe(key)?)));
    let services = stores.services.imports.keys().filter_map(one).collect();
    Snapshot { view: context.view.clone(), services }
}

/// Plans the services anew that were touched. Returns `None` if nothing changed.
pub fn update(plan: &Plan, stores: &Stores, context: &ObserveContext<'_>, touched: &Touched) -> Option<Plan> {
    let keys: BTreeSet<ServiceKey> = match touched.all {
        true => plan.keys().into_iter().chain(stores.services.imports.keys().cloned()).collect(),
        false => touched.services.clone(),
    };
    let observer = ServiceObserver::new(stores, context, IsFirst::No);
    let services = keys.into_iter().map(|key| {
        let service = observer.observe(&key).map(Arc::new);
        (key, service)
    });
    plan.updated(context.view, services, context.now)
}

/// Returns the rule source of a DNS replica: the published rule, and before there is one, round-robin.
pub fn published(stores: &Stores, key: &ServiceKey) -> RuleSource {
    match stores.services.selections.get(key) {
        Some(selection) => RuleSource::Published(Arc::clone(&selection.rule)),
        None => RuleSource::Policy(Arc::default()),
    }
}

/// Whether there is no plan yet to continue from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IsFirst {
    Yes,
    No,
}

/// Observes services one by one, and keeps what several of them share.
struct ServiceObserver<'a> {
    stores: &'a Stores,
    context: &'a ObserveContext<'a>,
    precedence: Precedence<'a>,
    is_first: IsFirst,
    /// Made for the first optimized service: most fleets have none.
    fleet: OnceCell<Fleet<'a>>,
    /// Policy of the last service. Most services in a row have the same.
    policy: RefCell<Arc<Policy>>,
}

impl<'a> ServiceObserver<'a> {
    fn new(stores: &'a Stores, context: &'a ObserveContext<'a>, is_first: IsFirst) -> Self {
        let precedence = Precedence::new(stores, &context.perspective.namespace);
        Self { stores, context, precedence, is_first, fleet: OnceCell::new(), policy: RefCell::default() }
    }

    /// Returns `None` if the service has no import.
    fn observe(&self, key: &ServiceKey) -> Option<Service> {
        let import = self.stores.services.imports.get(key)?;
        let exports = exports(self.stores, import);
        let rule_source = self.rule_source(import, &exports);
        Some(Service { kind: import.kind.clone(), exports, rule_source })
    }

    fn rule_source(&self, import: &Import, exports: &ByCluster<Export>) -> RuleSource {
        match self.context.perspective.rules_from {
            RulesFrom::Selections => published(self.stores, &import.key),
            RulesFrom::Policies => {
                let served = self.by_policy(import, exports, self.precedence.winner(&import.key));
                match self.precedence.shadow(&import.key) {
                    None => served,
                    shadow => RuleSource::Shadowed {
                        served: Box::new(served),
                        shadow: Box::new(self.by_policy(import, exports, shadow)),
                    },
                }
            }
        }
    }

    fn by_policy(&self, import: &Import, exports: &ByCluster<Export>, winner: Option<&SelectionPolicy>) -> RuleSource {
        let policy = self.policy(import, winner);
        if policy.mode != Mode::Optimized {
            return RuleSource::Policy(policy);
        }
        let fleet = self.fleet.get_or_init(|| Fleet::observe(self.stores, self.context));
        let mut input = fleet.planning_input(&import.key, &policy.objective, exports);
        if input.method == Method::Fallback {
            input.own_traffic_rps = self.context.rounds.and_then(|rounds| rounds.own_traffic_rps(&import.key, &input));
        }
        RuleSource::Optimized(policy, Arc::new(input), self.continuation(&import.key))
    }

    fn continuation(&self, key: &ServiceKey) -> Continuation {
        if self.context.age == Age::Saved {
            return Continuation::Afresh;
        }
        let published = match self.is_first {
            IsFirst::Yes => self.stores.services.selections.get(key),
            IsFirst::No => None,
        };
        Continuation::Previous(published.map(|selection| Arc::clone(&selection.rule)))
    }

    fn policy(&self, import: &Import, winner: Option<&SelectionPolicy>) -> Arc<Policy> {
        let policy = policy_in_force(self.stores, self.context.perspective, winner, import);
        let mut last = self.policy.borrow_mut();
        if **last != policy {
            *last = Arc::new(policy);
        }
        Arc::clone(&last)
    }
}

/// The exporters of a service and their ready endpoints.
fn exports(stores: &Stores, import: &Import) -> ByCluster<Export> {
    let mut found: ByCluster<Vec<&Slice>> =
        import.exporters.iter().map(|cluster| (cluster.clone(), Vec::new())).collect();
    let none = Slices::new();
    let slices = stores.services.slices.get(&import.key).unwrap_or(&none);
    for slice in slices.values().filter(|slice| !is_replaced(slice, slices)) {
        found.entry(slice.cluster.clone()).or_default().push(slice);
    }
    found.into_iter().map(|(cluster, slices)| (cluster, Export { ready: united(&slices) })).collect()
}

/// The endpoints of several slices, sorted and without duplicates, as those of each slice are. Most clusters have one slice,
/// which is shared.
fn united(slices: &[&Slice]) -> Arc<[Endpoint]> {
    if let [only] = slices {
        return Arc::clone(&only.ready);
    }
    let all: BTreeSet<&Endpoint> = slices.iter().flat_map(|slice| slice.ready.iter()).collect();
    all.into_iter().cloned().collect()
}

/// A legacy slice counts only while its cluster has no other for the service.
fn is_replaced(slice: &Slice, slices: &Slices) -> bool {
    slice.legacy && slices.values().any(|other| other.cluster == slice.cluster && !other.legacy)
}
