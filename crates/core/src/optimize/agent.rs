//! The agent of one cluster for one service: its state between rounds, and the order of its steps.
//!
//! ```text
//! a window ends:  record_demand ── compare (load of the own export with the plan) ──▶ report ──▶ all clusters
//! a round starts: reports of all ── report::planning_input ──▶ decide ──▶ the row in force
//! ```
//!
//! An agent computes from *published* reports, its own one included. If it used better data about itself than the
//! others have, its joint plan would differ from theirs.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::name::{ByCluster, ClusterId};
use crate::optimize::facts::{Exporter, Tuning};
use crate::optimize::fill::fallback_row;
use crate::optimize::filter::{AppliedRow, Calibration, Demand, Deviation, Trim, Window};
use crate::optimize::report::{Method, PlanningInput, Report};
use crate::optimize::{Solution, SolutionRow, SolveError};

/// Limit of windows kept: the load of a report can stem from any of them. One more than
/// [`MAX_AGE_ROUNDS`](crate::optimize::report::MAX_AGE_ROUNDS).
const MAX_WINDOWS: usize = 13;

/// Limit of decisions kept in one window. Beyond it, two consecutive ones count as the first of them.
const MAX_DECISIONS: usize = 64;

/// Shares of one source, by exporter.
pub type Shares = ByCluster<f64>;

/// State of one cluster for one service.
#[derive(Debug, Clone)]
pub struct Agent {
    cluster: ClusterId,
    demand: Demand,
    trim: Trim,
    calibration: Calibration,
    deviation: Deviation,
    row: AppliedRow,
    /// Decisions since the last window ended, starting with the one then in force.
    decisions: Vec<Decision>,
    /// Traffic of its clients in each of the last windows, the newest last.
    sent: VecDeque<(u64, Shares)>,
}

/// Row in force from a time on, and the load that its plan sends to the own export.
#[derive(Debug, Clone, PartialEq)]
struct Decision {
    /// Start, in seconds since 1970.
    at: u64,
    row: Shares,
    planned_load: Option<Arc<PlannedLoad>>,
}

/// Load that the joint plan sends to one export: its column of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedLoad {
    /// Share of each source whose demand was known.
    of_known: Shares,
    /// Share of each source whose demand was not known.
    of_unknown: Shares,
    /// Load with the demands and the residual that were known.
    load_rps: f64,
}

impl PlannedLoad {
    /// Returns the column of an exporter; a load of 0 if the solution does not list it.
    pub fn new(solution: &Solution, exporter: &ClusterId, input: &PlanningInput) -> Self {
        let Ok(column) = solution.exporters.binary_search_by(|planned| planned.cluster.cmp(exporter)) else {
            return Self { of_known: Shares::new(), of_unknown: Shares::new(), load_rps: 0.0 };
        };
        let planned = &solution.exporters[column];
        let counted = |source: &ClusterId| input.facts.sources.get(source).is_some_and(|source| source.counted);
        let (of_known, of_unknown): (Vec<_>, Vec<_>) = solution.rows.iter().partition(|row| counted(&row.source));
        let share = |row: &SolutionRow| (row.source.clone(), row.shares[column]);
        Self {
            of_known: of_known.into_iter().map(share).collect(),
            of_unknown: of_unknown.into_iter().map(share).collect(),
            load_rps: planned.load_rps + planned.residual_rps,
        }
    }

    /// Returns the load for given demands of the sources.
    fn load_for(&self, demand_rps: impl Fn(&ClusterId) -> f64) -> f64 {
        self.of_known.iter().chain(&self.of_unknown).map(|(source, share)| share * demand_rps(source)).sum()
    }
}

/// Load of the own export in a window by the plan.
#[derive(Debug, Clone, Copy)]
struct WindowPlan {
    /// Load with the demands that were then measured.
    for_measured_rps: f64,
    /// Load with the demands that were expected, and the residual; `None` if a source had no known demand.
    for_expected_rps: Option<f64>,
}

/// Measurement of the own export in a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExportMeasurement {
    pub load: Load,
    /// Assumed capacity of its pods.
    pub nominal_rps: f64,
    /// Load that it served while it rejected requests; `None` if it rejected none.
    pub limit_rps: Option<f64>,
}

/// Load of an export, in requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// Measured at the export.
    Measured(f64),
    /// Derived from the answers of all clusters. Answers follow from the plans, so this load says nothing about
    /// residuals.
    Answers(f64),
}

