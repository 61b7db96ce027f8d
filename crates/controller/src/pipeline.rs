//! Changes in, plan out: the one owner of the stores.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use landfall_core::name::ClusterId;
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::FRESH_ROUNDS;
use landfall_core::plan::{Plan, plan};
use landfall_core::pricing::Location;
use landfall_core::snapshot::NetworkView;

use crate::broker::connection::BrokerConnection;
use crate::change::{BrokerState, Change, PeerEvent, Touched};
use crate::facts::ClusterFacts;
use crate::object::Kind;
use crate::observe::network::Network;
use crate::observe::own_facts::{cluster_facts, own_facts};
use crate::observe::path_costs::PathCosts;
use crate::observe::perspective::{Age, Perspective, RulesFrom};
use crate::observe::{ObserveContext, snapshot, update};
use crate::rounds::{Due, RoundContext, Rounds, round_seconds};
use crate::stores::Stores;

/// The own round may be late by a tenth, and takes a moment to come back from the broker.
const LATE: f64 = 1.2;

/// Returns the kinds without a complete list of which nothing can be planned. The others may not be installed at all.
pub fn required(rules_from: RulesFrom) -> &'static [Kind] {
    match rules_from {
        RulesFrom::Policies => &Kind::ALL,
        // ClusterFacts, because they hold the probe addresses of the peers.
        RulesFrom::Selections => {
            &[Kind::ServiceImport, Kind::EndpointSlice, Kind::Gateway, Kind::ServiceSelection, Kind::ClusterFacts]
        }
    }
}

/// The stores, and the plan that follows from them.
#[derive(Debug)]
pub struct Pipeline {
    perspective: Perspective,
    age: Age,
    stores: Stores,
    network: Network,
    broker: BrokerLink,
    planning: Planning,
    /// `None` unless this replica leads: only the leader measures and publishes.
    rounds: Option<Rounds>,
}

/// Where facts come from, and where own facts go.
#[derive(Debug)]
struct BrokerLink {
    connection: BrokerConnection,
    /// Own facts to be applied in the next turn, when there is no broker to return them.
    loopback: Option<Arc<ClusterFacts>>,
}

/// The plan, and what it is made with.
#[derive(Debug)]
struct Planning {
    /// `None` until the lists are complete.
    plan: Option<Arc<Plan>>,
    last_replan: LastReplan,
    /// Length of a round of the plan.
    round_seconds: f64,
    path_costs: PathCosts,
}

/// When all optimized services were last planned for a new round.
#[derive(Debug, Default)]
struct LastReplan {
    /// Seconds since 1970.
    at: u64,
    /// Generation of the own facts at that time.
    generation: i64,
}

impl Planning {
    /// Returns when all services must be planned anew if no own round begins before, in seconds since 1970.
    fn next_replan(&self) -> Option<u64> {
        self.plan.as_ref()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a round lasts minutes")]
        let seconds = (LATE * self.round_seconds) as u64;
        Some(self.last_replan.at + seconds)
    }

    /// Returns whether a round begins: the own facts of a round are there, as the others have them too, or the last replan is
    /// a round ago. `ages`: whether facts age at all.
    fn begins_round(&mut self, generation: i64, (now, ages): (u64, bool)) -> bool {
        // A clock that was set back is no reason to wait until it has caught up.
        self.last_replan.at = self.last_replan.at.min(now);
        let due = self.next_replan().is_some_and(|at| ages && at <= now);
        let begins = due || generation > self.last_replan.generation;
        if begins {
            self.last_replan = LastReplan { at: now, generation: generation.max(self.last_replan.generation) };
        }
        begins
    }
}

impl Pipeline {
    pub fn new(perspective: Perspective, age: Age) -> Self {
        Self {
            network: Network::new(&perspective.local),
            rounds: None,
            perspective,
            age,
            stores: Stores::default(),
            broker: BrokerLink { connection: BrokerConnection::None, loopback: None },
            planning: Planning {
                plan: None,
                last_replan: LastReplan::default(),
                round_seconds: Objective::default().round_seconds,
                path_costs: PathCosts::default(),
            },
        }
    }

    /// Sets the location of the cluster, if it is configured. Nothing is known of the other clusters before it is known
    /// whether there is a broker.
    #[must_use]
    pub fn awaiting_broker(mut self, location: Option<Location>) -> Self {
        self.stores.location.configured = location;
        self.broker.connection = BrokerConnection::Pending;
        let lost = Some("its facts have not been read yet".into());
        self.stores.facts.broker = Some(BrokerState { lost, ..BrokerState::default() });
        self
    }

