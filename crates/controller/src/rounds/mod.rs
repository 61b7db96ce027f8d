//! The rounds of this cluster: what was measured in a round becomes what is published at its end.
//!
//! ```text
//! answers, loads ─ add ─▶ windows ─ end_round ─▶ agents ─▶ own facts ─▶ broker ─▶ plan ─ remember_plan ─▶ agents
//!                                   publish_early ─────────▶
//! ```
//!
//! Only the replica that leads measures, and so only it has rounds. A replica that begins to lead continues from what its
//! predecessor published.

mod window;
mod optimized;
mod context;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use landfall_core::achieved::{Achieved, achieved};
use landfall_core::apportion::TOTAL_WEIGHT;
use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
use landfall_core::optimize::report::{PlanningInput, Report};
use landfall_core::optimize::schedule::{MIN_SECONDS_BETWEEN_ROUNDS, Schedule, is_significant};
use landfall_core::plan::{Plan, ServicePlan};
use landfall_core::resolve::Share;
use landfall_core::rule::NOMINAL_TOTAL;

pub use self::context::RoundContext;
use self::context::{published, remaining_capacity};
use self::optimized::objective;
pub use self::optimized::{optimized, round_seconds};
use self::service::{ServiceRound, ServiceState};
use self::window::AnswerWindow;
use crate::facts::ClusterFacts;
use crate::facts::significance::{links_changed_significantly, prices_changed_significantly};
use crate::measured::Measured;

#[derive(Debug)]
pub struct Rounds {
    agents: Agents,
    windows: Windows,
    timing: Timing,
    own: Own,
    /// Achieved split of the last round.
    achieved: Arc<BTreeMap<ServiceKey, Vec<Achieved>>>,
    probe_addresses: Vec<SocketAddr>,
}

/// What is remembered of each service.
#[derive(Debug, Default)]
struct Agents {
    states: BTreeMap<ServiceKey, ServiceState>,
    /// The plan that all of them remember. Weak, so the plan is not kept alive; while it exists no other plan can have its
    /// address, so comparing pointers is safe.
    remembered: Option<Weak<Plan>>,
}

/// What was measured since the last round.
#[derive(Debug, Default)]
struct Windows {
    /// From the end of the last round until facts were last published.
    published: AnswerWindow,
    /// Since then. A demand that began in the middle of a round must not be taken for the mean of the round.
    unpublished: AnswerWindow,
}

impl Windows {
    fn was_asked(&self, key: &ServiceKey) -> bool {
        [&self.published, &self.unpublished].into_iter().any(|window| window.count(key) > 0.0)
    }

    fn publish(&mut self) {
        self.published.append(std::mem::take(&mut self.unpublished));
    }

    /// Returns the window of the whole round, and begins a new one.
    fn end(&mut self) -> AnswerWindow {
        self.publish();
        std::mem::take(&mut self.published)
    }
}

/// When rounds are due. Times are in seconds since 1970.
#[derive(Debug)]
struct Timing {
    schedule: Schedule,
    /// When facts were last published, at the end of a round or early.
    published_at: u64,
    /// When significant changes were last looked for.
    checked_at: u64,
    /// Where in the allowance of a round's length this cluster is: between 0 and 1.
    phase: f64,
}

/// Own facts.
#[derive(Debug)]
enum Own {
    None,
    /// What a predecessor published. It is not published again: it would count as new.
    Inherited(Arc<ClusterFacts>),
    Published(Arc<ClusterFacts>),
}

impl Own {
    fn facts(&self) -> Option<&Arc<ClusterFacts>> {
        match self {
            Self::None => None,
            Self::Inherited(facts) | Self::Published(facts) => Some(facts),
        }
    }

    fn report(&self, key: &ServiceKey) -> Option<&Report> {
        self.facts()?.services.get(key)
    }
}

/// What is to be published, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// What cannot wait for the end of the round.
    Early,
    Round,
}

impl Rounds {
    /// `phase`: between 0 and 1, a different one for each cluster.
    pub fn new(phase: f64) -> Self {
        Self {
            agents: Agents::default(),
            windows: Windows::default(),
            timing: Timing { schedule: Schedule::default(), published_at: 0, checked_at: 0, phase },
            own: Own::None,
            achieved: Arc::default(),
            probe_addresses: Vec::new(),
        }
    }

    pub fn add(&mut self, measured: Measured) {
        if !measured.probe_addresses.is_empty() {
            self.probe_addresses.clone_from(&measured.probe_addresses);
        }
        self.windows.unpublished.add(measured);
    }

    /// Returns the newest facts that are to be published.
    pub fn own(&self) -> Option<&Arc<ClusterFacts>> {
        if let Own::Published(facts) = &self.own { Some(facts) } else { None }
    }

    /// Achieved split of the last round.
    pub fn achieved(&self) -> &Arc<BTreeMap<ServiceKey, Vec<Achieved>>> {
        &self.achieved
    }

