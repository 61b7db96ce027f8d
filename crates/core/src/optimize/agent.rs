//! One cluster's part in the selection for one service: what it remembers between rounds, and the order of its steps.
//!
//! ```text
//! a window ends:   count (own demand) ── compare (own export's load with the plan) ──▶ report ──▶ everybody
//! a round begins:  everybody's reports ── report::facts ──▶ decide ──▶ the row in force
//! ```
//!
//! An agent computes from what was *published*, its own report included: one that knew more about itself than the others do
//! would plan something else for all than they do.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::name::{ByCluster, ClusterId};
use crate::optimize::facts::{Exporter, Tuning};
use crate::optimize::fill::fallback_row;
use crate::optimize::filter::{Calibration, Demand, Deviation, Row, Trim, Window};
use crate::optimize::report::{Known, Method, Report};
use crate::optimize::{self, Solution, Unsolved};

/// Windows whose load a report can still tell: one more than [`LAST_ROUNDS`](crate::optimize::report::LAST_ROUNDS).
const MOST_WINDOWS: usize = 13;

/// Decisions of one window that are told apart. With more, two that follow each other count as the first of them.
const MOST_DECISIONS: usize = 64;

/// By exporter.
pub type Shares = ByCluster<f64>;

#[derive(Debug, Clone)]
pub struct Agent {
    cluster: ClusterId,
    demand: Demand,
    trim: Trim,
    calibration: Calibration,
    deviation: Deviation,
    row: Row,
    /// What was decided since the last window ended, the decision in force at its beginning first.
    decisions: Vec<Decision>,
    /// What its clients sent in each of the last windows, the newest last.
    sent: VecDeque<(u64, Shares)>,
}

/// What an agent does, and expects, from a moment on.
#[derive(Debug, Clone, PartialEq)]
struct Decision {
    /// In seconds since 1970.
    at: u64,
    row: Shares,
    expected: Option<Arc<Expected>>,
}

/// What the plan of all brings to the agent's own export.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// The part of the demand of each source whose demand was known.
    known: Shares,
    /// And of each of the others.
    unknown: Shares,
    /// With the demand and the residual that were known.
    load_rps: f64,
}

impl Expected {
    pub fn new(solution: &Solution, exporter: &ClusterId, known: &Known) -> Self {
        let Ok(column) = solution.exporters.binary_search_by(|planned| planned.cluster.cmp(exporter)) else {
            return Self { known: Shares::new(), unknown: Shares::new(), load_rps: 0.0 };
        };
        let planned = &solution.exporters[column];
        let counted = |source: &ClusterId| known.facts.sources.get(source).is_some_and(|source| source.counted);
        let (of_known, of_unknown): (Vec<_>, Vec<_>) = solution.rows.iter().partition(|row| counted(&row.source));
        let share = |row: &optimize::Row| (row.source.clone(), row.shares[column]);
        Self {
            known: of_known.into_iter().map(share).collect(),
            unknown: of_unknown.into_iter().map(share).collect(),
            load_rps: planned.load_rps + planned.residual_rps,
        }
    }

    /// What it brings when the sources ask for so much.
    fn asked_rps(&self, demand_rps: impl Fn(&ClusterId) -> f64) -> f64 {
        self.known.iter().chain(&self.unknown).map(|(source, share)| share * demand_rps(source)).sum()
    }
}

/// What a window brought to an export, if the plan was right.
#[derive(Debug, Clone, Copy)]
struct Planned {
    /// With the demand that was then measured.
    asked_rps: f64,
    /// With the demand that was expected before, and the residual.
    expected_rps: Option<f64>,
}

/// What an agent measured of its own export in a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    pub load: Load,
    /// As its pods are thought to sustain.
    pub nominal_rps: f64,
    /// What it served per second while it rejected requests; `None`: it rejected none.
    pub limit_rps: Option<f64>,
}

/// What an export was asked for, in requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// By a meter of its own.
    Measured(f64),
    /// What the answers of all clusters amount to. They follow from the plans, and say nothing of what no plan explains.
    Answers(f64),
}