    /// Applies the changes, and plans the services anew that they touch. `now` is in seconds since 1970. Returns what was
    /// touched; only problems before the lists are complete.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = impl Into<Change>>, now: u64) -> Touched {
        let mut touched = Touched::default();
        let loopback = self.broker.loopback.take().map(|own| Change::Peer(PeerEvent::Reported(own)));
        changes.into_iter().map(Into::into).chain(loopback).for_each(|change| self.route(change, &mut touched));
        self.update_connection(now, &mut touched);
        self.network.note_lists(&self.stores, now);
        if !self.stores.complete(required(self.perspective.rules_from)) {
            return Touched { problems: touched.problems, ..Touched::default() };
        }
        touched.all |= self.begins_round(now);
        touched.all |= self.network.step(&self.stores, self.age, now);
        self.replan(now, &mut touched);
        self.publish_own_facts(now);
        touched
    }

    fn route(&mut self, change: Change, touched: &mut Touched) {
        match change {
            Change::Object(event) => self.stores.apply(event, touched),
            Change::Peer(event) => {
                if let PeerEvent::Reported(facts) = &event {
                    touched.all |= self.was_silent(facts) && self.stores.settings.optimize();
                }
                self.stores.apply_peer(event, touched);
            }
            Change::Links(links) => self.stores.apply_links(links),
            Change::Measured(measured) => {
                if let Some(rounds) = &mut self.rounds {
                    rounds.add(*measured);
                }
            }
            Change::Leads(leads) => {
                self.rounds = leads.then(|| Rounds::new(phase(&self.perspective.local)));
                touched.leads = true;
            }
        }
    }

    /// Returns whether the facts before these were too old to count. New facts then count at once, and not only when the next
    /// round begins here.
    fn was_silent(&self, facts: &ClusterFacts) -> bool {
        let before = self.stores.facts.peers.get(&facts.cluster).and_then(|before| before.observed);
        let silent = facts.observed.zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
        silent as f64 > FRESH_ROUNDS * self.planning.round_seconds
    }

    /// How long the broker was away matters for the age of facts.
    fn update_connection(&mut self, now: u64, touched: &mut Touched) {
        let lost = self.stores.facts.broker.as_ref().map(|broker| broker.lost.is_some());
        let before = self.broker.connection;
        if self.age == Age::Live && (lost.is_some() || before != BrokerConnection::None) {
            self.broker.connection = before.step(lost, now);
        }
        touched.all |= before.has_facts() != self.broker.connection.has_facts() && self.stores.settings.optimize();
    }

    /// All optimized services are planned anew in every round. A service whose facts have not changed keeps its rule.
    fn begins_round(&mut self, now: u64) -> bool {
        let own = self.stores.facts.peers.get(&self.perspective.local);
        let generation = own.map_or(0, |own| own.generation);
        let optimizes = self.stores.settings.optimize();
        self.planning.begins_round(generation, (now, self.ages())) && optimizes
    }

    /// Plans what was touched; everything if there is no plan yet.
    fn replan(&mut self, now: u64, touched: &mut Touched) {
        let context = ObserveContext {
            perspective: &self.perspective,
            age: self.age,
            view: self.network.view(),
            now,
            hearing: self.broker.connection,
            rounds: self.rounds.as_ref(),
            path_costs: &self.planning.path_costs,
        };
        let next = match &self.planning.plan {
            None => {
                (touched.all, touched.policies) = (true, true);
                self.planning.last_replan.at = now;
                Some(plan(&snapshot(&self.stores, &context), &Plan::default(), now))
            }
            Some(plan) => update(plan, &self.stores, &context, touched),
        };
        if let Some(next) = next {
            self.planning.round_seconds = round_seconds(&next);
            self.planning.plan = Some(Arc::new(next));
        }
    }

    /// Publishes what is due and, without a broker, reads it back at once. Measurements come every few seconds, so this is
    /// called often enough.
    fn publish_own_facts(&mut self, now: u64) {
        let (Some(plan), Some(rounds)) = (&self.planning.plan, &mut self.rounds) else { return };
        rounds.remember_plan(plan, now);
        let connection = self.broker.connection;
        if !connection.has_facts() {
            return;
        }
        let (stores, local) = (&self.stores, &self.perspective.local);
        let cluster = cluster_facts(stores, self.network.view());
        let round_seconds = self.planning.round_seconds;
        let context = RoundContext { stores, plan, local, cluster: &cluster, round_seconds, hearing: connection, now };
        match rounds.due(context) {
            Due::Nothing => {}
            Due::Early => rounds.publish_early(context),
            Due::Round => rounds.end_round(context),
        }
        if connection == BrokerConnection::None && stores.facts.peers.get(local) != rounds.own() {
            self.broker.loopback = rounds.own().cloned();
        }
    }

    /// Returns the own facts for the other clusters.
    pub fn published(&self) -> Option<&Arc<ClusterFacts>> {
        self.rounds.as_ref()?.own()
    }

    pub fn hearing(&self) -> BrokerConnection {
        self.broker.connection
    }

    /// Returns `None` unless this replica leads.
    pub fn rounds(&self) -> Option<&Rounds> {
        self.rounds.as_ref()
    }

    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    pub fn view(&self) -> &NetworkView {
        self.network.view()
    }

    /// Returns what the other clusters should know of this one.
    pub fn own_facts(&self) -> ClusterFacts {
        own_facts(&self.stores, self.network.view())
    }

    pub fn perspective(&self) -> &Perspective {
        &self.perspective
    }

    pub fn plan(&self) -> Option<&Arc<Plan>> {
        self.planning.plan.as_ref()
    }

    /// Returns how long until the clock alone can change something.
    pub fn next_deadline(&self, now: u64) -> Option<Duration> {
        if self.broker.loopback.is_some() {
            return Some(Duration::ZERO);
        }
        let replan = self.planning.next_replan().filter(|_| self.ages());
        let stale = self.network.next_stale(&self.stores, self.age, now);
        let next = stale.into_iter().chain(replan).min();
        next.map(|at| Duration::from_secs(at.saturating_sub(now)))
    }

    /// Whether plans change with the age of facts.
    fn ages(&self) -> bool {
        self.age == Age::Live && self.stores.settings.optimize()
    }
}

/// Returns a number between 0 and 1, so that clusters begin their rounds at different times.
fn phase(cluster: &ClusterId) -> f64 {
    let mut hasher = DefaultHasher::new();
    cluster.hash(&mut hasher);
    (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
}
