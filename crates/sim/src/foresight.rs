//! The lowest possible cost of each round with perfect foresight, to measure policies by.
//!
//! It is a linear program. The total wait at an exporter is a convex function of its load. Tangents of the judge's own
//! function bound it from below. Rejected requests cost what the judge charges for them.
//!
//! ```text
//! min  Σ c_ij·x_ij + Σ t_j + (longest wait + rejection)·Σ e_j          c: RTT + service time + exchanged price
//!      Σ_j x_ij = λ_i                                                   every source sends all of its demand
//!      pinned_j + Σ_i x_ij = z_j + e_j                                  an exporter serves or rejects its load
//!      t_j ≥ T_g + s_g·(z_j − z_g) for each line g;   z_j ≤ headroom·C_j
//! ```
//!
//! Rejected requests still pay their network cost, so rejecting is never cheaper than serving. No policy that serves all
//! requests has a lower cost. A policy that rejects requests can have one if prices exceed the cost of a rejection.

use std::iter::{repeat_n, successors};

use clarabel::algebra::CscMatrix;
use clarabel::solver::{
    DefaultSettings, DefaultSolver, IPSolver, NonnegativeConeT, SolverStatus, SupportedConeT, ZeroConeT,
};
use thiserror::Error;

use crate::constraints::Constraints;
use crate::judge::REJECTION_MS;
use crate::judge::erlang::{MAX_WAIT_MS, WaitTables};
use crate::matrix::Matrix;
use crate::world::{Round, World};

/// Round-trip time of background load, as the judge has it.
const BACKGROUND_RTT_MS: f64 = 0.5;

/// Cost of a rejected request: the longest wait and the rejection.
const REJECTED_MS: f64 = MAX_WAIT_MS + REJECTION_MS;

/// Utilization of the whole fleet from which on no exporter keeps headroom.
const FULL: f64 = 0.99;

/// Utilization above the average that every exporter may reach. Without it there would be nothing to choose.
const LEEWAY: f64 = 0.002;

/// Ratio of the free capacity of successive points beyond the judge's table.
const FREE_RATIO: f64 = 0.95;

/// Free capacity at which the points end.
const MIN_FREE: f64 = 1e-6;

/// Relative difference between the slopes of successive tangents (absolute for slopes below 1).
const SLOPE_STEP: f64 = 0.02;

/// Accepted tolerance. The solver aims at 1e-8 and misses it a little if the demand is thousands of times the capacity.
const REDUCED_TOLERANCE: f64 = 1e-5;

/// Error: a round without a solution.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("round {round}: the lowest possible cost could not be computed: {why}")]
pub struct NoOptimum {
    pub round: usize,
    pub why: Cause,
}

/// Reason why a round has no solution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Cause {
    #[error("a cost, a demand or a capacity is not a finite number")]
    NotFinite,
    #[error("the solver refused the problem")]
    Refused,
    #[error("the solver ended with {0:?}")]
    GaveUp(SolverStatus),
}

