//! The joint solution: the best shares for all sources together.

use crate::apportion::{Claim, apportion};
use crate::name::{ByCluster, ClusterId};

use crate::optimize::cost::UnitCost;
use crate::optimize::facts::{Clamped, Facts, Sanitizer, Tuning};
use crate::optimize::joint::{Solved, balance};
use crate::optimize::problem::{Problem, SolveError};

/// Largest residual of a solution, as a fraction of the load.
const MAX_RESIDUAL: f64 = 1e-3;

/// Shares of all sources, and what they amount to at each exporter.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// Eligible exporters, in the order of their ids. Every row has its shares in the same order.
    pub exporters: Vec<PlannedExporter>,
    /// One row per source, in the order of their ids.
    pub rows: Vec<SolutionRow>,
    /// Fraction of the demand that the capacity allows: below 1 in an overload, which all exporters then share alike.
    pub servable: f64,
    /// Fraction of the demand that would have to go for every exporter to be at the target utilization.
    pub shed: f64,
    /// Largest imbalance of an exporter, in requests per second.
    pub residual_rps: f64,
    pub newton_steps: u32,
    /// Facts that were out of range, and the values used instead.
    pub clamped: Vec<Clamped>,
}

/// Plan of one exporter, and its cost terms, which are the same for all sources.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedExporter {
    pub cluster: ClusterId,
    /// φ: marginal congestion cost of one more request for all requests there, in ms.
    pub congestion_price_ms: f64,
    /// Average wait of a request there.
    pub wait_ms: f64,
    /// Load from all sources, without the residual.
    pub load_rps: f64,
    pub capacity_rps: f64,
    /// Capacity that the plan may use; the rest is headroom.
    pub usable_rps: f64,
    /// Residual as used, clamped to the range of the model.
    pub residual_rps: f64,
    pub service_ms: f64,
}

/// Shares of one source.
#[derive(Debug, Clone, PartialEq)]
pub struct SolutionRow {
    pub source: ClusterId,
    /// One share per exporter of the solution; they add up to 1.
    pub shares: Vec<f64>,
}

/// One share with its cost terms: the lower the sum of the four costs, the higher the share per capacity.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainedShare<'a> {
    pub exporter: &'a PlannedExporter,
    pub share: f64,
    /// `None` if there is no path from the source to the exporter.
    pub path_cost: Option<UnitCost>,
}

/// Returns the best shares for all sources together. `prices` are those of an earlier solution and save time if little
/// has changed; an empty map is a cold start. They never change the weights.
pub fn solve_jointly(facts: &Facts, tuning: &Tuning, prices: &ByCluster<f64>) -> Result<Solution, SolveError> {
    let tuning = tuning.within_limits();
    let mut sanitizer = Sanitizer::default();
    let problem = Problem::new(facts, &tuning, &mut sanitizer)?;
    let solved = balance(&problem, problem.known_prices(prices));
    let load_rps = problem.scale;
    if solved.residual <= MAX_RESIDUAL * load_rps {
        Ok(solution(&problem, &solved, &tuning, sanitizer))
    } else {
        Err(SolveError::Unbalanced { residual_rps: solved.residual, load_rps })
    }
}

fn solution(problem: &Problem<'_>, solved: &Solved, tuning: &Tuning, sanitizer: Sanitizer) -> Solution {
    let loads = loads(&problem.demand, &solved.shares, problem.exporters.len());
    let planned = |(j, &cluster): (usize, &&ClusterId)| PlannedExporter {
        cluster: cluster.clone(),
        congestion_price_ms: solved.prices[j],
        wait_ms: problem.curves[j].wait_ms(loads[j] + problem.background[j]),
        load_rps: loads[j],
        capacity_rps: problem.full[j],
        usable_rps: problem.curves[j].capacity_rps(),
        residual_rps: problem.background[j],
        service_ms: problem.service[j],
    };
    let exporters: Vec<PlannedExporter> = problem.exporters.iter().enumerate().map(planned).collect();
    let rows = problem.sources.iter().zip(solved.shares.chunks_exact(exporters.len()));
    let demand: f64 = problem.demand.iter().sum();
    let wanted = tuning.target_utilization * problem.capacity;
    Solution {
        rows: rows.map(|(&source, shares)| SolutionRow { source: source.clone(), shares: shares.to_vec() }).collect(),
        exporters,
        servable: problem.servable,
        shed: if demand > wanted { 1.0 - wanted / demand } else { 0.0 },
        residual_rps: solved.residual,
        newton_steps: solved.newton_steps,
        clamped: sanitizer.clamped,
    }
}

