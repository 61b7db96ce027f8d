//! The best shares for all sources together.

use crate::apportion::{Claim, apportion};
use crate::name::{ByCluster, ClusterId};

use crate::optimize::cost::UnitCost;
use crate::optimize::facts::{Clamped, Door, Facts, Tuning};
use crate::optimize::joint::{Solved, solve};
use crate::optimize::problem::{Problem, Unsolved};

/// Of the load: a residual above it is no solution.
const NO_SOLUTION: f64 = 1e-3;

#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The eligible ones, in the order of their ids. Every row has its shares in the same order.
    pub exporters: Vec<Planned>,
    /// One per source, in the order of their ids.
    pub rows: Vec<Row>,
    /// The part of the demand that the capacity allows: below 1 in an overload, which all exporters then share alike.
    pub servable: f64,
    /// The part of the demand that had to go for every exporter to be at the target utilisation.
    pub shed: f64,
    /// How far from balance the worst exporter is, in requests per second.
    pub residual_rps: f64,
    pub newton_steps: u32,
    /// Facts that were not believed.
    pub clamped: Vec<Clamped>,
}

/// What is planned for one exporter, and its terms in the costs of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub cluster: ClusterId,
    /// φ: what a request more costs all that are served there, itself included, in ms.
    pub congestion_price_ms: f64,
    /// What a request waits there on average.
    pub wait_ms: f64,
    /// All that the sources will send there, without the residual.
    pub load_rps: f64,
    pub capacity_rps: f64,
    /// What of it the plan makes use of; the rest is headroom.
    pub usable_rps: f64,
    /// As it counted: within what the model can bear.
    pub residual_rps: f64,
    pub service_ms: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub source: ClusterId,
    /// One per exporter of the solution; together 1.
    pub shares: Vec<f64>,
}

/// One share and what it comes from: the lower the sum of the four costs, the higher the share per capacity.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms<'a> {
    pub exporter: &'a Planned,
    pub share: f64,
    /// `None`: there is no way from the source to it.
    pub way: Option<UnitCost>,
}

/// The best shares for all sources together. `prices` are those of an earlier solution, and save time when little has
/// changed; an empty map is a cold start. They never change the weights.
pub fn optimize(facts: &Facts, tuning: &Tuning, prices: &ByCluster<f64>) -> Result<Solution, Unsolved> {
    let tuning = tuning.within_limits();
    let mut door = Door::default();
    let problem = Problem::new(facts, &tuning, &mut door)?;
    let solved = solve(&problem, problem.known_prices(prices));
    let load_rps = problem.scale;
    if solved.residual <= NO_SOLUTION * load_rps {
        Ok(solution(&problem, &solved, &tuning, door))
    } else {
        Err(Unsolved::Unbalanced { residual_rps: solved.residual, load_rps })
    }
}

fn solution(problem: &Problem<'_>, solved: &Solved, tuning: &Tuning, door: Door) -> Solution {
    let loads = loads(&problem.asked, &solved.shares, problem.exporters.len());
    let planned = |(j, &cluster): (usize, &&ClusterId)| Planned {
        cluster: cluster.clone(),
        congestion_price_ms: solved.prices[j],
        wait_ms: problem.curves[j].wait_ms(loads[j] + problem.background[j]),
        load_rps: loads[j],
        capacity_rps: problem.full[j],
        usable_rps: problem.curves[j].capacity_rps(),
        residual_rps: problem.background[j],
        service_ms: problem.service[j],
    };
    let exporters: Vec<Planned> = problem.exporters.iter().enumerate().map(planned).collect();
    let rows = problem.sources.iter().zip(solved.shares.chunks_exact(exporters.len()));
    let demand: f64 = problem.asked.iter().sum();
    let wanted = tuning.target_utilisation * problem.capacity;
    Solution {
        rows: rows.map(|(&source, shares)| Row { source: source.clone(), shares: shares.to_vec() }).collect(),
        exporters,
        servable: problem.servable,
        shed: if demand > wanted { 1.0 - wanted / demand } else { 0.0 },
        residual_rps: solved.residual,
        newton_steps: solved.newton_steps,
        clamped: door.clamped,
    }
}

/// What all sources will send to each exporter, servable or not.
fn loads(asked: &[f64], shares: &[f64], exporters: usize) -> Vec<f64> {
    let mut loads = vec![0.0; exporters];
    for (row, asked) in shares.chunks_exact(exporters).zip(asked) {
        loads.iter_mut().zip(row).for_each(|(load, share)| *load += asked * share);
    }
    loads
}

impl Solution {
    /// To start the next one from.
    pub fn prices(&self) -> ByCluster<f64> {
        self.exporters.iter().map(|planned| (planned.cluster.clone(), planned.congestion_price_ms)).collect()
    }

    pub fn row(&self, source: &ClusterId) -> Option<&Row> {
        self.rows.binary_search_by(|row| row.source.cmp(source)).ok().map(|i| &self.rows[i])
    }

    /// By exporter, as the [`filter::Row`](super::filter::Row) wants it.
    pub fn shares(&self, source: &ClusterId) -> Option<ByCluster<f64>> {
        let shares = &self.row(source)?.shares;
        Some(self.exporters.iter().zip(shares).map(|(planned, &share)| (planned.cluster.clone(), share)).collect())
    }

    /// With other shares for one source, by exporter.
    #[must_use]
    pub fn with_row(mut self, source: &ClusterId, shares: &ByCluster<f64>) -> Self {
        let share = |planned: &Planned| shares.get(&planned.cluster).copied().unwrap_or(0.0);
        let shares: Vec<f64> = self.exporters.iter().map(share).collect();
        self.rows.iter_mut().filter(|row| row.source == *source).for_each(|row| row.shares.clone_from(&shares));
        self
    }

    /// What the shares of a source come from. `facts` are those of the solution.
    pub fn explain<'a>(&'a self, facts: &Facts, source: &ClusterId) -> Vec<Terms<'a>> {
        let way = |exporter: &ClusterId| facts.sources.get(source)?.costs.get(exporter).copied();
        let shares = self.row(source).map_or(&[][..], |row| &row.shares);
        let terms = |(exporter, &share): (&'a Planned, &f64)| Terms { exporter, share, way: way(&exporter.cluster) };
        self.exporters.iter().zip(shares).map(terms).collect()
    }
}

/// What the shares become before they are apportioned: parts of a thousand million.
const FINE: f64 = 1e9;

/// Whole weights that add up to `total`, by largest remainder; ties go to the first. All 0 if all shares are.
///
/// Two solutions that differ in the last bits must have the same weights. So shares are cut to a fine grid first, which
/// makes of near ties real ones. The grid is shifted by the golden ratio: shares like 1/2 or 1/3, which are what
/// symmetric fleets have, then never lie where two cells meet.
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

/// A share that is one: neither negative nor infinite.
fn part(share: f64) -> f64 {
    if share.is_finite() { share.max(0.0) } else { 0.0 }
}
