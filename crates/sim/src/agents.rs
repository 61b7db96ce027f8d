//! The optimizer as it runs in the operator: one agent per cluster, each with its own view of the published facts.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::name::{ByCluster, ClusterId};
use landfall_core::optimize::agent::{Agent, ExportMeasurement, Load};
use landfall_core::optimize::cost::{ExchangeRate, Path, unit_cost};
use landfall_core::optimize::facts::Tuning;
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::{CostMatrix, Method, PlanningInput, Report, planning_input};
use landfall_core::optimize::{Solution, solve_jointly};

use crate::matrix::Matrix;
use crate::policy::{EarlyMeasurement, Moment, PastRound, SharingPolicy};
use crate::world::World;

/// The enabled parts of the optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// All parts, as in the operator.
    Whole,
    /// Without reactions: a jump of the demand waits for the next round.
    RoundsOnly,
    /// The fallback for unknown demand: each cluster decides for itself, from measured loads.
    Fallback,
}

/// The agents of all clusters as one policy.
pub struct Agents {
    variant: Variant,
    objective: Objective,
    ids: Vec<ClusterId>,
    agents: Vec<Agent>,
    /// Reports that each cluster published at the end of each round.
    reports: Vec<Vec<Report>>,
    /// Demands that jumped in this round and were published early, by index of the cluster.
    early: BTreeMap<usize, f64>,
    prices: ByCluster<f64>,
}

impl Agents {
    pub fn new(world: &World, variant: Variant, tuning: Tuning) -> Self {
        // A scenario may use any names. Only the order of the clusters matters here.
        let id = |i: usize| ClusterId::new(&format!("c{i:05}")).expect("a letter and digits are a label");
        let ids: Vec<ClusterId> = (0..world.size()).map(id).collect();
        let agents = ids.iter().cloned().map(Agent::new).collect();
        let objective = Objective { round_seconds: world.round_seconds, tuning, ..Objective::default() };
        Self { variant, objective, ids, agents, reports: Vec::new(), early: BTreeMap::new(), prices: ByCluster::new() }
    }

    /// Takes in the measurements of the round that ended, and publishes reports.
    fn end_round(&mut self, moment: &Moment<'_>) {
        let Some(past) = moment.past.last() else { return };
        let (world, now) = (moment.world, now(moment, 0.0));
        let mut published = Vec::new();
        for (i, agent) in self.agents.iter_mut().enumerate().filter(|(i, _)| !world.legacy[*i]) {
            agent.record_demand(past.reported_rps[i], now, &self.objective.tuning);
        }
        for (i, agent) in self.agents.iter().enumerate() {
            let export = measured(past, i);
            let report = agent.report(Some(export), now, &self.objective.tuning);
            let measured = (!world.legacy[i]).then_some(past.reported_rps[i]);
            published.push(Report { measured_demand_rps: measured, service_ms: world.service_ms[i], ..report });
        }
        self.reports.push(published);
        for i in 0..self.agents.len() {
            let demand = |(l, id): (usize, &ClusterId)| {
                let report = self.reports[self.window(moment, i, l)][l];
                Some((id.clone(), report.measured_demand_rps?))
            };
            let demands = self.ids.iter().enumerate().filter_map(demand).collect();
            let export = measured(past, i);
            self.agents[i].compare(export, &demands, now, &self.objective.tuning);
            self.agents[i].begin_window(now);
        }
        let report_again =
            |(i, agent): (usize, &Agent)| agent.report(Some(measured(past, i)), now, &self.objective.tuning);
        let compared: Vec<Report> = self.agents.iter().enumerate().map(report_again).collect();
        for (report, compared) in self.reports.last_mut().into_iter().flatten().zip(compared) {
            report.capacity_rps = compared.capacity_rps;
            report.residual_rps = compared.residual_rps;
            report.deviation = compared.deviation;
        }
    }

    /// Returns the round of the newest report of `l` that `i` has.
    fn window(&self, moment: &Moment<'_>, i: usize, l: usize) -> usize {
        (self.reports.len() - 1).saturating_sub(age(moment, i, l))
    }

