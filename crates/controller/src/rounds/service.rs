//! One service at the end of a round.

use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
use landfall_core::optimize::agent::Agent;
use landfall_core::optimize::demand::{AnswerModel, Answers};
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::{FRESH_ROUNDS, Report};
use landfall_core::plan::ServicePlan;
use landfall_core::snapshot::Service;

use super::context::{RoundContext, published};
use super::window::AnswerWindow;
use crate::facts::ClusterFacts;
use crate::measured::Reading;
use landfall_core::optimize::capacity::{Capacity, ExportCapacity, ExportPods, Sample};

/// State of a service, kept from round to round.
#[derive(Debug, Clone)]
pub(super) struct ServiceState {
    pub(super) agent: Agent,
    pub(super) capacity: Capacity,
    /// Requests that follow one DNS answer, by the exporter that the answer names.
    requests_per_answer: ByCluster<f64>,
    /// Number of windows in which requests per answer were measured.
    measured_windows: f64,
    /// Rate of all answers in the last window.
    answered_rps: f64,
    /// Number of windows in a row with answers, up to [`REPORTED_AFTER`].
    windows_with_answers: u8,
    /// Number of windows in a row in which answers were not counted here.
    uncounted: u8,
}

/// Smoothing gain for requests per answer. Small, because loads and answers of one window stem from windows of
/// different ages, and a shifting share must not look like a shifting demand.
const REQUESTS_PER_ANSWER_GAIN: f64 = 0.05;

/// Largest change of the answer rate, as a fraction, at which the answers of the last window still explain a load.
const MAX_STEADY_CHANGE: f64 = 0.25;

/// Number of windows with answers after which the reported loads belong to these answers. Earlier reports are of
/// windows with fewer clients. Shares move most in these first windows, so only the sums of loads and answers are
/// compared.
const REPORTED_AFTER: u8 = 3;

/// Number of windows that a published value of requests per answer counts for.
const RESUMED_WINDOWS: f64 = 4.0;

impl ServiceState {
    pub(super) fn new(local: ClusterId) -> Self {
        Self {
            agent: Agent::new(local),
            capacity: Capacity::default(),
            requests_per_answer: ByCluster::new(),
            measured_windows: 0.0,
            answered_rps: 0.0,
            windows_with_answers: 0,
            uncounted: 0,
        }
    }

    /// Continues from the last report of the cluster. `answers_rps` are of the same window as its demand.
    pub(super) fn resumed(local: ClusterId, last: &Report, answers_rps: &ByCluster<f64>) -> Self {
        let per_answer_before = last.measured_or_expected_rps().unwrap_or(0.0) / answers_rps.values().sum::<f64>();
        let known = per_answer_before.is_finite() && per_answer_before > 0.0;
        let exporters = answers_rps.keys().filter(|_| known);
        Self {
            agent: Agent::resumed(local.clone(), last),
            capacity: Capacity::learnt(last.pod_capacity_rps),
            requests_per_answer: exporters.map(|exporter| (exporter.clone(), per_answer_before)).collect(),
            measured_windows: if known { RESUMED_WINDOWS } else { 0.0 },
            windows_with_answers: if known { REPORTED_AFTER } else { 0 },
            ..Self::new(local)
        }
    }

    /// Learns the requests per answer. The value of an exporter is kept for as long as it exports, also while its load
    /// or its answers are unknown.
    fn learn(&mut self, observed: &AnswerModel<'_>, service: &Service) {
        self.requests_per_answer.retain(|exporter, _| service.exports.contains_key(exporter));
        let answered_rps = observed.answers.values().flat_map(ByCluster::values).sum();
        let before = std::mem::replace(&mut self.answered_rps, answered_rps);
        self.windows_with_answers =
            if answered_rps > 0.0 { (self.windows_with_answers + 1).min(REPORTED_AFTER) } else { 0 };
        if self.windows_with_answers < REPORTED_AFTER {
            // A value from before a pause is better.
            let Some(mean) = observed.mean_per_answer().filter(|_| self.measured_windows < 1.0) else { return };
            for exporter in observed.loads_rps.keys() {
                let known = self.requests_per_answer.entry(exporter.clone()).or_insert(observed.requests_per_answer);
                *known = known.max(mean);
            }
            return;
        }
        let steady = (answered_rps - before).abs() <= MAX_STEADY_CHANGE * before;
        self.measured_windows += if steady && !observed.loads_rps.is_empty() { 1.0 } else { 0.0 };
        let gain = if steady { (1.0 / self.measured_windows).max(REQUESTS_PER_ANSWER_GAIN) } else { 0.0 };
        for exporter in observed.loads_rps.keys() {
            let Some(now) = observed.measured_per_answer(exporter) else { continue };
            let known = self.requests_per_answer.entry(exporter.clone()).or_insert(now);
            *known *= (now / *known).powf(gain);
        }
    }
}

