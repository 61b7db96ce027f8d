//! One service at the end of a round.

use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
use landfall_core::optimize::agent::Agent;
use landfall_core::optimize::demand::{AnswerModel, Answers};
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::{FRESH_ROUNDS, Report};
use landfall_core::plan::ServicePlan;
use landfall_core::snapshot::Service;

use super::context::{Ground, said};
use super::window::Window;
use crate::facts::Facts;
use crate::measured::Reading;
use landfall_core::optimize::capacity::{Capacity, ExportCapacity, ExportPods, Sample};

/// What is remembered of a service from round to round.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub(super) agent: Agent,
    pub(super) capacity: Capacity,
    /// How many requests an answer brings, by the exporter that it names.
    brings: ByCluster<f64>,
    /// In how many windows that was measured.
    learnt: f64,
    /// All answers of the last window, per second.
    answered_rps: f64,
    /// For how many windows anybody has asked, up to [`TOLD_AFTER`].
    asked: u8,
    /// For how many windows nobody has counted answers here.
    uncounted: u8,
}

/// How much of what answers brought in a window is taken over at least. It hardly changes, but loads and answers of one window come
/// together from windows of several ages. A share that moves would look like a demand that moves, by which it would move again.
const BRINGS_GAIN: f64 = 0.05;

/// Where answers become more or fewer by a larger part, what was answered before tells little of a load.
const STEADY: f64 = 0.25;

/// In the first windows in which clients ask, exporters still tell of those before: an answer brings more than that says. Shares
/// move most in them, so that only all loads and all answers can be compared.
const TOLD_AFTER: u8 = 3;

/// What was published counts as if it had been measured so often.
const RESUMED: f64 = 4.0;

impl Memory {
    pub(super) fn new(local: ClusterId) -> Self {
        Self {
            agent: Agent::new(local),
            capacity: Capacity::default(),
            brings: ByCluster::new(),
            learnt: 0.0,
            answered_rps: 0.0,
            asked: 0,
            uncounted: 0,
        }
    }

    /// Goes on from what its cluster said last. `answers_rps` belong to what it said that was asked for.
    pub(super) fn resumed(local: ClusterId, last: &Report, answers_rps: &ByCluster<f64>) -> Self {
        let brought = last.measured_or_expected_rps().unwrap_or(0.0) / answers_rps.values().sum::<f64>();
        let known = brought.is_finite() && brought > 0.0;
        let told = answers_rps.keys().filter(|_| known);
        Self {
            agent: Agent::resumed(local.clone(), last),
            capacity: Capacity::learnt(last.pod_capacity_rps),
            brings: told.map(|exporter| (exporter.clone(), brought)).collect(),
            learnt: if known { RESUMED } else { 0.0 },
            asked: if known { TOLD_AFTER } else { 0 },
            ..Self::new(local)
        }
    }

    /// What was learnt of an exporter that nobody measures now, or of whom answers are not known, stays for as long as it
    /// exports.
    fn learn(&mut self, observed: &AnswerModel<'_>, service: &Service) {
        self.brings.retain(|exporter, _| service.exports.contains_key(exporter));
        let answered_rps = observed.answers.values().flat_map(ByCluster::values).sum();
        let before = std::mem::replace(&mut self.answered_rps, answered_rps);
        self.asked = if answered_rps > 0.0 { (self.asked + 1).min(TOLD_AFTER) } else { 0 };
        if self.asked < TOLD_AFTER {
            // What was learnt before a pause is better.
            let Some(mean) = observed.mean_per_answer().filter(|_| self.learnt < 1.0) else { return };
            for exporter in observed.loads_rps.keys() {
                let known = self.brings.entry(exporter.clone()).or_insert(observed.requests_per_answer);
                *known = known.max(mean);
            }
            return;
        }
        let steady = (answered_rps - before).abs() <= STEADY * before;
        self.learnt += if steady && !observed.loads_rps.is_empty() { 1.0 } else { 0.0 };
        let gain = if steady { (1.0 / self.learnt).max(BRINGS_GAIN) } else { 0.0 };
        for exporter in observed.loads_rps.keys() {
            let Some(now) = observed.measured_per_answer(exporter) else { continue };
            let known = self.brings.entry(exporter.clone()).or_insert(now);
            *known *= (now / *known).powf(gain);
        }
    }
}