/// Returns the lowest possible cost of each round in ms per request, 0 without requests. With `headroom`, no exporter serves
/// more than that fraction of its capacity where possible. `progress` gets the number of finished rounds.
pub fn optimum_ms(
    world: &World,
    headroom: Option<f64>,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<f64>, NoOptimum> {
    let mut tables = WaitTables::default();
    let mut optima: Vec<f64> = Vec::with_capacity(world.rounds.len());
    for (t, round) in world.rounds.iter().enumerate() {
        let known = world.rounds[..t].iter().position(|earlier| alike(earlier, round));
        let optimum = match known {
            Some(earlier) => optima[earlier],
            None => optimum(&mut tables, world, round, headroom).map_err(|why| NoOptimum { round: t, why })?,
        };
        optima.push(optimum);
        progress(t + 1);
    }
    Ok(optima)
}

/// Returns true if two rounds agree in all values that the optimum depends on.
fn alike(a: &Round, b: &Round) -> bool {
    a.demand_rps == b.demand_rps
        && a.capacity_rps == b.capacity_rps
        && a.alive == b.alive
        && a.rtt_ms == b.rtt_ms
        && a.egress_usd_per_gb == b.egress_usd_per_gb
}

fn optimum(tables: &mut WaitTables, world: &World, round: &Round, headroom: Option<f64>) -> Result<f64, Cause> {
    let costs_ms = costs_ms(world, round);
    if !is_finite(world, round, &costs_ms) {
        return Err(Cause::NotFinite);
    }
    let problem = RoundProblem::new(world, round, &costs_ms);
    if problem.asked_rps <= 0.0 {
        return Ok(0.0);
    }
    let limit = problem.max_utilization(headroom);
    let max_rps = |exporter: &OpenExporter| problem.asked_rps.min(limit * exporter.capacity_rps);
    let wait_bounds: Vec<WaitBound> =
        problem.exporters.iter().map(|exporter| WaitBound::new(tables, exporter, max_rps(exporter))).collect();
    let chosen_ms = if wait_bounds.is_empty() { 0.0 } else { lowest_cost_ms(&problem, &wait_bounds)? };
    Ok(chosen_ms + problem.settled_ms / problem.asked_rps)
}

/// The choices of one round, and the cost of requests without a choice.
struct RoundProblem {
    exporters: Vec<OpenExporter>,
    sources: Vec<ChoosingSource>,
    asked_rps: f64,
    /// Cost in ms per second that no choice changes: of sources without a choice, and the cheapest path of the others.
    settled_ms: f64,
}

/// An exporter that is alive and has capacity.
struct OpenExporter {
    capacity_rps: f64,
    service_ms: f64,
    /// Load from sources without a choice, and background load.
    pinned_rps: f64,
}

/// A source that can choose its exporters.
struct ChoosingSource {
    demand_rps: f64,
    /// Cost of the path to each exporter beyond the cheapest path.
    extra_ms: Vec<f64>,
}

impl RoundProblem {
    fn new(world: &World, round: &Round, costs_ms: &Matrix<f64>) -> Self {
        let able: Vec<usize> = (0..world.size()).filter(|&j| round.alive[j] && round.capacity_rps[j] > 0.0).collect();
        let exporter = |&j: &usize| OpenExporter {
            capacity_rps: round.capacity_rps[j],
            service_ms: world.service_ms[j],
            pinned_rps: 0.0,
        };
        let exporters = able.iter().map(exporter).collect();
        let mut problem = Self { exporters, sources: Vec::new(), asked_rps: 0.0, settled_ms: 0.0 };
        for (j, &rps) in world.background_rps.iter().enumerate() {
            let at = able.iter().position(|&exporter| exporter == j);
            problem.pin(rps, BACKGROUND_RTT_MS + world.service_ms[j], at);
        }
        for (i, &demand_rps) in round.demand_rps.iter().enumerate() {
            if world.legacy[i] || able.is_empty() {
                let nearest = nearest(round, i);
                let at = able.iter().position(|&exporter| Some(exporter) == nearest);
                problem.pin(demand_rps, nearest.map_or(0.0, |j| costs_ms[(i, j)]), at);
            } else if demand_rps > 0.0 {
                let path_costs_ms: Vec<f64> = able.iter().map(|&j| costs_ms[(i, j)]).collect();
                problem.add(demand_rps, &path_costs_ms);
            }
        }
        problem
    }

    /// Adds requests that have no choice. Without an exporter they are rejected and pay no network cost.
    fn pin(&mut self, rps: f64, cost_ms: f64, exporter: Option<usize>) {
        self.asked_rps += rps;
        self.settled_ms += rps * exporter.map_or(REJECTED_MS, |_| cost_ms);
        if let Some(k) = exporter {
            self.exporters[k].pinned_rps += rps;
        }
    }

    /// Adds a source with a choice. It pays at least its cheapest path. A path that costs more than a rejection is useless,
    /// so the extra cost is capped there.
    fn add(&mut self, demand_rps: f64, path_costs_ms: &[f64]) {
        let cheapest = path_costs_ms.iter().copied().fold(f64::INFINITY, f64::min);
        self.asked_rps += demand_rps;
        self.settled_ms += demand_rps * cheapest;
        let extra_ms = path_costs_ms.iter().map(|cost| (cost - cheapest).min(REJECTED_MS)).collect();
        self.sources.push(ChoosingSource { demand_rps, extra_ms });
    }

    /// Returns the utilization that no exporter may exceed.
    fn max_utilization(&self, headroom: Option<f64>) -> f64 {
        let capacity: f64 = self.exporters.iter().map(|exporter| exporter.capacity_rps).sum();
        match headroom {
            Some(limit) if self.asked_rps < FULL * capacity => limit.max(self.asked_rps / capacity + LEEWAY),
            Some(_) | None => f64::INFINITY,
        }
    }
}

fn costs_ms(world: &World, round: &Round) -> Matrix<f64> {
    let prices = round.usd_per_million(world);
    let rate = world.usd_per_ms_per_million;
    let price_ms = |i, j| if rate > 0.0 { prices[(i, j)] / rate } else { 0.0 };
    Matrix::from_fn(world.size(), |i, j| round.rtt_ms[(i, j)] + world.service_ms[j] + price_ms(i, j))
}

fn is_finite(world: &World, round: &Round, costs_ms: &Matrix<f64>) -> bool {
    let by_cluster = [&round.demand_rps, &round.capacity_rps, &world.background_rps, &world.service_ms];
    by_cluster.into_iter().flatten().chain(costs_ms.rows().flatten()).all(|value| value.is_finite())
}

fn nearest(round: &Round, source: usize) -> Option<usize> {
    let rtt = round.rtt_ms.row(source);
    (0..rtt.len()).filter(|&j| round.alive[j]).min_by(|&a, &b| rtt[a].total_cmp(&rtt[b]))
}

/// Lower bound of the total wait at an exporter, as a function of its load.
struct WaitBound {
    lines: Vec<Tangent>,
    max_rps: f64,
}

/// A line below the wait: wait ≥ slope·served + offset, in ms per second.
struct Tangent {
    slope: f64,
    offset: f64,
}

impl WaitBound {
    fn new(tables: &mut WaitTables, exporter: &OpenExporter, max_rps: f64) -> Self {
        let corners = corners(tables, exporter);
        let last = corners.len() - 1;
        let max_rps = max_rps.min(corners[last].0);
        let mut bound = Self { lines: Vec::new(), max_rps };
        for (g, pair) in corners.windows(2).enumerate() {
            let [(rps, wait), (next_rps, next_wait)] = [pair[0], pair[1]];
            let slope = (next_wait - wait) / (next_rps - rps);
            let kept = bound.lines.last().map_or(f64::NEG_INFINITY, |line| line.slope);
            if slope - kept <= SLOPE_STEP * kept.max(1.0) && g + 1 < last {
                continue;
            }
            if slope >= REJECTED_MS {
                // Rejecting the load beyond this point is cheaper.
                bound.lines.push(Tangent { slope: REJECTED_MS, offset: wait - REJECTED_MS * rps });
                bound.max_rps = rps.min(max_rps);
                break;
            }
            let (middle, chord) = (f64::midpoint(rps, next_rps), f64::midpoint(wait, next_wait));
            let touching = total_wait(tables, exporter, middle).min(chord);
            bound.lines.push(Tangent { slope, offset: touching - slope * middle });
            if rps >= max_rps {
                break;
            }
        }
        bound
    }
}

/// Returns the corners (requests per second, total wait) of the largest convex function below the judge's. The judge's
/// function is convex except where the wait reaches its limit.
fn corners(tables: &mut WaitTables, exporter: &OpenExporter) -> Vec<(f64, f64)> {
    let table = tables.utilization();
    let free = table.last().map_or(1.0, |end| 1.0 - end);
    let beyond =
        successors(Some(free * FREE_RATIO), |free| Some(free * FREE_RATIO)).take_while(|free| *free > MIN_FREE);
    let utilizations: Vec<f64> = table.iter().copied().chain(beyond.map(|free| 1.0 - free)).chain([1.0]).collect();
    let mut corners: Vec<(f64, f64)> = Vec::with_capacity(utilizations.len());
    for utilization in utilizations {
        let rps = utilization * exporter.capacity_rps;
        let wait = total_wait(tables, exporter, rps);
        while let [.., a, b] = corners[..]
            && (b.1 - a.1) * (rps - b.0) > (wait - b.1) * (b.0 - a.0)
        {
            corners.pop();
        }
        corners.push((rps, wait));
    }
    corners
}

fn total_wait(tables: &mut WaitTables, exporter: &OpenExporter, rps: f64) -> f64 {
    rps * tables.queue(rps, exporter.capacity_rps, exporter.service_ms).wait_ms
}

/// Returns the lowest cost of the choices in ms per request: extra paths, all waits, and rejections.
fn lowest_cost_ms(problem: &RoundProblem, wait_bounds: &[WaitBound]) -> Result<f64, Cause> {
    let variables = Variables { sources: problem.sources.len(), exporters: problem.exporters.len() };
    let unit_rps = problem.asked_rps;
    let mut constraints = Constraints::default();
    add_equations(&mut constraints, &variables, problem);
    let equations = constraints.bounds.len();
    add_inequalities(&mut constraints, &variables, wait_bounds, unit_rps);
    let cones = [ZeroConeT(equations), NonnegativeConeT(constraints.bounds.len() - equations)];
    solve(&variables.costs(problem), constraints, &cones)
}

fn solve(costs: &[f64], constraints: Constraints, cones: &[SupportedConeT<f64>]) -> Result<f64, Cause> {
    let size = costs.len();
    let quadratic = CscMatrix::zeros((size, size));
    let matrix = CscMatrix::new_from_triplets(
        constraints.bounds.len(),
        size,
        constraints.rows,
        constraints.columns,
        constraints.values,
    );
    let settings = DefaultSettings {
        verbose: false,
        reduced_tol_feas: REDUCED_TOLERANCE,
        reduced_tol_gap_abs: REDUCED_TOLERANCE,
        reduced_tol_gap_rel: REDUCED_TOLERANCE,
        ..DefaultSettings::default()
    };
    let mut solver = DefaultSolver::new(&quadratic, costs, &matrix, &constraints.bounds, cones, settings)
        .map_err(|_| Cause::Refused)?;
    solver.solve();
    let status = solver.solution.status;
    if matches!(status, SolverStatus::Solved | SolverStatus::AlmostSolved) {
        // No cost is negative. If all are 0 the solver ends a millionth off.
        return Ok(solver.solution.obj_val.max(0.0));
    }
    Err(Cause::GaveUp(status))
}

/// Indices of the variables: the rate from each source to each exporter, and the served rate, total wait and rejected rate
/// of each exporter. Rates are fractions of all requests.
struct Variables {
    sources: usize,
    exporters: usize,
}

impl Variables {
    fn sent(&self, i: usize, k: usize) -> usize {
        i * self.exporters + k
    }

    fn served(&self, k: usize) -> usize {
        self.sources * self.exporters + k
    }

    fn waiting(&self, k: usize) -> usize {
        (self.sources + 1) * self.exporters + k
    }

    fn rejected(&self, k: usize) -> usize {
        (self.sources + 2) * self.exporters + k
    }

    fn costs(&self, problem: &RoundProblem) -> Vec<f64> {
        let sent = problem.sources.iter().flat_map(|source| source.extra_ms.iter().copied());
        let of_exporters = [0.0, 1.0, REJECTED_MS].into_iter().flat_map(|cost| repeat_n(cost, self.exporters));
        sent.chain(of_exporters).collect()
    }
}

/// Adds the equations: a source sends all of its demand, and an exporter serves or rejects its load.
fn add_equations(constraints: &mut Constraints, variables: &Variables, problem: &RoundProblem) {
    for (i, source) in problem.sources.iter().enumerate() {
        let sent = (0..variables.exporters).map(|k| (variables.sent(i, k), 1.0));
        constraints.push(sent, source.demand_rps / problem.asked_rps);
    }
    for (k, exporter) in problem.exporters.iter().enumerate() {
        let sent = (0..variables.sources).map(|i| (variables.sent(i, k), -1.0));
        let taken = [(variables.served(k), 1.0), (variables.rejected(k), 1.0)];
        constraints.push(sent.chain(taken), exporter.pinned_rps / problem.asked_rps);
    }
}

/// Adds the inequalities: waits lie above their tangents, and served loads below their limits.
fn add_inequalities(constraints: &mut Constraints, variables: &Variables, wait_bounds: &[WaitBound], unit_rps: f64) {
    for (k, bound) in wait_bounds.iter().enumerate() {
        for line in &bound.lines {
            constraints
                .push([(variables.served(k), line.slope), (variables.waiting(k), -1.0)], -line.offset / unit_rps);
        }
        constraints.push([(variables.served(k), 1.0)], bound.max_rps / unit_rps);
        constraints.push([(variables.rejected(k), -1.0)], 0.0);
    }
    for sent in 0..variables.served(0) {
        constraints.push([(sent, -1.0)], 0.0);
    }
}
