//! Changes in, plans out: the one owner of the stores, and the one sender of plans.

use crate::change::PeerEvent;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use landfall_core::name::ClusterId;
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::FRESH_ROUNDS;
use landfall_core::plan::{Plan, plan};
use landfall_core::pricing::Location;
use landfall_core::snapshot::NetworkView;

use crate::broker::connection::Hearing;
use crate::change::BrokerState;
use crate::facts::Facts;
use crate::object::Kind;
use crate::observe::fleet::{self, Ways};
use crate::observe::perspective::{Guide, Perspective};
use crate::observe::round_trips::RoundTrips;
use crate::observe::{self, Heartbeats, Seen};
use crate::rounds::{Due, Ground, Rounds, round_seconds};
use crate::{
    change::{Change, Touched},
    stores::Stores,
};

/// Our own round may be late by a tenth, and takes a moment to come back from the broker.
const LATE: f64 = 1.2;

/// Whether heartbeats in the objects can be compared with the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// From an API server: they are of now.
    Live,
    /// From files: they are of when the manifests were saved.
    Saved,
}

/// The kinds without a complete list of which nothing can be said. The others may not be installed at all.
pub fn required(guide: Guide) -> &'static [Kind] {
    match guide {
        Guide::Policies => &Kind::ALL,
        // Of ClusterFacts, where the others can be probed.
        Guide::Selections => {
            &[Kind::ServiceImport, Kind::EndpointSlice, Kind::Gateway, Kind::ServiceSelection, Kind::ClusterFacts]
        }
    }
}

/// Stores, and the plan that follows from them.
#[derive(Debug)]
pub struct Pipeline {
    perspective: Perspective,
    age: Age,
    stores: Stores,
    /// When the last list of gateways ended: heartbeats have been able to come since. In seconds since 1970.
    gateways_since: u64,
    view: NetworkView,
    round_trips: RoundTrips,
    ways: Ways,
    rounds: Rounds,
    /// What was published where there is no broker: it is read back in the next turn.
    echo: Option<Arc<Facts>>,
    hearing: Hearing,
    /// When all was last planned for a new round, in seconds since 1970, and of which generation the own facts were then.
    planned: (u64, i64),
    /// `None` until the lists are complete.
    plan: Option<Arc<Plan>>,
    /// Of the plan: how long a round is.
    round_seconds: f64,
}

impl Pipeline {
    pub fn new(perspective: Perspective, age: Age) -> Self {
        let view = NetworkView { local: perspective.local.clone(), links_complete: false, links: Default::default() };
        Self {
            rounds: Rounds::new(chance(&perspective.local)),
            echo: None,
            perspective,
            age,
            stores: Stores::default(),
            gateways_since: 0,
            view,
            round_trips: RoundTrips::default(),
            ways: Ways::default(),
            hearing: Hearing::NoBroker,
            planned: (0, 0),
            plan: None,
            round_seconds: Objective::default().round_seconds,
        }
    }

    /// Where the cluster is, if somebody said so, and that nothing is known of the others before it is known whether there is
    /// a broker.
    #[must_use]
    pub fn in_cluster(mut self, place: Option<Location>) -> Self {
        self.stores.location.configured = place;
        self.hearing = Hearing::Nothing;
        self.stores.facts.broker =
            Some(BrokerState { lost: Some("nothing was heard of it yet".into()), ..BrokerState::default() });
        self
    }

