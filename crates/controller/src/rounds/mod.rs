//! The rounds of this cluster: what was measured in one becomes what is published at its end. Pure, but for the memory of
//! what was before.
//!
//! ```text
//! answers, loads ── add ──▶ window ── close ──▶ agents ──▶ own facts ──▶ broker ──▶ plan ── decided ──▶ agents
//! ```
//!
//! Only the replica that leads measures, and so only it has rounds. One that begins to lead goes on from what its predecessor
//! published.

mod window;

mod optimized;

mod context;

mod service;

use crate::measured::Measured;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use landfall_core::achieved::{Achieved, achieved};
use landfall_core::apportion::TOTAL_WEIGHT;
use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
use landfall_core::optimize::report::{self, Report};
use landfall_core::optimize::schedule::{MIN_SECONDS_BETWEEN_ROUNDS, Schedule, is_significant};
use landfall_core::plan::{Plan, ServicePlan};
use landfall_core::resolve::Share;
use landfall_core::rule::NOMINAL_TOTAL;

pub use self::context::Ground;
use self::context::{left, said};
use self::optimized::objective;
pub use self::optimized::{optimized, round_seconds};
use self::service::{Memory, Subject};
use self::window::Window;
use crate::facts::Facts;
use crate::facts::significance::{links_have_moved, prices_have_moved};

#[derive(Debug)]
pub struct Rounds {
    memories: BTreeMap<ServiceKey, Memory>,
    /// The plan that all of them remember. Weak: it lives no longer for it, and no other has its address as long as it is here.
    decided: Option<Weak<Plan>>,
    leads: bool,
    /// From the end of the last round until anything was last told.
    window: Window,
    /// Since then: what began in the middle of a round is not to be taken for the mean of the round.
    since_told: Window,
    schedule: Schedule,
    /// When anything was last published, a round or news, in seconds since 1970.
    told: u64,
    /// When it was last looked for news.
    looked: u64,
    /// Where in the allowance of a round's length this cluster is: between 0 and 1.
    chance: f64,
    own: Option<Arc<Facts>>,
    /// Whether these are ours, and not what a predecessor said.
    spoke: bool,
    /// Of the last round.
    achieved: Arc<BTreeMap<ServiceKey, Vec<Achieved>>>,
    probe_addresses: Vec<SocketAddr>,
}

/// What is to be published, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// What cannot wait.
    News,
    Round,
}

impl Rounds {
    /// `chance`: between 0 and 1, another one for each cluster.
    pub fn new(chance: f64) -> Self {
        Self {
            memories: BTreeMap::new(),
            decided: None,
            leads: false,
            window: Window::default(),
            since_told: Window::default(),
            schedule: Schedule::default(),
            told: 0,
            looked: 0,
            chance,
            own: None,
            spoke: false,
            achieved: Arc::default(),
            probe_addresses: Vec::new(),
        }
    }

    /// Begins or ends to measure.
    pub fn lead(&mut self, leads: bool) {
        *self = Self { leads, ..Self::new(self.chance) };
    }

    pub fn leads(&self) -> bool {
        self.leads
    }

    pub fn add(&mut self, measured: Measured) {
        if !measured.probe_addresses.is_empty() {
            self.probe_addresses.clone_from(&measured.probe_addresses);
        }
        self.since_told.add(measured);
    }

    /// The newest facts that are to be published. What a predecessor said is not said again: it would count as new.
    pub fn own(&self) -> Option<&Arc<Facts>> {
        self.own.as_ref().filter(|_| self.spoke)
    }

    /// What is due now.
    pub fn due(&mut self, ground: Ground<'_>, now: u64) -> Due {
        if !self.leads {
            return Due::Nothing;
        }
        self.go_on(ground, now);
        let rested = now.saturating_sub(self.told) >= MIN_SECONDS_BETWEEN_ROUNDS;
        if rested && self.schedule.is_due(now, ground.round_seconds, false, self.chance) {
            return Due::Round;
        }
        // Looking takes time where there are many services, and events come many in a second.
        let looks = rested && self.looked != now;
        if looks {
            self.looked = now;
        }
        if looks && self.has_news(ground, now) { Due::News } else { Due::Nothing }
    }

    /// Who begins to lead goes on from what its predecessor published, and measures for a while before it says anything else:
    /// what it could say at once would leave out what its clients were answered, and others would take their load for their own
    /// clients'.
    fn go_on(&mut self, ground: Ground<'_>, now: u64) {
        if now < self.told {
            // The clock was set back, which is no reason to be silent until it has caught up.
            (self.told, self.schedule) = (now, self.schedule.started(now));
        }
        let Some(said) = said(ground).filter(|_| self.own.is_none()) else { return };
        self.own = Some(Arc::clone(said));
        (self.told, self.schedule) = (now, self.schedule.started(said.observed.unwrap_or(0).min(now)));
        if self.probe_addresses.is_empty() {
            self.probe_addresses.clone_from(&said.probe_addresses);
        }
    }