    /// Returns what this cluster's clients sent in the windows in which the others measured their loads. `None` if nothing is
    /// counted here.
    pub fn own_traffic_rps(&self, key: &ServiceKey, input: &PlanningInput) -> Option<ByCluster<f64>> {
        self.agents.states.get(key).map(|state| state.agent.own_traffic_rps(input))
    }

    /// Returns what is due now.
    pub fn due(&mut self, context: RoundContext<'_>) -> Due {
        self.resume(context);
        let now = context.now;
        let rested = now.saturating_sub(self.timing.published_at) >= MIN_SECONDS_BETWEEN_ROUNDS;
        if rested && self.timing.schedule.is_due(now, context.round_seconds, false, self.timing.phase) {
            return Due::Round;
        }
        // The look takes time where there are many services, and there can be many events in a second.
        if !rested || self.timing.checked_at == now {
            return Due::Nothing;
        }
        self.timing.checked_at = now;
        if self.needs_early_publication(context) { Due::Early } else { Due::Nothing }
    }

    /// Continues from what a predecessor published. A new leader measures for a while before it publishes anything else: what
    /// it could publish at once would leave out what its clients were answered, and the others would take their load for that
    /// of their own clients.
    fn resume(&mut self, context: RoundContext<'_>) {
        let (timing, now) = (&mut self.timing, context.now);
        if now < timing.published_at {
            // The clock was set back, which is no reason to be silent until it has caught up.
            (timing.published_at, timing.schedule) = (now, timing.schedule.started(now));
        }
        let Own::None = self.own else { return };
        let Some(facts) = published(context) else { return };
        self.own = Own::Inherited(Arc::clone(facts));
        (timing.published_at, timing.schedule) = (now, timing.schedule.started(facts.observed.unwrap_or(0).min(now)));
        if self.probe_addresses.is_empty() {
            self.probe_addresses.clone_from(&facts.probe_addresses);
        }
    }

    fn needs_early_publication(&self, context: RoundContext<'_>) -> bool {
        let Some(own) = self.own.facts() else { return true };
        let cluster = context.cluster;
        if own.drain != cluster.drain
            || own.probe_addresses != self.probe_addresses
            || prices_changed_significantly(&own.egress_usd_per_gb, &cluster.egress_usd_per_gb)
            || links_changed_significantly(&own.links, &cluster.links)
        {
            return true;
        }
        // Only the services that this cluster has to do with, which are few of the fleet's.
        let new = |key: &&ServiceKey| !own.services.contains_key(*key);
        let asked = self.windows.unpublished.asked().filter(new);
        let exports = |planned: &ServicePlan| planned.service.exports.contains_key(context.local);
        let exported =
            context.plan.in_any_order().filter(|(_, planned)| exports(planned)).map(|(key, _)| key).filter(new);
        own.services.keys().chain(asked).chain(exported).any(|key| {
            let Some(planned) = context.plan.get(key.as_str()) else { return false };
            let Some(objective) = objective(planned) else { return false };
            let before = own.services.get(key).copied().unwrap_or_default();
            let report = self.report_now(ServiceRound { context, key, planned, objective: &objective });
            is_significant(&before, &report, &objective.tuning)
        })
    }

    /// Returns what would be published of a service now, in the middle of a round.
    fn report_now(&self, service: ServiceRound<'_>) -> Report {
        let (context, key) = (service.context, service.key);
        let last = self.own.report(key).copied().unwrap_or_default();
        let state = self.agents.states.get(key);
        let window = &self.windows.unpublished;
        let capacity = service.capacity_rps(state, &last);
        let expected = last.demand_rps;
        let answered = self.own.facts().and_then(|own| own.answers_rps.get(key));
        let demand = service.demand_since(window, (&last, answered), state);
        let per_answer = demand.map_or(1.0, |demand| demand / window.all_answers_rps(key));
        let per_answer = if per_answer.is_finite() { per_answer } else { service.objective.requests_per_answer };
        let asked = demand.filter(|_| window.is_significant(key, expected, per_answer));
        Report {
            capacity_rps: capacity.map(|rps| rps * remaining_capacity(context.cluster, context.now)),
            demand_rps: asked.or(expected),
            measured_demand_rps: asked.or(last.measured_demand_rps),
            ..last
        }
    }

    /// Publishes what cannot wait. The round continues.
    pub fn publish_early(&mut self, context: RoundContext<'_>) {
        let mut services = BTreeMap::new();
        let mut answers_rps = self.own.facts().map(|own| BTreeMap::clone(&own.answers_rps)).unwrap_or_default();
        for (key, planned, objective) in optimized(context.plan) {
            let service = ServiceRound { context, key, planned, objective: &objective };
            if !service.is_relevant(self.windows.was_asked(key)) {
                continue;
            }
            let report = self.report_now(service);
            let before = self.own.report(key).and_then(|before| before.demand_rps);
            if let Some(demand) = report.demand_rps.filter(|demand| Some(*demand) != before) {
                self.agents.state(key, context).agent.jump(demand, &objective.tuning);
                // Of the same window as the demand: the next early publication compares both.
                answers_rps.insert(key.clone(), self.windows.unpublished.answers_rps(key));
            }
            services.insert(key.clone(), Report { at: context.now, ..report });
        }
        let generation = self.own.facts().map_or(0, |own| own.generation);
        self.publish(context, generation, services, answers_rps);
    }