/// Returns the load of each exporter from all sources, servable or not.
fn loads(demand: &[f64], shares: &[f64], exporters: usize) -> Vec<f64> {
    let mut loads = vec![0.0; exporters];
    for (row, demand) in shares.chunks_exact(exporters).zip(demand) {
        loads.iter_mut().zip(row).for_each(|(load, share)| *load += demand * share);
    }
    loads
}

impl Solution {
    /// Returns the congestion prices, to start the next solution from.
    pub fn prices(&self) -> ByCluster<f64> {
        self.exporters.iter().map(|planned| (planned.cluster.clone(), planned.congestion_price_ms)).collect()
    }

    /// Returns the row of a source.
    pub fn row(&self, source: &ClusterId) -> Option<&SolutionRow> {
        self.rows.binary_search_by(|row| row.source.cmp(source)).ok().map(|i| &self.rows[i])
    }

    /// Returns the shares of a source by exporter, for the [`AppliedRow`](crate::optimize::filter::AppliedRow).
    pub fn shares(&self, source: &ClusterId) -> Option<ByCluster<f64>> {
        let shares = &self.row(source)?.shares;
        Some(self.exporters.iter().zip(shares).map(|(planned, &share)| (planned.cluster.clone(), share)).collect())
    }

    /// Replaces the shares of one source.
    #[must_use]
    pub fn with_row(mut self, source: &ClusterId, shares: &ByCluster<f64>) -> Self {
        let share = |planned: &PlannedExporter| shares.get(&planned.cluster).copied().unwrap_or(0.0);
        let shares: Vec<f64> = self.exporters.iter().map(share).collect();
        self.rows.iter_mut().filter(|row| row.source == *source).for_each(|row| row.shares.clone_from(&shares));
        self
    }

    /// Returns the shares of a source with their cost terms. `facts` are those of the solution.
    pub fn explain<'a>(&'a self, facts: &Facts, source: &ClusterId) -> Vec<ExplainedShare<'a>> {
        let path_cost = |exporter: &ClusterId| facts.sources.get(source)?.costs.get(exporter).copied();
        let shares = self.row(source).map_or(&[][..], |row| &row.shares);
        let terms = |(exporter, &share): (&'a PlannedExporter, &f64)| ExplainedShare {
            exporter,
            share,
            path_cost: path_cost(&exporter.cluster),
        };
        self.exporters.iter().zip(shares).map(terms).collect()
    }
}

/// Grid that shares are cut to before they are apportioned: parts of a thousand million.
const FINE: f64 = 1e9;

/// Returns whole weights that add up to `total`, by largest remainder; of equal remainders the first counts. All
/// weights are 0 if all shares are.
///
/// Two solutions that differ in the last bits must have the same weights. So shares are cut to a fine grid first, which
/// turns near ties into ties. The grid is shifted by the golden ratio: shares like 1/2 or 1/3, which symmetric fleets
/// have, then never lie on the border of two cells.
pub fn weights(shares: &[f64], total: u32) -> Vec<u32> {
    const SHIFT: f64 = 0.618_033_988_749_894_8;
    let whole: f64 = shares.iter().map(|share| part(*share)).sum();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of the whole is between 0 and 1"
    )]
    let nominal = |share: f64| if share > 0.0 { (share / whole * FINE + SHIFT) as u32 } else { 0 };
    let claims: Vec<Claim> = shares.iter().map(|&share| Claim { nominal: nominal(part(share)), floor: 0 }).collect();
    apportion(&claims, total).into_iter().map(|part| part.weight).collect()
}

/// Returns the share, or 0 if it is negative or not finite.
fn part(share: f64) -> f64 {
    if share.is_finite() { share.max(0.0) } else { 0.0 }
}