/// What its clients asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Demand {
    pub(super) rps: f64,
    /// By exporting cluster.
    pub(super) sent: ByCluster<f64>,
}

pub(super) struct Closed {
    /// `None`: it is of no interest to anybody.
    pub(super) report: Option<Report>,
    pub(super) answers_rps: ByCluster<f64>,
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
    pub(super) fn pods(&self) -> Option<ExportPods> {
        let export = self.planned.service.exports.get(self.ground.local)?;
        let counted = || self.ground.stores.services.pods.count(self.key).unwrap_or_else(|| export.pods().max(1));
        let ready = if export.ready.is_empty() { 0 } else { counted() };
        Some(ExportPods { ready, nominal_rps: self.objective.capacity_rps_per_pod })
    }

    /// Whether there is anything here to remember: an export, or clients.
    pub(super) fn concerns(&self, asked: bool) -> bool {
        let exported = self.planned.service.exports.contains_key(self.ground.local);
        exported || asked || said(self.ground).is_some_and(|s| s.services.contains_key(self.key))
    }

    /// `None`: nobody counted.
    fn demand(&self, window: &Window, brings: &ByCluster<f64>) -> Option<Demand> {
        let per_answer = self.objective.requests_per_answer;
        let counted = window.counted().then(|| window.answers_rps(self.key))?;
        let requests = |(cluster, rps): (&ClusterId, &f64)| {
            (cluster.clone(), rps * brings.get(cluster).copied().unwrap_or(per_answer))
        };
        let sent: ByCluster<f64> = counted.iter().map(requests).collect();
        // Who is behind a clusterset IP the network decides; that they were asked for counts all the same.
        let nowhere = window.all_answers_rps(self.key) - counted.values().sum::<f64>();
        Some(Demand { rps: sent.values().sum::<f64>() + nowhere.max(0.0) * per_answer, sent })
    }

    /// In the middle of a round: as much more than in the last one as there are more answers. What the others measured is of
    /// the last round, and would hide it.
    pub(super) fn demand_since(
        &self,
        window: &Window,
        (published, answered): (&Report, Option<&ByCluster<f64>>),
        memory: Option<&Memory>,
    ) -> Option<f64> {
        let before: f64 = answered.into_iter().flat_map(ByCluster::values).sum();
        let last = published.measured_or_expected_rps().filter(|_| before > 0.0 && window.counted());
        let now = || window.answers_rps(self.key).values().sum::<f64>();
        let learnt = || memory.map(|memory| memory.brings.clone()).unwrap_or_default();
        last.map(|last| last * now() / before).or_else(|| Some(self.demand(window, &learnt())?.rps))
    }

    fn observed<'o>(&self, answers: &'o Answers, loads_rps: &'o ByCluster<f64>, window: &Window) -> AnswerModel<'o> {
        let requests_per_answer = self.objective.requests_per_answer;
        AnswerModel { answers, loads_rps, window_seconds: window.seconds(), requests_per_answer }
    }

    /// The own ones of this window, and what the others published of their last.
    fn answers(&self, window: &Window) -> Answers {
        let others = self.ground.others();
        let said =
            others.filter_map(|(cluster, facts)| Some((cluster.clone(), facts.answers_rps.get(self.key)?.clone())));
        let mut answers: Answers = said.collect();
        answers.insert(self.ground.local.clone(), window.answers_rps(self.key));
        answers
    }