    /// Ends the round: every agent counts, compares and reports.
    pub fn end_round(&mut self, context: RoundContext<'_>) {
        let window = self.windows.end();
        self.achieved = Arc::new(self.achieved_split(context, &window));
        let (mut services, mut answers_rps) = (BTreeMap::new(), BTreeMap::new());
        let mut planned_keys = BTreeSet::new();
        for (key, planned, objective) in optimized(context.plan) {
            planned_keys.insert(key.clone());
            let service = ServiceRound { context, key, planned, objective: &objective };
            if !self.agents.states.contains_key(key) && !service.is_relevant(window.count(key) > 0.0) {
                continue;
            }
            let ended = service.end(self.agents.state(key, context), &window);
            if let Some(mut report) = ended.report {
                let remaining = remaining_capacity(context.cluster, context.now);
                report.capacity_rps = report.capacity_rps.map(|rps| rps * remaining);
                services.insert(key.clone(), report);
            }
            if !ended.answers_rps.is_empty() {
                answers_rps.insert(key.clone(), ended.answers_rps);
            }
        }
        self.agents.states.retain(|key, _| planned_keys.contains(key));
        let on_broker = published(context).map_or(0, |facts| facts.generation);
        let before = on_broker.max(self.own.facts().map_or(0, |own| own.generation));
        self.timing.schedule = self.timing.schedule.started(context.now);
        self.publish(context, before.saturating_add(1), services, answers_rps);
    }

    /// Returns whether answers named the clusters that they should, service by service.
    fn achieved_split(&self, context: RoundContext<'_>, window: &AnswerWindow) -> BTreeMap<ServiceKey, Vec<Achieved>> {
        let weights = |shares: ByCluster<f64>| -> BTreeMap<ClusterId, u32> {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a whole")]
            let weight = |share: f64| (share.clamp(0.0, 1.0) * f64::from(NOMINAL_TOTAL)).round() as u32;
            shares.into_iter().map(|(cluster, share)| (cluster, weight(share))).collect()
        };
        let of = |(key, answers): (&ServiceKey, BTreeMap<ClusterId, u64>)| {
            let planned = context.plan.get(key.as_str())?;
            let intended = match self.agents.states.get(key) {
                Some(state) => weights(state.agent.intended(context.now)),
                None => planned.shares.iter().map(|share| (share.cluster.clone(), share.weight)).collect(),
            };
            Some((key.clone(), achieved(&intended, &answers)))
        };
        window.named().filter_map(of).collect()
    }

    fn publish(
        &mut self,
        context: RoundContext<'_>,
        generation: i64,
        services: BTreeMap<ServiceKey, Report>,
        answers_rps: BTreeMap<ServiceKey, ByCluster<f64>>,
    ) {
        self.timing.published_at = context.now;
        self.windows.publish();
        self.own = Own::Published(Arc::new(ClusterFacts {
            generation,
            services: services.into(),
            answers_rps: answers_rps.into(),
            observed: Some(context.now),
            probe_addresses: self.probe_addresses.clone(),
            ..context.cluster.clone()
        }));
    }

    /// Remembers the plan that is in force now, if it differs from the last one.
    pub fn remember_plan(&mut self, plan: &Arc<Plan>, now: u64) {
        self.agents.remember(plan, now);
    }
}

impl Agents {
    /// Returns the state of a service. A new one continues from what was published.
    fn state(&mut self, key: &ServiceKey, context: RoundContext<'_>) -> &mut ServiceState {
        if !self.states.contains_key(key) {
            self.remembered = None;
        }
        self.states.entry(key.clone()).or_insert_with(|| {
            let local = context.local.clone();
            let last =
                published(context).and_then(|facts| Some((facts.services.get(key)?, facts.answers_rps.get(key))));
            match last {
                Some((last, Some(answers_rps))) => ServiceState::resumed(local, last, answers_rps),
                Some((last, None)) => ServiceState::resumed(local, last, &ByCluster::new()),
                None => ServiceState::new(local),
            }
        })
    }

    fn remember(&mut self, plan: &Arc<Plan>, now: u64) {
        let same = self.remembered.as_ref().is_some_and(|last| std::ptr::eq(last.as_ptr(), Arc::as_ptr(plan)));
        if same {
            return;
        }
        self.remembered = Some(Arc::downgrade(plan));
        for (key, state) in &mut self.states {
            let Some(planned) = plan.get(key.as_str()) else { continue };
            let share = |share: &Share| (share.cluster.clone(), f64::from(share.weight) / f64::from(TOTAL_WEIGHT));
            let row = planned.shares.iter().filter(|share| share.weight > 0).map(share).collect();
            state.agent.record_decision(row, planned.rule.planned_load.clone(), now);
        }
    }
}