impl Load {
    /// Returns the load.
    pub fn rps(self) -> f64 {
        match self {
            Self::Measured(rps) | Self::Answers(rps) => rps,
        }
    }
}

impl Agent {
    pub fn new(cluster: ClusterId) -> Self {
        Self {
            cluster,
            demand: Demand::default(),
            trim: Trim::default(),
            calibration: Calibration::default(),
            deviation: Deviation::default(),
            row: AppliedRow::default(),
            decisions: Vec::new(),
            sent: VecDeque::new(),
        }
    }

    /// Returns an agent that continues from the last report of its cluster.
    pub fn resumed(cluster: ClusterId, last: &Report) -> Self {
        Self {
            demand: last.demand_rps.map(Demand::resumed).unwrap_or_default(),
            trim: Trim::at(last.residual_rps),
            deviation: Deviation::at(last.deviation),
            ..Self::new(cluster)
        }
    }

    /// Records the demand of the local clients in the window that ends. Their traffic is split as intended.
    pub fn record_demand(&mut self, demand_rps: f64, now: u64, tuning: &Tuning) {
        let mut sent = self.intended(now);
        sent.iter_mut().for_each(|(_, share)| *share *= demand_rps);
        self.record_traffic(demand_rps, sent, now, tuning);
    }

    /// Records the demand of the local clients, and the traffic that they sent to each exporter, in the window that
    /// ends.
    pub fn record_traffic(&mut self, demand_rps: f64, sent: Shares, now: u64, tuning: &Tuning) {
        self.demand = self.demand.step(demand_rps, tuning);
        self.sent.push_back((now, sent.into_iter().filter(|(_, rps)| *rps > 0.0).collect()));
        if self.sent.len() > MAX_WINDOWS {
            self.sent.pop_front();
        }
    }

    /// Compares the load of its export with the plan. `demands_rps` are the demands that the sources report for the
    /// window, or for their last known one.
    pub fn compare(&mut self, measured: ExportMeasurement, demands_rps: &ByCluster<f64>, now: u64, tuning: &Tuning) {
        let ExportMeasurement { load, nominal_rps, limit_rps } = measured;
        self.calibration = self.calibration.step(nominal_rps, limit_rps);
        let capacity_rps = self.capacity_rps(nominal_rps);
        if let Some(plan) = self.planned(demands_rps, now) {
            let measured_rps = match load {
                Load::Measured(rps) => rps,
                Load::Answers(_) => plan.for_measured_rps,
            };
            self.trim =
                self.trim.step(Window { measured_rps, planned_rps: plan.for_measured_rps, capacity_rps }, tuning);
            if let Some(planned_rps) = plan.for_expected_rps {
                self.deviation = self.deviation.step(Window { measured_rps, planned_rps, capacity_rps }, tuning);
            }
        }
    }

    /// Starts a window. The decision in force continues in it.
    pub fn begin_window(&mut self, now: u64) {
        self.decisions.drain(..self.decisions.len().saturating_sub(1));
        self.decisions.iter_mut().for_each(|decision| decision.at = now);
    }

    /// Returns the load of the own export in the window by the plans in force. Returns `None` if some part of the
    /// window had no joint plan.
    fn planned(&self, demands_rps: &ByCluster<f64>, now: u64) -> Option<WindowPlan> {
        let demand = |source: &ClusterId| demands_rps.get(source).copied().unwrap_or(0.0);
        let mut plan = WindowPlan { for_measured_rps: 0.0, for_expected_rps: Some(0.0) };
        for (part, decision) in weighted_by_time(&self.decisions, now) {
            let planned_load = decision.planned_load.as_ref()?;
            plan.for_measured_rps += part * planned_load.load_for(demand);
            // A source that appears is no error of the plan, and neither is a demand that was assumed.
            let complete =
                demands_rps.iter().all(|(source, &rps)| rps <= 0.0 || planned_load.of_known.contains_key(source));
            plan.for_expected_rps =
                plan.for_expected_rps.filter(|_| complete).map(|sum| sum + part * planned_load.load_rps);
        }
        (!self.decisions.is_empty()).then_some(plan)
    }

    /// Returns the capacity of its pods, corrected by what was observed.
    pub fn capacity_rps(&self, nominal_rps: f64) -> f64 {
        self.calibration.capacity_rps(nominal_rps)
    }