/// Demand of the local clients.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Demand {
    pub(super) rps: f64,
    /// Requests per second to each exporting cluster.
    pub(super) sent: ByCluster<f64>,
}

/// Result of a round for one service.
pub(super) struct Ended {
    /// `None` if there is neither an export nor a demand.
    pub(super) report: Option<Report>,
    pub(super) answers_rps: ByCluster<f64>,
}

/// One service in a round.
#[derive(Clone, Copy)]
pub(super) struct ServiceRound<'a> {
    pub(super) context: RoundContext<'a>,
    pub(super) key: &'a ServiceKey,
    pub(super) planned: &'a ServicePlan,
    pub(super) objective: &'a Objective,
}

impl ServiceRound<'_> {
    /// Returns the ready pods of the own export, or `None` if there is no export here.
    pub(super) fn pods(&self) -> Option<ExportPods> {
        let export = self.planned.service.exports.get(self.context.local)?;
        let counted = || self.context.stores.services.pods.count(self.key).unwrap_or_else(|| export.pods().max(1));
        let ready = if export.ready.is_empty() { 0 } else { counted() };
        Some(ExportPods { ready, nominal_rps: self.objective.capacity_rps_per_pod })
    }

    /// Returns whether the service is relevant here: this cluster exports it, has clients of it, or published a report
    /// on it.
    pub(super) fn is_relevant(&self, asked: bool) -> bool {
        let exported = self.planned.service.exports.contains_key(self.context.local);
        exported || asked || published(self.context).is_some_and(|s| s.services.contains_key(self.key))
    }

    /// Returns the demand of the local clients from their answers, or `None` if answers were not counted.
    fn demand(&self, window: &AnswerWindow, requests_per_answer: &ByCluster<f64>) -> Option<Demand> {
        let per_answer = self.objective.requests_per_answer;
        let counted = window.counted().then(|| window.answers_rps(self.key))?;
        let requests = |(cluster, rps): (&ClusterId, &f64)| {
            (cluster.clone(), rps * requests_per_answer.get(cluster).copied().unwrap_or(per_answer))
        };
        let sent: ByCluster<f64> = counted.iter().map(requests).collect();
        // The network decides which cluster serves a clusterset IP; its requests are demand all the same.
        let unattributed = window.all_answers_rps(self.key) - counted.values().sum::<f64>();
        Some(Demand { rps: sent.values().sum::<f64>() + unattributed.max(0.0) * per_answer, sent })
    }

    /// Returns the demand in the middle of a round: that of the last round, scaled by the answers. It does not use the
    /// loads of the other clusters: these are of the last round, and would hide a change.
    pub(super) fn demand_since(
        &self,
        window: &AnswerWindow,
        (published, answered): (&Report, Option<&ByCluster<f64>>),
        state: Option<&ServiceState>,
    ) -> Option<f64> {
        let before: f64 = answered.into_iter().flat_map(ByCluster::values).sum();
        let last = published.measured_or_expected_rps().filter(|_| before > 0.0 && window.counted());
        let now = || window.answers_rps(self.key).values().sum::<f64>();
        let requests_per_answer = || state.map(|state| state.requests_per_answer.clone()).unwrap_or_default();
        last.map(|last| last * now() / before).or_else(|| Some(self.demand(window, &requests_per_answer())?.rps))
    }

    fn observed<'o>(
        &self,
        answers: &'o Answers,
        loads_rps: &'o ByCluster<f64>,
        window: &AnswerWindow,
    ) -> AnswerModel<'o> {
        let requests_per_answer = self.objective.requests_per_answer;
        AnswerModel { answers, loads_rps, window_seconds: window.seconds(), requests_per_answer }
    }

    /// Own answers of this window, and those that the others published of their last one.
    fn answers(&self, window: &AnswerWindow) -> Answers {
        let others = self.context.others();
        let published_answers =
            others.filter_map(|(cluster, facts)| Some((cluster.clone(), facts.answers_rps.get(self.key)?.clone())));
        let mut answers: Answers = published_answers.collect();
        answers.insert(self.context.local.clone(), window.answers_rps(self.key));
        answers
    }

    /// Loads that exporters measured. Empty while a cluster with demand has not published its answers yet: its load
    /// would be attributed to clients of the other clusters.
    fn loads(&self, window: &AnswerWindow) -> ByCluster<f64> {
        let has_demand =
            |facts: &ClusterFacts| facts.services.get(self.key).is_some_and(|report| report.demand_rps > Some(0.0));
        if self.context.others().any(|(_, facts)| has_demand(facts) && !facts.answers_rps.contains_key(self.key)) {
            return ByCluster::new();
        }
        let load_of = |(cluster, facts): (&ClusterId, &ClusterFacts)| {
            Some((cluster.clone(), facts.services.get(self.key)?.measured_load_rps()?))
        };
        let mut loads: ByCluster<f64> = self.context.others().filter_map(load_of).collect();
        loads.extend(window.reading(self.key).load_rps.map(|load| (self.context.local.clone(), load)));
        loads
    }

    /// Demand of each source cluster.
    fn demands(&self, own: Option<f64>) -> ByCluster<f64> {
        let others = self.context.others();
        let demand_of = |facts: &ClusterFacts| facts.services.get(self.key)?.measured_or_expected_rps();
        let mut demands: ByCluster<f64> =
            others.filter_map(|(cluster, facts)| Some((cluster.clone(), demand_of(facts)?))).collect();
        demands.extend(own.map(|own| (self.context.local.clone(), own)));
        demands
    }

    /// Returns the present capacity of the own export, from the learnt state or else from the published report. Returns
    /// `None` if there is no export here.
    pub(super) fn capacity_rps(&self, state: Option<&ServiceState>, published: &Report) -> Option<f64> {
        let pods = self.pods()?;
        let known = state.map_or_else(|| Capacity::learnt(published.pod_capacity_rps), |state| state.capacity);
        let sample = Sample { answered_rps: published.load_rps, ..Sample::default() };
        let capacity_rps = known.step(sample, pods).export(sample, pods).capacity_rps;
        Some(state.map_or(capacity_rps, |state| state.agent.capacity_rps(capacity_rps)))
    }

    /// Ends the window: updates the state, and returns the report to publish.
    pub(super) fn end(&self, state: &mut ServiceState, window: &AnswerWindow) -> Ended {
        let now = self.context.now;
        let tuning = &self.objective.tuning;
        let (answers, loads) = (self.answers(window), self.loads(window));
        state.uncounted = if window.counted() { 0 } else { state.uncounted.saturating_add(1) };
        if window.counted() {
            state.learn(&self.observed(&answers, &loads, window), &self.planned.service);
        }
        let demand = self.demand(window, &state.requests_per_answer);
        if let Some(demand) = &demand {
            state.agent.record_traffic(demand.rps, demand.sent.clone(), now, tuning);
        }
        let answered = self.observed(&answers, &loads, window).answered_rps(self.context.local);
        let answered = window.counted().then_some(answered);
        let export = self.pods().map(|pods| export(state, (window.reading(self.key), answered), pods));
        let measured = export.and_then(|export| export.measured(answered));
        if let Some(measured) = measured {
            state.agent.compare(measured, &self.demands(demand.as_ref().map(|demand| demand.rps)), now, tuning);
        }
        state.agent.begin_window(now);
        let report = Report {
            measured_demand_rps: demand.map(|demand| demand.rps),
            parameter_hash: Some(self.objective.parameter_hash()),
            pod_capacity_rps: export.and_then(|_| state.capacity.per_pod_rps()),
            ..state.agent.report(measured, now, tuning)
        };
        // An export that was never measured still has its configured capacity.
        let capacity_rps = report.capacity_rps.or_else(|| export.map(|export| export.capacity_rps));
        // A demand that was counted long ago must not be reported as new for ever.
        let known = f64::from(state.uncounted) < FRESH_ROUNDS;
        let (demand_rps, trend_rps) = if known { (report.demand_rps, report.trend_rps) } else { (None, 0.0) };
        let report = Report { capacity_rps, demand_rps, trend_rps, ..report };
        let relevant = export.is_some() || report.demand_rps.is_some_and(|demand| demand > 0.0);
        Ended { report: relevant.then_some(report), answers_rps: window.answers_rps(self.key) }
    }
}

/// Updates the capacity estimate, and returns load and capacity of the own export.
fn export(
    state: &mut ServiceState,
    (reading, answered_rps): (Reading, Option<f64>),
    pods: ExportPods,
) -> ExportCapacity {
    let sample = Sample { load_rps: reading.load_rps, utilization: reading.utilization, answered_rps };
    state.capacity = state.capacity.step(sample, pods);
    state.capacity.export(sample, pods)
}