    /// What the exporters measured, those that do. Nothing, while somebody asks for the service who does not say yet whom its answers named:
    /// its load would be taken for that of the others' clients.
    fn loads(&self, window: &Window) -> ByCluster<f64> {
        let asks = |facts: &Facts| facts.services.get(self.key).is_some_and(|report| report.demand_rps > Some(0.0));
        if self.ground.others().any(|(_, facts)| asks(facts) && !facts.answers_rps.contains_key(self.key)) {
            return ByCluster::new();
        }
        let said = |(cluster, facts): (&ClusterId, &Facts)| {
            Some((cluster.clone(), facts.services.get(self.key)?.measured_load_rps()?))
        };
        let mut loads: ByCluster<f64> = self.ground.others().filter_map(said).collect();
        loads.extend(window.reading(self.key).load_rps.map(|load| (self.ground.local.clone(), load)));
        loads
    }

    /// What each source says that it asked for.
    fn demands(&self, own: Option<f64>) -> ByCluster<f64> {
        let others = self.ground.others();
        let said = |facts: &Facts| facts.services.get(self.key)?.measured_or_expected_rps();
        let mut demands: ByCluster<f64> =
            others.filter_map(|(cluster, facts)| Some((cluster.clone(), said(facts)?))).collect();
        demands.extend(own.map(|own| (self.ground.local.clone(), own)));
        demands
    }

    /// What the export can bear now, as far as was learnt of it, before or, where nothing is remembered, as was published.
    pub(super) fn capacity_rps(&self, memory: Option<&Memory>, published: &Report) -> Option<f64> {
        let pods = self.pods()?;
        let known = memory.map_or_else(|| Capacity::learnt(published.pod_capacity_rps), |memory| memory.capacity);
        let sample = Sample { answered_rps: published.load_rps, ..Sample::default() };
        let capacity_rps = known.step(sample, pods).export(sample, pods).capacity_rps;
        Some(memory.map_or(capacity_rps, |memory| memory.agent.capacity_rps(capacity_rps)))
    }

    pub(super) fn close(&self, memory: &mut Memory, window: &Window, now: u64) -> Closed {
        let tuning = &self.objective.tuning;
        let (answers, loads) = (self.answers(window), self.loads(window));
        memory.uncounted = if window.counted() { 0 } else { memory.uncounted.saturating_add(1) };
        if window.counted() {
            memory.learn(&self.observed(&answers, &loads, window), &self.planned.service);
        }
        let demand = self.demand(window, &memory.brings);
        if let Some(demand) = &demand {
            memory.agent.record_traffic(demand.rps, demand.sent.clone(), now, tuning);
        }
        let answered = self.observed(&answers, &loads, window).answered_rps(self.ground.local);
        let answered = window.counted().then_some(answered);
        let export = self.pods().map(|pods| export(memory, (window.reading(self.key), answered), pods));
        let measured = export.and_then(|export| export.measured(answered));
        if let Some(measured) = measured {
            memory.agent.compare(measured, &self.demands(demand.as_ref().map(|demand| demand.rps)), now, tuning);
        }
        memory.agent.begin_window(now);
        let report = Report {
            measured_demand_rps: demand.map(|demand| demand.rps),
            parameter_hash: Some(self.objective.parameter_hash()),
            pod_capacity_rps: export.and_then(|_| memory.capacity.per_pod_rps()),
            ..memory.agent.report(measured, now, tuning)
        };
        // What nobody measured yet has a capacity all the same.
        let capacity_rps = report.capacity_rps.or_else(|| export.map(|export| export.capacity_rps));
        // What was counted long ago would be told as new for ever.
        let known = f64::from(memory.uncounted) < FRESH_ROUNDS;
        let (demand_rps, trend_rps) = if known { (report.demand_rps, report.trend_rps) } else { (None, 0.0) };
        let report = Report { capacity_rps, demand_rps, trend_rps, ..report };
        let interesting = export.is_some() || report.demand_rps.is_some_and(|demand| demand > 0.0);
        Closed { report: interesting.then_some(report), answers_rps: window.answers_rps(self.key) }
    }
}

fn export(memory: &mut Memory, (reading, answered_rps): (Reading, Option<f64>), pods: ExportPods) -> ExportCapacity {
    let sample = Sample { load_rps: reading.load_rps, utilisation: reading.utilisation, answered_rps };
    memory.capacity = memory.capacity.step(sample, pods);
    memory.capacity.export(sample, pods)
}