    /// Returns the report to publish. `export` is `None` without an export, or without a known load.
    pub fn report(&self, export: Option<ExportMeasurement>, at: u64, tuning: &Tuning) -> Report {
        let capacity_rps = export.map(|export| self.capacity_rps(export.nominal_rps));
        Report {
            at,
            demand_rps: self.demand.rps(tuning),
            trend_rps: self.demand.trend_rps(tuning),
            measured_demand_rps: None,
            pod_capacity_rps: None,
            capacity_rps,
            load_rps: export.map(|export| export.load.rps()),
            load_from_answers: export.is_some_and(|export| matches!(export.load, Load::Answers(_))),
            residual_rps: self.trim.published_rps(capacity_rps.unwrap_or(0.0), tuning),
            deviation: self.deviation.published(),
            service_ms: 0.0,
            parameter_hash: None,
        }
    }

    /// Returns true if the local demand, measured in the middle of a round, is a jump that justifies an early report.
    /// The next report then contains it.
    pub fn jump(&mut self, demand_rps: f64, tuning: &Tuning) -> bool {
        let jumped = self.demand.jump(demand_rps, tuning);
        self.demand = jumped.unwrap_or(self.demand);
        jumped.is_some()
    }

    /// Applies this cluster's row of the joint plan, or of the fallback plan if there is no joint one. Without either,
    /// the row in force stays.
    pub fn decide(
        &mut self,
        input: &PlanningInput,
        joint: Option<&Solution>,
        now: u64,
        tuning: &Tuning,
    ) -> Result<&Shares, SolveError> {
        let facts = &input.facts;
        let proposed = match (joint, input.method) {
            (Some(solution), _) => solution.shares(&self.cluster).unwrap_or_default(),
            (None, Method::Fallback) => fallback_row(facts, &self.cluster, &self.own_traffic_rps(input), tuning)?,
            (None, Method::Joint | Method::Keep) => self.row.shares().clone(),
        };
        self.row = std::mem::take(&mut self.row).step(proposed, tuning);
        let planned_load = joint.map(|solution| Arc::new(PlannedLoad::new(solution, &self.cluster, input)));
        self.record_decision(self.row.shares().clone(), planned_load, now);
        Ok(self.row.shares())
    }

    /// Records the row that is in force from now on.
    pub fn record_decision(&mut self, row: Shares, planned_load: Option<Arc<PlannedLoad>>, now: u64) {
        if self.decisions.last().is_some_and(|last| last.row == row && last.planned_load == planned_load) {
            return;
        }
        if self.decisions.last().is_some_and(|last| last.at == now) {
            self.decisions.pop();
        }
        if self.decisions.len() >= MAX_DECISIONS {
            self.decisions.remove(1);
        }
        self.decisions.push(Decision { at: now, row, planned_load });
    }

    /// Returns the intended shares of its clients in the window that ends now: the rows in force, weighted by time.
    pub fn intended(&self, now: u64) -> Shares {
        let mut intended = Shares::new();
        for (part, decision) in weighted_by_time(&self.decisions, now) {
            for (exporter, share) in &decision.row {
                *intended.entry(exporter.clone()).or_insert(0.0) += part * share;
            }
        }
        intended
    }

    /// Returns its traffic to each exporter, in the window in which the load of that exporter was measured.
    pub fn own_traffic_rps(&self, input: &PlanningInput) -> Shares {
        let window = |at: u64| self.sent.iter().rev().find(|(end, _)| *end <= at).map(|(_, sent)| sent);
        let sent = |(cluster, exporter): (&ClusterId, &Exporter)| {
            Some((cluster.clone(), *window(exporter.measured_at)?.get(cluster)?))
        };
        input.facts.exporters.iter().filter_map(sent).collect()
    }
}

