//! One service at the end of a round.

use std::collections::BTreeMap;

use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::optimize::agent::Agent;
use landfall_core::optimize::demand::{Answers, Observed};
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::Report;
use landfall_core::plan::ServicePlan;

use super::Ground;
use super::window::{Reading, Window};
use crate::facts::pods;
use crate::measure::load::{Capacity, Export, Pods, Sample};

/// What is remembered of a service from round to round.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub(super) agent: Agent,
    pub(super) capacity: Capacity,
}

/// What its clients asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Demand {
    pub(super) rps: f64,
    /// By exporting cluster.
    pub(super) sent: BTreeMap<ClusterId, f64>,
}

pub(super) struct Closed {
    /// `None`: it is of no interest to anybody.
    pub(super) report: Option<Report>,
    pub(super) answers_rps: BTreeMap<ClusterId, f64>,
}

/// A service, and what is known of it.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) ground: Ground<'a>,
    pub(super) key: &'a ServiceKey,
    pub(super) planned: &'a ServicePlan,
    pub(super) objective: &'a Objective,
}

impl Subject<'_> {
    /// The ready pods of the own export. `None`: there is no export here.
    pub(super) fn pods(&self) -> Option<Pods> {
        let export = self.planned.service.exports.get(self.ground.local)?;
        let counted = || self.ground.stores.pods.count(self.key).unwrap_or_else(|| pods(export).max(1));
        let ready = if export.ready.is_empty() { 0 } else { counted() };
        Some(Pods { ready, nominal_rps: self.objective.capacity_rps_per_pod })
    }

    /// `None`: nobody counted.
    pub(super) fn demand(&self, window: &Window) -> Option<Demand> {
        let counted = window.counted().then(|| self.answers(window))?;
        let loads = self.loads(window);
        let observed = self.observed(&counted, &loads, window);
        let own = counted.get(self.ground.local).into_iter().flatten();
        let sent: BTreeMap<ClusterId, f64> =
            own.map(|(cluster, rps)| (cluster.clone(), rps * observed.requests_per_answer(cluster))).collect();
        // Who is behind a clusterset IP the network decides; that they were asked for counts all the same.
        let nowhere = window.all_answers_rps(self.key) - window.answers_rps(self.key).values().sum::<f64>();
        let rps = observed.demand_rps(self.ground.local) + nowhere.max(0.0) * self.objective.requests_per_answer;
        Some(Demand { rps, sent })
    }

    /// In the middle of a round: as much more than in the last one as there are more answers. What the others measured is of
    /// the last round, and would hide it.
    pub(super) fn demand_since(
        &self,
        window: &Window,
        (published, answered): (&Report, Option<&BTreeMap<ClusterId, f64>>),
    ) -> Option<f64> {
        let before: f64 = answered.into_iter().flat_map(BTreeMap::values).sum();
        let last = published.measured_or_expected_rps().filter(|_| before > 0.0 && window.counted());
        let now = || window.answers_rps(self.key).values().sum::<f64>();
        last.map(|last| last * now() / before).or_else(|| Some(self.demand(window)?.rps))
    }

    fn observed<'o>(
        &self,
        answers: &'o Answers,
        loads_rps: &'o BTreeMap<ClusterId, f64>,
        window: &Window,
    ) -> Observed<'o> {
        let requests_per_answer = self.objective.requests_per_answer;
        Observed { answers, loads_rps, window_seconds: window.seconds(), requests_per_answer }
    }

    /// The own ones of this window, and what the others published of their last.
    fn answers(&self, window: &Window) -> Answers {
        let others = self.ground.stores.peers.iter().filter(|(cluster, _)| *cluster != self.ground.local);
        let said =
            others.filter_map(|(cluster, facts)| Some((cluster.clone(), facts.answers_rps.get(self.key)?.clone())));
        let mut answers: Answers = said.collect();
        answers.insert(self.ground.local.clone(), window.answers_rps(self.key));
        answers
    }

    /// What the exporters measured.
    fn loads(&self, window: &Window) -> BTreeMap<ClusterId, f64> {
        let others = self.ground.stores.peers.iter().filter(|(cluster, _)| *cluster != self.ground.local);
        let said = |(cluster, facts): (&ClusterId, &_)| {
            let facts: &crate::accept::Facts = facts;
            Some((cluster.clone(), facts.services.get(self.key)?.load_rps?))
        };
        let mut loads: BTreeMap<ClusterId, f64> = others.map(|(c, f)| (c, f.as_ref())).filter_map(said).collect();
        loads.extend(window.reading(self.key).load_rps.map(|load| (self.ground.local.clone(), load)));
        loads
    }

    /// What each source says that it asked for.
    fn demands(&self, own: Option<f64>) -> BTreeMap<ClusterId, f64> {
        let others = self.ground.stores.peers.iter().filter(|(cluster, _)| *cluster != self.ground.local);
        let said = |facts: &crate::accept::Facts| facts.services.get(self.key)?.measured_or_expected_rps();
        let mut demands: BTreeMap<ClusterId, f64> =
            others.filter_map(|(cluster, facts)| Some((cluster.clone(), said(facts)?))).collect();
        demands.extend(own.map(|own| (self.ground.local.clone(), own)));
        demands
    }

    /// What the export can bear now, as far as was learnt of it.
    pub(super) fn capacity_rps(&self, memory: Option<&Memory>) -> Option<f64> {
        let pods = self.pods()?;
        let nominal_rps = pods.ready as f64 * pods.nominal_rps;
        let Some(memory) = memory else { return Some(nominal_rps) };
        let sample = Sample::default();
        let export = memory.capacity.step(sample, pods).export(sample, pods);
        Some(memory.agent.capacity_rps(export.capacity_rps))
    }

    pub(super) fn close(&self, memory: &mut Memory, window: &Window, now: u64) -> Closed {
        let tuning = &self.objective.tuning;
        let demand = self.demand(window);
        if let Some(demand) = &demand {
            memory.agent.count_sent(demand.rps, demand.sent.clone(), now, tuning);
        }
        let export = self.pods().map(|pods| export(memory, window.reading(self.key), pods));
        let answers = self.answers(window);
        let loads = BTreeMap::new();
        let answered = self.observed(&answers, &loads, window).answered_rps(self.ground.local);
        let measured = export.and_then(|export| export.measured(window.counted().then_some(answered)));
        if let Some(measured) = measured {
            memory.agent.compare(measured, &self.demands(demand.as_ref().map(|demand| demand.rps)), now, tuning);
        }
        let report = Report {
            measured_demand_rps: demand.map(|demand| demand.rps),
            parameter_hash: Some(self.objective.parameter_hash()),
            ..memory.agent.report(measured, now, tuning)
        };
        // What nobody measured yet has a capacity all the same.
        let capacity_rps = report.capacity_rps.or(export.map(|export| export.capacity_rps));
        let report = Report { capacity_rps, ..report };
        let interesting = export.is_some() || report.demand_rps.is_some_and(|demand| demand > 0.0);
        Closed { report: interesting.then_some(report), answers_rps: window.answers_rps(self.key) }
    }
}

fn export(memory: &mut Memory, reading: Reading, pods: Pods) -> Export {
    let sample = Sample { load_rps: reading.load_rps, utilisation: reading.utilisation };
    memory.capacity = memory.capacity.step(sample, pods);
    memory.capacity.export(sample, pods)
}