    /// Takes the changes in and plans anew what they touch. `now` is in seconds since 1970. Returns what was touched;
    /// nothing before the lists are complete.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = impl Into<Change>>, now: u64) -> Touched {
        let mut touched = Touched::default();
        let lists = self.stores.completions(Kind::Gateway);
        let echo = self.echo.take().map(|own| Change::Peer(PeerEvent::Reported(own)));
        changes.into_iter().map(Into::into).chain(echo).for_each(|change| self.route(change, &mut touched));
        self.hear(now, &mut touched);
        if self.stores.completions(Kind::Gateway) != lists {
            self.gateways_since = now;
        }
        if !self.stores.complete(required(self.perspective.guide)) {
            return Touched { problems: touched.problems, ..Touched::default() };
        }
        let view = observe::view(&self.stores, &self.perspective.local, self.heartbeats(now));
        let view = match self.age {
            Age::Live => self.round_trips.steady(view, observe::heartbeat(&self.stores, now)),
            Age::Saved => view,
        };
        touched.all |= self.begins_round(now);
        let moved = self.stores.settings.optimize() && view != self.view;
        touched.all |= moved || !view.reaches_same_clusters(&self.view);
        self.view = view;
        let seen = Seen {
            perspective: &self.perspective,
            view: &self.view,
            now,
            facts_now: (self.age == Age::Live).then_some(now),
            hearing: self.hearing,
            rounds: &self.rounds,
            ways: &self.ways,
        };
        let next = match &self.plan {
            None => {
                let snapshot = observe::snapshot(&self.stores, &seen);
                self.planned.0 = now;
                touched.all = true;
                touched.policies = true;
                Some(plan(&snapshot, &Plan::default(), now))
            }
            Some(plan) => observe::update(plan, &self.stores, &seen, &touched),
        };
        if self.plan.is_none() {
            self.planned.0 = now;
        }
        if let Some(next) = next {
            self.round_seconds = round_seconds(&next);
            self.plan = Some(Arc::new(next));
        }
        self.tell(now);
        touched
    }

    fn route(&mut self, change: Change, touched: &mut Touched) {
        match change {
            Change::Object(event) => self.stores.apply(event, touched),
            Change::Peer(event) => {
                if let PeerEvent::Reported(facts) = &event {
                    touched.all |= self.is_heard_again(facts) && self.stores.settings.optimize();
                }
                self.stores.apply_peer(event, touched);
            }
            Change::Links(links) => self.stores.apply_links(links),
            Change::Measured(measured) => self.rounds.add(*measured),
            Change::Leads(leads) => {
                self.rounds.lead(leads);
                touched.leads = true;
            }
        }
    }

    /// Somebody of whom nothing was known any more counts at once, and not only when the next round begins here.
    fn is_heard_again(&self, facts: &Facts) -> bool {
        let before = self.stores.facts.peers.get(&facts.cluster).and_then(|before| before.observed);
        let silent = facts.observed.zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
        silent as f64 > FRESH_ROUNDS * self.round_seconds
    }

    /// How long facts were out of reach matters for their age.
    fn hear(&mut self, now: u64, touched: &mut Touched) {
        let lost = self.stores.facts.broker.as_ref().map(|broker| broker.lost.is_some());
        let before = self.hearing;
        if self.age == Age::Live && (self.stores.facts.broker.is_some() || before != Hearing::NoBroker) {
            self.hearing = before.step(lost, now);
        }
        touched.all |= before.knows() != self.hearing.knows() && self.stores.settings.optimize();
    }

    /// All optimised services are planned anew in every round: when the own facts of a round are there, as the others have
    /// them too, and without any when the last time is a round ago. A service whose facts have not changed keeps its rule.
    fn begins_round(&mut self, now: u64) -> bool {
        let generation = self.stores.facts.peers.get(&self.perspective.local).map_or(0, |own| own.generation);
        // A clock that was set back is no reason to wait until it has caught up.
        self.planned.0 = self.planned.0.min(now);
        let begins = self.next_round().is_some_and(|at| at <= now) || generation > self.planned.1;
        if begins {
            self.planned = (now, generation.max(self.planned.1));
        }
        begins && self.stores.settings.optimize()
    }

    /// What is due to be published, and, without a broker, read back at once. Measurements come every few seconds, so this is asked
    /// often enough.
    fn tell(&mut self, now: u64) {
        let Some(plan) = &self.plan else { return };
        self.rounds.decided(plan, now);
        if !(self.rounds.leads() && self.hearing.knows()) {
            return;
        }
        let head = fleet::head(&self.stores, &self.view);
        let (stores, local, round_seconds) = (&self.stores, &self.perspective.local, self.round_seconds);
        let ground = Ground { stores, plan, local, head: &head, round_seconds, hearing: self.hearing, now };
        match self.rounds.due(ground, now) {
            Due::Nothing => {}
            Due::News => self.rounds.tell(ground, now),
            Due::Round => self.rounds.close(ground, now),
        }
        if self.hearing == Hearing::NoBroker
            && self.stores.facts.peers.get(&self.perspective.local) != self.rounds.own()
        {
            self.echo = self.rounds.own().cloned();
        }
    }

    /// What the others are to be told.
    pub fn published(&self) -> Option<&Arc<Facts>> {
        self.rounds.own()
    }

    pub fn hearing(&self) -> Hearing {
        self.hearing
    }

    pub fn rounds(&self) -> &Rounds {
        &self.rounds
    }

    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    pub fn view(&self) -> &NetworkView {
        &self.view
    }

    /// What the other clusters should know of this one.
    pub fn own_facts(&self) -> Facts {
        fleet::own(&self.stores, &self.view)
    }

    pub fn perspective(&self) -> &Perspective {
        &self.perspective
    }

    pub fn plan(&self) -> Option<&Arc<Plan>> {
        self.plan.as_ref()
    }

    /// How long until the clock alone can change something.
    pub fn next_deadline(&self, now: u64) -> Option<Duration> {
        let stale = observe::next_stale(&self.stores, self.heartbeats(now));
        if self.echo.is_some() {
            return Some(Duration::ZERO);
        }
        let next = stale.into_iter().chain(self.next_round()).min();
        next.map(|at| Duration::from_secs(at.saturating_sub(now)))
    }

    /// When all is to be planned anew if no round of our own begins before. In seconds since 1970.
    fn next_round(&self) -> Option<u64> {
        let ages = self.age == Age::Live && self.stores.settings.optimize();
        self.plan.as_ref().filter(|_| ages)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a round lasts minutes")]
        let seconds = (LATE * self.round_seconds) as u64;
        Some(self.planned.0 + seconds)
    }

    fn heartbeats(&self, now: u64) -> Heartbeats {
        match self.age {
            Age::Live if !self.stores.interrupted(Kind::Gateway) => {
                Heartbeats::Since { now, since: self.gateways_since }
            }
            Age::Live | Age::Saved => Heartbeats::Unjudged,
        }
    }
}

/// Between 0 and 1: clusters begin their rounds at different times.
fn chance(cluster: &ClusterId) -> f64 {
    let mut hasher = DefaultHasher::new();
    cluster.hash(&mut hasher);
    (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
}