impl Load {
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
            row: Row::default(),
            decisions: Vec::new(),
            sent: VecDeque::new(),
        }
    }

    /// Goes on from what its cluster published last, as far as that tells.
    pub fn resumed(cluster: ClusterId, last: &Report) -> Self {
        Self {
            demand: last.demand_rps.map(Demand::resumed).unwrap_or_default(),
            trim: Trim::at(last.residual_rps),
            deviation: Deviation::at(last.deviation),
            ..Self::new(cluster)
        }
    }

    /// A window ended, and this is what the local clients asked for in it.
    pub fn count(&mut self, demand_rps: f64, now: u64, tuning: &Tuning) {
        let mut sent = self.intended(now);
        sent.iter_mut().for_each(|(_, share)| *share *= demand_rps);
        self.count_sent(demand_rps, sent, now, tuning);
    }

    /// The same where it is known where they were sent.
    pub fn count_sent(&mut self, demand_rps: f64, sent: Shares, now: u64, tuning: &Tuning) {
        self.demand = self.demand.step(demand_rps, tuning);
        self.sent.push_back((now, sent.into_iter().filter(|(_, rps)| *rps > 0.0).collect()));
        if self.sent.len() > MOST_WINDOWS {
            self.sent.pop_front();
        }
    }

    /// Compares the load of its export with what it planned for it. `demands_rps` is what each source says that it asked
    /// for in the window, or in the last one that is known of it.
    pub fn compare(&mut self, measured: Measured, demands_rps: &ByCluster<f64>, now: u64, tuning: &Tuning) {
        let Measured { load, nominal_rps, limit_rps } = measured;
        self.calibration = self.calibration.step(nominal_rps, limit_rps);
        let capacity_rps = self.capacity_rps(nominal_rps);
        if let Some(plan) = self.planned(demands_rps, now) {
            let measured_rps = match load {
                Load::Measured(rps) => rps,
                Load::Answers(_) => plan.asked_rps,
            };
            self.trim = self.trim.step(Window { measured_rps, planned_rps: plan.asked_rps, capacity_rps }, tuning);
            if let Some(planned_rps) = plan.expected_rps {
                self.deviation = self.deviation.step(Window { measured_rps, planned_rps, capacity_rps }, tuning);
            }
        }
    }

    /// A window begins, whatever was measured in the last one: the decision in force goes on into it.
    pub fn begin_window(&mut self, now: u64) {
        self.decisions.drain(..self.decisions.len().saturating_sub(1));
        self.decisions.iter_mut().for_each(|decision| decision.at = now);
    }

    /// `None`: in some part of the window it did not know what the others do.
    fn planned(&self, demands_rps: &ByCluster<f64>, now: u64) -> Option<Planned> {
        let demand = |source: &ClusterId| demands_rps.get(source).copied().unwrap_or(0.0);
        let mut plan = Planned { asked_rps: 0.0, expected_rps: Some(0.0) };
        for (part, decision) in stretches(&self.decisions, now) {
            let expected = decision.expected.as_ref()?;
            plan.asked_rps += part * expected.asked_rps(demand);
            // Who asks for the first time is no error of the plan, and what was assumed is none either.
            let complete = demands_rps.iter().all(|(source, &rps)| rps <= 0.0 || expected.known.contains_key(source));
            plan.expected_rps = plan.expected_rps.filter(|_| complete).map(|sum| sum + part * expected.load_rps);
        }
        (!self.decisions.is_empty()).then_some(plan)
    }

    /// What its pods sustain, as far as that was seen.
    pub fn capacity_rps(&self, nominal_rps: f64) -> f64 {
        self.calibration.capacity_rps(nominal_rps)
    }

    /// What everybody is told. `None`: there is no export here, or nobody measured its load.
    pub fn report(&self, export: Option<Measured>, at: u64, tuning: &Tuning) -> Report {
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

    /// Whether the local demand, measured over the first seconds of a round, is reason for an early report: it is then in
    /// the next one.
    pub fn jump(&mut self, demand_rps: f64, tuning: &Tuning) -> bool {
        let jumped = self.demand.jump(demand_rps, tuning);
        self.demand = jumped.unwrap_or(self.demand);
        jumped.is_some()
    }

    /// Puts the own row of a plan in force: of the joint one, which all agents that know the same share, or where there is
    /// none of the fallback. When that has none either, the row in force stays.
    pub fn decide(
        &mut self,
        known: &Known,
        joint: Option<&Solution>,
        now: u64,
        tuning: &Tuning,
    ) -> Result<&Shares, Unsolved> {
        let facts = &known.facts;
        let proposed = match (joint, known.method) {
            (Some(solution), _) => solution.shares(&self.cluster).unwrap_or_default(),
            (None, Method::Fallback) => fallback_row(facts, &self.cluster, &self.sent(known), tuning)?,
            (None, Method::Joint | Method::Keep) => self.row.shares().clone(),
        };
        self.row = std::mem::take(&mut self.row).step(proposed, tuning);
        let expected = joint.map(|solution| Arc::new(Expected::new(solution, &self.cluster, known)));
        self.decided(self.row.shares().clone(), expected, now);
        Ok(self.row.shares())
    }

    /// Remembers what is in force from now on.
    pub fn decided(&mut self, row: Shares, expected: Option<Arc<Expected>>, now: u64) {
        if self.decisions.last().is_some_and(|last| last.row == row && last.expected == expected) {
            return;
        }
        if self.decisions.last().is_some_and(|last| last.at == now) {
            self.decisions.pop();
        }
        if self.decisions.len() >= MOST_DECISIONS {
            self.decisions.remove(1);
        }
        self.decisions.push(Decision { at: now, row, expected });
    }

    /// Where its clients should have been sent in the window that ends now: parts of 1, as long as each decision was in force.
    pub fn intended(&self, now: u64) -> Shares {
        let mut intended = Shares::new();
        for (part, decision) in stretches(&self.decisions, now) {
            for (exporter, share) in &decision.row {
                *intended.entry(exporter.clone()).or_insert(0.0) += part * share;
            }
        }
        intended
    }

    /// What it sent to each exporter in the very window in which that exporter's load was measured.
    pub fn sent(&self, known: &Known) -> Shares {
        let window = |at: u64| self.sent.iter().rev().find(|(end, _)| *end <= at).map(|(_, sent)| sent);
        let sent = |(cluster, exporter): (&ClusterId, &Exporter)| {
            Some((cluster.clone(), *window(exporter.measured_at)?.get(cluster)?))
        };
        known.facts.exporters.iter().filter_map(sent).collect()
    }
}