/// Returns each decision with the fraction of the time until `now` in which it was in force. After the clock was set
/// back these times are unknown, and the last decision counts for all of it.
fn weighted_by_time(decisions: &[Decision], now: u64) -> impl Iterator<Item = (f64, &Decision)> {
    let set_back = decisions.iter().any(|decision| decision.at > now);
    let decisions = if set_back { &decisions[decisions.len() - 1..] } else { decisions };
    let begin = decisions.first().map_or(now, |first| first.at);
    let total = now.saturating_sub(begin).max(1) as f64;
    let ends = decisions.iter().skip(1).map(|next| next.at).chain(std::iter::once(now));
    let part = move |decision: &Decision, end: u64| end.saturating_sub(decision.at) as f64 / total;
    let timed = decisions.iter().zip(ends);
    timed.map(move |(decision, end)| (if set_back { 1.0 } else { part(decision, end) }, decision))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::optimize::cost::UnitCost;
    use crate::optimize::facts::Facts;
    use crate::optimize::objective::Objective;
    use crate::optimize::report::planning_input;
    use crate::optimize::solution::solve_jointly;

    const T: u64 = 300;

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    /// Returns the input with demands of `a` and `b`, whose exports are far from each other.
    fn input(demands_rps: [f64; 2], now: u64) -> PlanningInput {
        input_of(demands_rps.map(Some), now)
    }

    fn input_of(demands_rps: [Option<f64>; 2], now: u64) -> PlanningInput {
        let ids = [id("a"), id("b")];
        let path = |i: usize, j: usize| UnitCost { latency_ms: if i == j { 0.5 } else { 50.0 }, price_ms: 0.0 };
        let row = |i: usize| Arc::new((0..2).map(|j| (ids[j].clone(), path(i, j))).collect::<BTreeMap<_, _>>());
        let costs = (0..2).map(|i| (ids[i].clone(), row(i))).collect();
        let report = |demand_rps| Report { at: now, demand_rps, capacity_rps: Some(1000.0), ..Report::default() };
        let reports = (0..2).map(|i| (ids[i].clone(), report(demands_rps[i]))).collect();
        planning_input(&reports, &costs, |_| Some(0.0), (&Objective::default(), now))
    }

    fn decide(agent: &mut Agent, demands_rps: [f64; 2], now: u64) -> Shares {
        let input = input(demands_rps, now);
        let joint = solve_jointly(&input.facts, &Tuning::default(), &ByCluster::new()).unwrap();
        agent.decide(&input, Some(&joint), now, &Tuning::default()).unwrap().clone()
    }

    fn measured(load_rps: f64) -> ExportMeasurement {
        ExportMeasurement { load: Load::Measured(load_rps), nominal_rps: 1000.0, limit_rps: None }
    }

    fn residual(agent: &Agent) -> f64 {
        agent.report(Some(measured(0.0)), 0, &Tuning::default()).residual_rps
    }

    #[test]
    fn load_that_the_plan_does_not_explain_is_a_residual() {
        let tuning = Tuning::default();
        let mut agent = Agent::new(id("a"));
        decide(&mut agent, [400.0, 300.0], 0);
        let demands = ByCluster::from_iter([(id("a"), 400.0), (id("b"), 300.0)]);
        agent.compare(measured(400.0), &demands, T, &tuning);
        agent.begin_window(T);
        assert!(residual(&agent).abs() < 1e-9, "{}", residual(&agent));
        agent.compare(measured(600.0), &demands, 2 * T, &tuning);
        agent.begin_window(2 * T);
        assert!((residual(&agent) - 100.0).abs() < 1.0, "half of what is new: {}", residual(&agent));
    }

    #[test]
    fn load_is_not_compared_with_assumed_demands() {
        let tuning = Tuning::default();
        let mut agent = Agent::new(id("a"));
        let input = input_of([Some(400.0), None], 0);
        assert!(input.facts.demand_unknown);
        let joint = solve_jointly(&input.facts, &tuning, &ByCluster::new()).unwrap();
        agent.decide(&input, Some(&joint), 0, &tuning).unwrap();
        agent.compare(measured(400.0), &ByCluster::from_iter([(id("a"), 400.0)]), T, &tuning);
        let report = agent.report(Some(measured(400.0)), T, &tuning);
        assert!(report.residual_rps.abs() < 1e-9 && report.deviation.abs() < 1e-9, "{report:?}");
    }

    #[test]
    fn load_derived_from_answers_is_no_residual() {
        let tuning = Tuning::default();
        let mut agent = Agent::new(id("a"));
        decide(&mut agent, [400.0, 300.0], 0);
        let demands = ByCluster::from_iter([(id("a"), 400.0), (id("b"), 300.0)]);
        let answered = ExportMeasurement { load: Load::Answers(600.0), ..measured(0.0) };
        agent.compare(answered, &demands, T, &tuning);
        let report = agent.report(Some(answered), T, &tuning);
        assert!(report.residual_rps.abs() < 1e-9 && report.deviation.abs() < 1e-9, "{report:?}");
        assert_eq!((report.load_rps, report.measured_load_rps()), (Some(600.0), None), "the report says what it is");
    }

    #[test]
    fn window_with_two_decisions_is_compared_with_both_by_time() {
        let tuning = Tuning::default();
        let mut agent = Agent::new(id("a"));
        // First b serves itself, then, for two thirds of the window, a serves a part of a demand that b cannot.
        decide(&mut agent, [0.0, 600.0], 0);
        let spilled = decide(&mut agent, [0.0, 1500.0], 100);
        assert!(spilled[&id("a")] > 0.99, "a stays at home");
        let demands = ByCluster::from_iter([(id("b"), 1500.0)]);
        let mut other = Agent::new(id("b"));
        decide(&mut other, [0.0, 600.0], 0);
        let sent = 1500.0 * decide(&mut other, [0.0, 1500.0], 100)[&id("a")];
        agent.compare(measured(sent * 2.0 / 3.0), &demands, T, &tuning);
        assert!(residual(&agent).abs() < 1e-9, "{}", residual(&agent));
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_no_residual() {
        let tuning = Tuning::default();
        let mut agent = Agent::new(id("a"));
        decide(&mut agent, [400.0, 300.0], 10_000);
        decide(&mut agent, [500.0, 300.0], 10_002);
        assert!((agent.intended(6400).values().sum::<f64>() - 1.0).abs() < 1e-9);
        let demands = ByCluster::from_iter([(id("a"), 500.0), (id("b"), 300.0)]);
        agent.compare(measured(500.0), &demands, 6400, &tuning);
        assert!(residual(&agent).abs() < 1e-9, "{}", residual(&agent));
    }

    #[test]
    fn intended_shares_are_those_of_the_window_also_without_an_export() {
        let mut agent = Agent::new(id("a"));
        let only = |exporter: &str| Shares::from_iter([(id(exporter), 1.0)]);
        agent.record_decision(only("a"), None, 0);
        agent.begin_window(60 * T);
        agent.record_decision(only("b"), None, 60 * T);
        assert_eq!(agent.intended(61 * T), only("b"), "the time before the window does not matter");
    }

    #[test]
    fn row_in_force_stays_without_a_new_one() {
        let mut agent = Agent::new(id("a"));
        let row = decide(&mut agent, [400.0, 300.0], 0);
        let empty =
            PlanningInput { facts: Facts::default(), method: Method::Keep, if_all_ready: None, own_traffic_rps: None };
        assert_eq!(agent.decide(&empty, None, T, &Tuning::default()), Ok(&row));
        let fallback = PlanningInput { method: Method::Fallback, ..empty };
        assert_eq!(agent.decide(&fallback, None, T, &Tuning::default()), Err(SolveError::NoCapacity));
        assert_eq!(agent.row.shares(), &row);
    }

    #[test]
    fn fallback_uses_the_traffic_of_the_window_of_the_load() {
        let tuning = Tuning::default();
        let mut agent = Agent::new(id("a"));
        decide(&mut agent, [400.0, 300.0], 0);
        agent.record_demand(400.0, T, &tuning);
        decide(&mut agent, [0.0, 300.0], T);
        agent.record_demand(0.0, 2 * T, &tuning);
        let mut input = input([400.0, 300.0], 2 * T);
        for (exporter, at) in [("a", T), ("b", 2 * T)] {
            input.facts.exporters[&id(exporter)].measured_at = at;
        }
        let sent = agent.own_traffic_rps(&input);
        assert!((sent[&id("a")] - 400.0).abs() < 1.0, "{sent:?}");
        assert!(sent.get(&id("b")).is_none_or(|rps| *rps < 1.0), "{sent:?}");
    }

    #[test]
    fn jump_of_the_demand_is_in_the_next_report_and_noise_is_not() {
        let tuning = Tuning::default();
        let mut agent = Agent::new(id("a"));
        let demand = |agent: &Agent| agent.report(None, 0, &tuning).demand_rps;
        assert_eq!(demand(&agent), None);
        assert!(agent.jump(100.0, &tuning), "the first one");
        assert!(!agent.jump(110.0, &tuning));
        assert_eq!(demand(&agent), Some(100.0));
        assert!(agent.jump(300.0, &tuning));
        assert_eq!(demand(&agent), Some(300.0));
    }
}
