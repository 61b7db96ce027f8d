//! Changes in, plans out: the one owner of the stores, and the one sender of plans.

use std::sync::Arc;
use std::time::Duration;

use landfall_core::plan::{Plan, plan};
use landfall_core::snapshot::View;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::accept::Facts;
use crate::facts::{self, Ways};
use crate::object::Kind;
use crate::observe::{self, Guide, Heartbeats, Perspective, Seen};
use crate::round_trips::RoundTrips;
use crate::stores::{Change, Stores, Touched};

/// How many changes are taken at once: all that came while the last ones were planned, so that a burst is one plan.
/// Bounded so that a large list does not hold back the rest for long.
const BATCH: usize = 4096;

/// How often facts grow older, in seconds: twice in the shortest round.
const AGEING: u64 = 15;

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
        Guide::Selections => &[Kind::ServiceImport, Kind::EndpointSlice, Kind::Gateway, Kind::ServiceSelection],
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
    view: View,
    round_trips: RoundTrips,
    ways: Ways,
    /// When everything was last planned because facts grow old, in seconds since 1970.
    aged: u64,
    /// `None` until the lists are complete.
    plan: Option<Arc<Plan>>,
}

impl Pipeline {
    pub fn new(perspective: Perspective, age: Age) -> Self {
        let view = View { local: perspective.local.clone(), measured: false, links: Default::default() };
        let stores = Stores::default();
        let (round_trips, ways) = (RoundTrips::default(), Ways::default());
        Self { perspective, age, stores, gateways_since: 0, view, round_trips, ways, aged: 0, plan: None }
    }

    /// Takes the changes in and plans anew what they touch. `now` is in seconds since 1970. Returns what was touched;
    /// nothing before the lists are complete.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>, now: u64) -> Touched {
        let mut touched = Touched::default();
        let lists = self.stores.completions(Kind::Gateway);
        changes.into_iter().for_each(|change| self.stores.apply(change, &mut touched));
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
        if self.next_ageing().is_some_and(|at| at <= now) {
            self.aged = now;
            touched.all = true;
        }
        let moved = self.stores.optimizes() && view != self.view;
        touched.all |= moved || !view.reaches_like(&self.view);
        self.view = view;
        let facts_now = (self.age == Age::Live).then_some(now);
        let seen = Seen { perspective: &self.perspective, view: &self.view, now, facts_now, ways: &self.ways };
        match &self.plan {
            None => {
                let snapshot = observe::snapshot(&self.stores, &seen);
                self.plan = Some(Arc::new(plan(&snapshot, &Plan::default(), now)));
                touched.all = true;
                touched.policies = true;
            }
            Some(plan) => {
                if let Some(next) = observe::update(plan, &self.stores, &seen, &touched) {
                    self.plan = Some(Arc::new(next));
                }
            }
        }
        touched
    }

    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    /// What the other clusters should know of this one.
    pub fn own_facts(&self) -> Facts {
        facts::own(&self.stores, &self.view)
    }

    pub fn perspective(&self) -> &Perspective {
        &self.perspective
    }

    pub fn plan(&self) -> Option<&Arc<Plan>> {
        self.plan.as_ref()
    }

    /// How long until the clock alone can change something.
    fn next_deadline(&self, now: u64) -> Option<Duration> {
        let stale = observe::next_stale(&self.stores, self.heartbeats(now));
        let next = stale.into_iter().chain(self.next_ageing()).min();
        next.map(|at| Duration::from_secs(at.saturating_sub(now)))
    }

    /// When facts must be looked at again only because they are older. A service whose facts are still in the same round
    /// keeps its rule.
    fn next_ageing(&self) -> Option<u64> {
        let ages = self.age == Age::Live && self.stores.optimizes() && !self.stores.facts.is_empty();
        ages.then_some(self.aged + AGEING)
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

/// Whoever wants to know more than the plan. Told after every batch of changes, also before there is a plan.
pub trait Observer: Send {
    fn settled(&mut self, pipeline: &Pipeline, touched: &Touched);
}

impl<F: FnMut(&Pipeline, &Touched) + Send> Observer for F {
    fn settled(&mut self, pipeline: &Pipeline, touched: &Touched) {
        self(pipeline, touched);
    }
}

/// Runs until the source of changes ends or `stop` is cancelled. `clock` gives the seconds since 1970.
pub async fn run(
    mut pipeline: Pipeline,
    mut changes: mpsc::Receiver<Change>,
    plans: watch::Sender<Option<Arc<Plan>>>,
    mut observer: impl Observer,
    (clock, stop): (fn() -> u64, CancellationToken),
) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let deadline = pipeline.next_deadline(clock()).unwrap_or(Duration::from_secs(3600));
        tokio::select! {
            () = stop.cancelled() => return,
            taken = changes.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            () = tokio::time::sleep(deadline) => {}
        }
        let before = pipeline.plan().cloned();
        let touched = pipeline.apply(batch.drain(..), clock());
        let after = pipeline.plan();
        if after.map(Arc::as_ptr) != before.as_ref().map(Arc::as_ptr) {
            plans.send_replace(after.cloned());
        }
        for problem in &touched.problems {
            tracing::warn!(%problem, "object left out; what it said before stays in force");
        }
        observer.settled(&pipeline, &touched);
    }
}
