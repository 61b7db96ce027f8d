//! The least cost of each round, were it planned by somebody who knows everything: the measure of all policies.
//!
//! A linear programme. The total wait at an exporter is a convex function of what it serves, and is bounded from below by
//! lines that touch the judge's own; what is not served is charged as the judge charges it.
//!
//! ```text
//! min  Σ c_ij·x_ij + Σ t_j + (longest wait + rejection)·Σ e_j          c: RTT + service time + exchanged price
//!      Σ_j x_ij = λ_i                                                   every source sends what it has
//!      pinned_j + Σ_i x_ij = z_j + e_j                                  an exporter serves it or rejects it
//!      t_j ≥ T_g + s_g·(z_j − z_g) for each line g;   z_j ≤ headroom·C_j
//! ```
//!
//! What is rejected pays its way, too: nobody is turned away to save the price of serving him. So no policy that serves
//! everybody is cheaper than this; one that rejects can be, where prices are worth more than rejections.

use std::iter::{repeat_n, successors};

use clarabel::algebra::CscMatrix;
use clarabel::solver::{
    DefaultSettings, DefaultSolver, IPSolver, NonnegativeConeT, SolverStatus, SupportedConeT, ZeroConeT,
};
use thiserror::Error;

use crate::judge::REJECTION_MS;
use crate::judge::erlang::{MAX_WAIT_MS, WaitTables};
use crate::matrix::Matrix;
use crate::world::{Round, World};

/// What the background has to its exporter, as the judge has it.
const BACKGROUND_RTT_MS: f64 = 0.5;

const REJECTED_MS: f64 = MAX_WAIT_MS + REJECTION_MS;

/// Who must fill the fleet to this part or more has no headroom to keep.
const FULL: f64 = 0.99;

/// More than the average utilization an exporter may always take: else there would be nothing to choose.
const LEEWAY: f64 = 0.002;

/// Beyond the judge's table the next point has this part of the free capacity of the last one, until there is hardly any.
const THINNER: f64 = 0.95;
const MIN_FREE: f64 = 1e-6;

/// The next line is one that is steeper by this part (or by this, where it is flat).
const STEEPER: f64 = 0.02;

/// The solver aims at 1e-8, and where a fleet is asked for thousands of times what it can serve ends at a little more. That
/// is good enough up to here.
const ALMOST: f64 = 1e-5;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("round {round}: the least cost could not be computed: {why}")]
pub struct NoOptimum {
    pub round: usize,
    pub why: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Cause {
    #[error("a cost, a demand or a capacity is not a finite number")]
    NotFinite,
    #[error("the solver refused the problem")]
    Refused,
    #[error("the solver ended with {0:?}")]
    GaveUp(SolverStatus),
}

/// ms-eq per request, for each round; 0 without requests. With a headroom no exporter serves more than that part of its
/// capacity, unless all must. `progress` gets the number of rounds that are done.
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

/// In all that the optimum depends on.
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
    let part = problem.most_utilised(headroom);
    let most_rps = |exporter: &OpenExporter| problem.asked_rps.min(part * exporter.capacity_rps);
    let curves: Vec<WaitBound> =
        problem.exporters.iter().map(|exporter| WaitBound::new(tables, exporter, most_rps(exporter))).collect();
    let chosen_ms = if curves.is_empty() { 0.0 } else { least(&problem, &curves)? };
    Ok(chosen_ms + problem.settled_ms / problem.asked_rps)
}

/// Who has a choice, among whom, and what is settled before.
struct RoundProblem {
    exporters: Vec<OpenExporter>,
    sources: Vec<ChoosingSource>,
    asked_rps: f64,
    /// What the way of those costs who have no choice, and their rejection when nobody can take them: ms per second.
    settled_ms: f64,
}

struct OpenExporter {
    capacity_rps: f64,
    service_ms: f64,
    /// From those that have no choice.
    pinned_rps: f64,
}