    fn has_news(&self, ground: Ground<'_>, now: u64) -> bool {
        let Some(own) = &self.own else { return true };
        let head = ground.head;
        if own.drain != head.drain || own.probe_addresses != self.probe_addresses {
            return true;
        }
        if prices_have_moved(&own.egress_usd_per_gb, &head.egress_usd_per_gb)
            || links_have_moved(&own.links, &head.links)
        {
            return true;
        }
        // Most clusters have to do with few of the fleet's services.
        let new = |key: &&ServiceKey| !own.services.contains_key(*key);
        let asked = self.since_told.asked().filter(new);
        let exports = |planned: &ServicePlan| planned.service.exports.contains_key(ground.local);
        let exported =
            ground.plan.in_any_order().filter(|(_, planned)| exports(planned)).map(|(key, _)| key).filter(new);
        own.services.keys().chain(asked).chain(exported).any(|key| {
            let Some(planned) = ground.plan.get(key.as_str()) else { return false };
            let Some(objective) = objective(planned) else { return false };
            let before = own.services.get(key).copied().unwrap_or_default();
            let report = self.newest(Subject { ground, key, planned, objective: &objective }, now);
            is_significant(&before, &report, &objective.tuning)
        })
    }

    fn was_asked(&self, key: &ServiceKey) -> bool {
        [&self.window, &self.since_told].into_iter().any(|window| window.count(key) > 0.0)
    }

    /// What would be said of a service now, in the middle of a round.
    fn newest(&self, subject: Subject<'_>, now: u64) -> Report {
        let published = self.own.as_ref().and_then(|own| own.services.get(subject.key).copied()).unwrap_or_default();
        let memory = self.memories.get(subject.key);
        let capacity = subject.capacity_rps(memory, &published);
        let expected = published.demand_rps;
        let answered = self.own.as_ref().and_then(|own| own.answers_rps.get(subject.key));
        let demand = subject.demand_since(&self.since_told, (&published, answered), memory);
        let per_answer = demand.map_or(1.0, |demand| demand / self.since_told.all_answers_rps(subject.key));
        let per_answer = if per_answer.is_finite() { per_answer } else { subject.objective.requests_per_answer };
        let asked = demand.filter(|_| self.since_told.is_significant(subject.key, expected, per_answer));
        Report {
            capacity_rps: capacity.map(|rps| rps * left(subject.ground.head, now)),
            demand_rps: asked.or(expected),
            measured_demand_rps: asked.or(published.measured_demand_rps),
            ..published
        }
    }

    /// Publishes what cannot wait. The round goes on.
    pub fn tell(&mut self, ground: Ground<'_>, now: u64) {
        let mut services = BTreeMap::new();
        let mut answers_rps = self.own.as_ref().map(|own| BTreeMap::clone(&own.answers_rps)).unwrap_or_default();
        for (key, planned, objective) in optimized(ground.plan) {
            let subject = Subject { ground, key, planned, objective: &objective };
            if !subject.concerns(self.was_asked(key)) {
                continue;
            }
            let report = self.newest(subject, now);
            let before = self.own.as_ref().and_then(|own| own.services.get(key)).and_then(|before| before.demand_rps);
            if let Some(demand) = report.demand_rps.filter(|demand| Some(*demand) != before) {
                self.memory(key, ground).agent.jump(demand, &objective.tuning);
                // Of the same window: the next news is told from both.
                answers_rps.insert(key.clone(), self.since_told.answers_rps(key));
            }
            services.insert(key.clone(), Report { at: now, ..report });
        }
        let generation = self.own.as_ref().map_or(0, |own| own.generation);
        let (services, answers_rps) = (services.into(), answers_rps.into());
        self.publish(ground, Facts { generation, services, answers_rps, ..Facts::silent(ground.local.clone()) }, now);
    }