/// Each decision with the part of the time until `now` in which it was in force. When the clock was set back nobody knows for how
/// long each was, and the last one counts for all.
fn stretches(decisions: &[Decision], now: u64) -> impl Iterator<Item = (f64, &Decision)> {
    let set_back = decisions.iter().any(|decision| decision.at > now);
    let decisions = if set_back { &decisions[decisions.len() - 1..] } else { decisions };
    let begin = decisions.first().map_or(now, |first| first.at);
    let whole = now.saturating_sub(begin).max(1) as f64;
    let ends = decisions.iter().skip(1).map(|next| next.at).chain(std::iter::once(now));
    let part = move |decision: &Decision, end: u64| end.saturating_sub(decision.at) as f64 / whole;
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
    use crate::optimize::report::facts;
    use crate::optimize::solution::optimize;

    const T: u64 = 300;

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    /// What everybody knows when `a` and `b` ask for so much, each of the other's export a long way off.
    fn known(demands_rps: [f64; 2], now: u64) -> Known {
        known_of(demands_rps.map(Some), now)
    }

    fn known_of(demands_rps: [Option<f64>; 2], now: u64) -> Known {
        let ids = [id("a"), id("b")];
        let way = |i: usize, j: usize| UnitCost { latency_ms: if i == j { 0.5 } else { 50.0 }, price_ms: 0.0 };
        let row = |i: usize| Arc::new((0..2).map(|j| (ids[j].clone(), way(i, j))).collect::<BTreeMap<_, _>>());
        let costs = (0..2).map(|i| (ids[i].clone(), row(i))).collect();
        let report = |demand_rps| Report { at: now, demand_rps, capacity_rps: Some(1000.0), ..Report::default() };
        let reports = (0..2).map(|i| (ids[i].clone(), report(demands_rps[i]))).collect();
        facts(&reports, &costs, |_| Some(0.0), (&Objective::default(), now))
    }

    fn decide(agent: &mut Agent, demands_rps: [f64; 2], now: u64) -> Shares {
        let known = known(demands_rps, now);
        let joint = optimize(&known.facts, &Tuning::default(), &ByCluster::new()).unwrap();
        agent.decide(&known, Some(&joint), now, &Tuning::default()).unwrap().clone()
    }

    fn measured(load_rps: f64) -> Measured {
        Measured { load: Load::Measured(load_rps), nominal_rps: 1000.0, limit_rps: None }
    }

    fn residual(agent: &Agent) -> f64 {
        agent.report(Some(measured(0.0)), 0, &Tuning::default()).residual_rps
    }

    #[test]
    fn load_that_the_plan_explains_is_no_residual_and_load_that_it_does_not_is() {
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
    fn a_load_is_not_compared_with_demands_that_were_assumed() {
        let tuning = Tuning::default();
        let mut agent = Agent::new(id("a"));
        let known = known_of([Some(400.0), None], 0);
        assert!(known.facts.demand_unknown);
        let joint = optimize(&known.facts, &tuning, &ByCluster::new()).unwrap();
        agent.decide(&known, Some(&joint), 0, &tuning).unwrap();
        agent.compare(measured(400.0), &ByCluster::from_iter([(id("a"), 400.0)]), T, &tuning);
        let report = agent.report(Some(measured(400.0)), T, &tuning);
        assert!(report.residual_rps.abs() < 1e-9 && report.deviation.abs() < 1e-9, "{report:?}");
    }

    #[test]
    fn answers_of_other_windows_than_the_plans_are_no_residual() {
        let tuning = Tuning::default();
        let mut agent = Agent::new(id("a"));
        decide(&mut agent, [400.0, 300.0], 0);
        let demands = ByCluster::from_iter([(id("a"), 400.0), (id("b"), 300.0)]);
        let answered = Measured { load: Load::Answers(600.0), ..measured(0.0) };
        agent.compare(answered, &demands, T, &tuning);
        let report = agent.report(Some(answered), T, &tuning);
        assert!(report.residual_rps.abs() < 1e-9 && report.deviation.abs() < 1e-9, "{report:?}");
        assert_eq!((report.load_rps, report.measured_load_rps()), (Some(600.0), None), "others are told what it is");
    }

    #[test]
    fn a_window_with_two_decisions_is_compared_with_both_each_for_its_time() {
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
    fn what_was_intended_is_of_the_window_also_where_nothing_is_exported() {
        let mut agent = Agent::new(id("a"));
        let only = |exporter: &str| Shares::from_iter([(id(exporter), 1.0)]);
        agent.decided(only("a"), None, 0);
        agent.begin_window(60 * T);
        agent.decided(only("b"), None, 60 * T);
        assert_eq!(agent.intended(61 * T), only("b"), "for how long it was another one before is no matter");
    }

    #[test]
    fn the_row_in_force_stays_when_there_is_no_new_one() {
        let mut agent = Agent::new(id("a"));
        let row = decide(&mut agent, [400.0, 300.0], 0);
        let nobody = Known { facts: Facts::default(), method: Method::Keep, whole: None, sent: None };
        assert_eq!(agent.decide(&nobody, None, T, &Tuning::default()), Ok(&row));
        let fallback = Known { method: Method::Fallback, ..nobody };
        assert_eq!(agent.decide(&fallback, None, T, &Tuning::default()), Err(Unsolved::NobodyEligible));
        assert_eq!(agent.row.shares(), &row);
    }

    #[test]
    fn the_fallback_takes_what_was_sent_in_the_window_of_the_load() {
        let tuning = Tuning::default();
        let mut agent = Agent::new(id("a"));
        decide(&mut agent, [400.0, 300.0], 0);
        agent.count(400.0, T, &tuning);
        decide(&mut agent, [0.0, 300.0], T);
        agent.count(0.0, 2 * T, &tuning);
        let mut known = known([400.0, 300.0], 2 * T);
        for (exporter, at) in [("a", T), ("b", 2 * T)] {
            known.facts.exporters[&id(exporter)].measured_at = at;
        }
        let sent = agent.sent(&known);
        assert!((sent[&id("a")] - 400.0).abs() < 1.0, "{sent:?}");
        assert!(sent.get(&id("b")).is_none_or(|rps| *rps < 1.0), "{sent:?}");
    }

    #[test]
    fn a_jump_of_the_demand_is_in_the_next_report_and_noise_waits() {
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