struct ChoosingSource {
    demand_rps: f64,
    /// By exporter: what its way costs more than the cheapest one.
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
                let ways_ms: Vec<f64> = able.iter().map(|&j| costs_ms[(i, j)]).collect();
                problem.add(demand_rps, &ways_ms);
            }
        }
        problem
    }

    /// Without an exporter it is rejected, and pays no way.
    fn pin(&mut self, rps: f64, cost_ms: f64, exporter: Option<usize>) {
        self.asked_rps += rps;
        self.settled_ms += rps * exporter.map_or(REJECTED_MS, |_| cost_ms);
        if let Some(k) = exporter {
            self.exporters[k].pinned_rps += rps;
        }
    }

    /// The cheapest way is paid in any case. It is no use to pay more for another one than to be rejected on it.
    fn add(&mut self, demand_rps: f64, ways_ms: &[f64]) {
        let cheapest = ways_ms.iter().copied().fold(f64::INFINITY, f64::min);
        self.asked_rps += demand_rps;
        self.settled_ms += demand_rps * cheapest;
        let extra_ms = ways_ms.iter().map(|way| (way - cheapest).min(REJECTED_MS)).collect();
        self.sources.push(ChoosingSource { demand_rps, extra_ms });
    }

    /// Who may be filled how far.
    fn most_utilised(&self, headroom: Option<f64>) -> f64 {
        let capacity: f64 = self.exporters.iter().map(|exporter| exporter.capacity_rps).sum();
        match headroom {
            Some(part) if self.asked_rps < FULL * capacity => part.max(self.asked_rps / capacity + LEEWAY),
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

/// The total wait at an exporter, from below, up to what it may serve.
struct WaitBound {
    lines: Vec<Tangent>,
    most_rps: f64,
}

/// wait ≥ slope·served + offset, in ms per second.
struct Tangent {
    slope: f64,
    offset: f64,
}

impl WaitBound {
    fn new(tables: &mut WaitTables, exporter: &OpenExporter, most_rps: f64) -> Self {
        let corners = corners(tables, exporter);
        let last = corners.len() - 1;
        let most_rps = most_rps.min(corners[last].0);
        let mut curve = Self { lines: Vec::new(), most_rps };
        for (g, pair) in corners.windows(2).enumerate() {
            let [(rps, wait), (next_rps, next_wait)] = [pair[0], pair[1]];
            let slope = (next_wait - wait) / (next_rps - rps);
            let kept = curve.lines.last().map_or(f64::NEG_INFINITY, |line| line.slope);
            if slope - kept <= STEEPER * kept.max(1.0) && g + 1 < last {
                continue;
            }
            if slope >= REJECTED_MS {
                // It is cheaper to reject what is beyond.
                curve.lines.push(Tangent { slope: REJECTED_MS, offset: wait - REJECTED_MS * rps });
                curve.most_rps = rps.min(most_rps);
                break;
            }
            let (middle, chord) = (f64::midpoint(rps, next_rps), f64::midpoint(wait, next_wait));
            let touching = total_wait(tables, exporter, middle).min(chord);
            curve.lines.push(Tangent { slope, offset: touching - slope * middle });
            if rps >= most_rps {
                break;
            }
        }
        curve
    }
}

/// Requests per second, and their total wait: the corners of the largest convex function below the judge's, which is convex
/// itself but for where the wait reaches its bound.
fn corners(tables: &mut WaitTables, exporter: &OpenExporter) -> Vec<(f64, f64)> {
    let table = tables.utilization();
    let free = table.last().map_or(1.0, |end| 1.0 - end);
    let beyond = successors(Some(free * THINNER), |free| Some(free * THINNER)).take_while(|free| *free > MIN_FREE);
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

/// ms per request of all, for the way of those who have a choice, the wait of all, and the rejections.
fn least(problem: &RoundProblem, curves: &[WaitBound]) -> Result<f64, Cause> {
    let columns = Variables { sources: problem.sources.len(), exporters: problem.exporters.len() };
    let unit_rps = problem.asked_rps;
    let mut rows = Constraints::default();
    conserve(&mut rows, &columns, problem);
    let equations = rows.bounds.len();
    bound(&mut rows, &columns, curves, unit_rps);
    let cones = [ZeroConeT(equations), NonnegativeConeT(rows.bounds.len() - equations)];
    solve(&columns.costs(problem), rows, &cones)
}

fn solve(costs: &[f64], rows: Constraints, cones: &[SupportedConeT<f64>]) -> Result<f64, Cause> {
    let size = costs.len();
    let quadratic = CscMatrix::zeros((size, size));
    let matrix = CscMatrix::new_from_triplets(rows.bounds.len(), size, rows.rows, rows.columns, rows.values);
    let settings = DefaultSettings {
        verbose: false,
        reduced_tol_feas: ALMOST,
        reduced_tol_gap_abs: ALMOST,
        reduced_tol_gap_rel: ALMOST,
        ..DefaultSettings::default()
    };
    let mut solver =
        DefaultSolver::new(&quadratic, costs, &matrix, &rows.bounds, cones, settings).map_err(|_| Cause::Refused)?;
    solver.solve();
    let status = solver.solution.status;
    if matches!(status, SolverStatus::Solved | SolverStatus::AlmostSolved) {
        // No cost is negative; where all are 0 the solver ends a millionth off.
        return Ok(solver.solution.obj_val.max(0.0));
    }
    Err(Cause::GaveUp(status))
}

/// Where each unknown is: what each source sends to each exporter, and of each exporter what it serves, how long all of
/// that waits, and what it rejects. Rates are parts of all that is asked for.
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

/// What is sent is all that is demanded, and is served or rejected where it arrives.
fn conserve(rows: &mut Constraints, columns: &Variables, problem: &RoundProblem) {
    for (i, source) in problem.sources.iter().enumerate() {
        let sent = (0..columns.exporters).map(|k| (columns.sent(i, k), 1.0));
        rows.push(sent, source.demand_rps / problem.asked_rps);
    }
    for (k, exporter) in problem.exporters.iter().enumerate() {
        let sent = (0..columns.sources).map(|i| (columns.sent(i, k), -1.0));
        let taken = [(columns.served(k), 1.0), (columns.rejected(k), 1.0)];
        rows.push(sent.chain(taken), exporter.pinned_rps / problem.asked_rps);
    }
}

fn bound(rows: &mut Constraints, columns: &Variables, curves: &[WaitBound], unit_rps: f64) {
    for (k, curve) in curves.iter().enumerate() {
        for line in &curve.lines {
            rows.push([(columns.served(k), line.slope), (columns.waiting(k), -1.0)], -line.offset / unit_rps);
        }
        rows.push([(columns.served(k), 1.0)], curve.most_rps / unit_rps);
        rows.push([(columns.rejected(k), -1.0)], 0.0);
    }
    for sent in 0..columns.served(0) {
        rows.push([(sent, -1.0)], 0.0);
    }
}

/// Of a sparse matrix, and what each row is bounded by.
#[derive(Default)]
struct Constraints {
    rows: Vec<usize>,
    columns: Vec<usize>,
    values: Vec<f64>,
    bounds: Vec<f64>,
}

impl Constraints {
    fn push(&mut self, terms: impl IntoIterator<Item = (usize, f64)>, bound: f64) {
        for (column, value) in terms {
            self.rows.push(self.bounds.len());
            self.columns.push(column);
            self.values.push(value);
        }
        self.bounds.push(bound);
    }
}