    /// Returns the planning input of cluster `i`. All clusters know at once which exporters are alive.
    fn input(&self, moment: &Moment<'_>, i: usize, costs: &CostMatrix, now: u64) -> PlanningInput {
        let world = moment.world;
        let report = |(l, id): (usize, &ClusterId)| {
            let mut report = match self.reports.is_empty() {
                true => Report { at: now, service_ms: world.service_ms[l], ..Report::default() },
                false => self.reports[self.window(moment, i, l)][l],
            };
            // A changed capacity is published at once. That of a returning exporter is known from before.
            if world.staleness == 0 || self.reports.is_empty() {
                report.capacity_rps = Some(self.agents[l].capacity_rps(world.rounds[moment.round].advertised_rps[l]));
            } else if report.capacity_rps <= Some(0.0) {
                report.capacity_rps = Some(self.agents[l].capacity_rps(moment.nominal_rps[l]));
            }
            if let Some(&demand_rps) = self.early.get(&l).filter(|_| age(moment, i, l) == 0) {
                report = Report { demand_rps: Some(demand_rps), trend_rps: 0.0, ..report };
            }
            (id.clone(), report)
        };
        let reports = self.ids.iter().enumerate().map(report).collect();
        let alive = |id: &ClusterId| {
            self.ids.binary_search(id).ok().filter(|&l| world.rounds[moment.round].alive[l]).map(|_| 0.0)
        };
        let mut input = planning_input(&reports, costs, alive, (&self.objective, now));
        if self.variant == Variant::Fallback && !self.reports.is_empty() {
            input.method = Method::Fallback;
        }
        input
    }

    fn decide(&mut self, moment: &Moment<'_>, now: u64) -> Matrix<f64> {
        let costs = self.costs(moment);
        let mut joint: Option<(PlanningInput, Option<Solution>)> = None;
        let mut shares = Matrix::filled(self.ids.len(), 0.0);
        for i in 0..self.agents.len() {
            let input = self.input(moment, i, &costs, now);
            // Agents with the same input have the same plan.
            if joint.as_ref().is_none_or(|(other, _)| *other != input) {
                let solution = (input.method == Method::Joint)
                    .then(|| solve_jointly(&input.facts, &self.objective.tuning, &self.prices));
                joint = Some((input, solution.and_then(Result::ok)));
            }
            let Some((input, solution)) = &joint else { continue };
            let Ok(row) = self.agents[i].decide(input, solution.as_ref(), now, &self.objective.tuning) else {
                continue;
            };
            for (id, share) in row {
                if let Ok(j) = self.ids.binary_search(id) {
                    shares[(i, j)] = *share;
                }
            }
        }
        self.prices = joint.and_then(|(_, solution)| solution).map(|solution| solution.prices()).unwrap_or_default();
        shares
    }

    fn costs(&self, moment: &Moment<'_>) -> CostMatrix {
        let world = moment.world;
        let prices = world.rounds[moment.round].usd_per_million(world);
        let rate = ExchangeRate::usd_per_ms_per_million(world.usd_per_ms_per_million);
        let cost = |i: usize, j: usize| {
            let path = Path::over_open_connections(Some(moment.published_rtt_ms[(i, j)]));
            match rate {
                Some(rate) => unit_cost(path, prices[(i, j)], rate),
                None => unit_cost(path, 0.0, ExchangeRate::PERFORMANCE),
            }
        };
        let row = |i: usize| self.ids.iter().enumerate().map(|(j, id)| (id.clone(), cost(i, j))).collect();
        self.ids.iter().enumerate().map(|(i, id)| (id.clone(), Arc::new(row(i)))).collect()
    }
}

impl SharingPolicy for Agents {
    fn shares(&mut self, moment: &Moment<'_>) -> Matrix<f64> {
        self.early.clear();
        self.end_round(moment);
        self.decide(moment, now(moment, 0.0))
    }

    fn react(&mut self, moment: &Moment<'_>, seen: &EarlyMeasurement<'_>) -> Option<Matrix<f64>> {
        if self.variant != Variant::Whole {
            return None;
        }
        for (i, &demand_rps) in seen.reported_rps.iter().enumerate().filter(|(i, _)| !moment.world.legacy[*i]) {
            if self.agents[i].jump(demand_rps, &self.objective.tuning) {
                self.early.insert(i, demand_rps);
            }
        }
        let sees = |i: usize| self.early.keys().any(|&l| age(moment, i, l) == 0);
        (0..self.agents.len()).any(sees).then(|| self.decide(moment, now(moment, seen.elapsed)))
    }
}

fn measured(past: &PastRound, i: usize) -> ExportMeasurement {
    ExportMeasurement {
        load: Load::Measured(past.load_rps[i]),
        nominal_rps: past.advertised_rps[i],
        limit_rps: past.limit_rps[i],
    }
}

/// Start of the world, in seconds since 1970. Any time after 0 will do.
const EPOCH: u64 = 1_000_000;

fn age(moment: &Moment<'_>, i: usize, l: usize) -> usize {
    let own = moment.world.per_pair && i == l;
    if own { 0 } else { moment.world.rounds[moment.round].age[(i, l)] }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a run")]
fn now(moment: &Moment<'_>, elapsed: f64) -> u64 {
    EPOCH + ((moment.round as f64 + elapsed) * moment.world.round_seconds) as u64
}