    /// Ends the round: every agent counts, compares and reports.
    pub fn close(&mut self, ground: Ground<'_>, now: u64) {
        self.window.append(std::mem::take(&mut self.since_told));
        let window = std::mem::take(&mut self.window);
        self.achieved = Arc::new(self.split(ground, &window, now));
        let (mut services, mut answers_rps) = (BTreeMap::new(), BTreeMap::new());
        let mut known = BTreeSet::new();
        for (key, planned, objective) in optimized(ground.plan) {
            known.insert(key.clone());
            let subject = Subject { ground, key, planned, objective: &objective };
            if !self.memories.contains_key(key) && !subject.concerns(window.count(key) > 0.0) {
                continue;
            }
            let closed = subject.close(self.memory(key, ground), &window, now);
            if let Some(mut report) = closed.report {
                report.capacity_rps = report.capacity_rps.map(|rps| rps * left(ground.head, now));
                services.insert(key.clone(), report);
            }
            if !closed.answers_rps.is_empty() {
                answers_rps.insert(key.clone(), closed.answers_rps);
            }
        }
        self.memories.retain(|key, _| known.contains(key));
        let before =
            said(ground).map_or(0, |said| said.generation).max(self.own.as_ref().map_or(0, |own| own.generation));
        let (services, answers_rps) = (services.into(), answers_rps.into());
        let facts = Facts {
            generation: before.saturating_add(1),
            services,
            answers_rps,
            ..Facts::silent(ground.local.clone())
        };
        self.schedule = self.schedule.started(now);
        self.publish(ground, facts, now);
    }

    /// Whether answers named whom they should, service by service.
    fn split(&self, ground: Ground<'_>, window: &Window, now: u64) -> BTreeMap<ServiceKey, Vec<Achieved>> {
        let whole = |shares: ByCluster<f64>| -> BTreeMap<ClusterId, u32> {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a whole")]
            let part = |share: f64| (share.clamp(0.0, 1.0) * f64::from(NOMINAL_TOTAL)).round() as u32;
            shares.into_iter().map(|(cluster, share)| (cluster, part(share))).collect()
        };
        let of = |(key, answers): (&ServiceKey, BTreeMap<ClusterId, u64>)| {
            let planned = ground.plan.get(key.as_str())?;
            let weights = match self.memories.get(key) {
                Some(memory) => whole(memory.agent.intended(now)),
                None => planned.shares.iter().map(|share| (share.cluster.clone(), share.weight)).collect(),
            };
            Some((key.clone(), achieved(&weights, &answers)))
        };
        window.named().filter_map(of).collect()
    }

    /// Of the last round.
    pub fn achieved(&self) -> &Arc<BTreeMap<ServiceKey, Vec<Achieved>>> {
        &self.achieved
    }

    fn publish(&mut self, ground: Ground<'_>, facts: Facts, now: u64) {
        let Facts { generation, services, answers_rps, .. } = facts;
        self.told = now;
        self.window.append(std::mem::take(&mut self.since_told));
        self.spoke = true;
        self.own = Some(Arc::new(Facts {
            generation,
            services,
            answers_rps,
            observed: Some(now),
            probe_addresses: self.probe_addresses.clone(),
            ..ground.head.clone()
        }));
    }

    /// Goes on from what was published, if it was not here before.
    fn memory(&mut self, key: &ServiceKey, ground: Ground<'_>) -> &mut Memory {
        if !self.memories.contains_key(key) {
            self.decided = None;
        }
        self.memories.entry(key.clone()).or_insert_with(|| {
            let local = ground.local.clone();
            let last = said(ground).and_then(|said| Some((said.services.get(key)?, said.answers_rps.get(key))));
            match last {
                Some((last, Some(answers_rps))) => Memory::resumed(local, last, answers_rps),
                Some((last, None)) => Memory::resumed(local, last, &ByCluster::new()),
                None => Memory::new(local),
            }
        })
    }

    /// Remembers what is in force now, when that is something else than the last time.
    pub fn decided(&mut self, plan: &Arc<Plan>, now: u64) {
        let same = self.decided.as_ref().is_some_and(|decided| std::ptr::eq(decided.as_ptr(), Arc::as_ptr(plan)));
        if same {
            return;
        }
        self.decided = Some(Arc::downgrade(plan));
        for (key, memory) in &mut self.memories {
            let Some(planned) = plan.get(key.as_str()) else { continue };
            let share = |share: &Share| (share.cluster.clone(), f64::from(share.weight) / f64::from(TOTAL_WEIGHT));
            let row = planned.shares.iter().filter(|share| share.weight > 0).map(share).collect();
            memory.agent.record_decision(row, planned.rule.planned_load.clone(), now);
        }
    }

    /// What this cluster's clients sent in the windows in which the others measured their loads. `None`: nobody counts here.
    pub fn sent(&self, key: &ServiceKey, known: &report::PlanningInput) -> Option<ByCluster<f64>> {
        self.memories.get(key).map(|memory| memory.agent.own_traffic_rps(known))
    }
}
