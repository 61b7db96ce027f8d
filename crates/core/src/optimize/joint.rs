//! The joint problem of all sources, solved by prices.
//!
//! Given a congestion price φ_j per exporter, the best row of each source is p_ij ∝ C_j·exp(−(c_ij + φ_j)/ε). The right
//! prices are those at which every exporter's load is the one that costs its price: r_j = y_j + b_j − load_j(φ_j) = 0.
//! r is the gradient of a strictly concave function of φ (the dual), so Newton's method with a line search along r
//! finds them from any start. It starts where ε is large and the function is flat, and halves ε while it climbs.
//! Quartering ε, or starting cold at the small ε, was seen to fail.
//!
//! The start must not show in the weights, so at the end the residual is driven down to rounding errors.

use crate::optimize::cholesky::{Lower, dot, subtract};
use crate::optimize::congestion::Curve;
use crate::optimize::exponential::exp;
use crate::optimize::problem::Problem;

/// Tolerances as fractions of [`Problem::scale`]: at the final ε, and at the larger ε before it.
const SOLVED: f64 = 1e-6;
const INTERMEDIATE: f64 = 1e-2;

/// Limits of Newton steps per ε, and of trials per line search: enough to halve any step down to rounding.
const MAX_STEPS: u32 = 100;
const MAX_TRIALS: u32 = 60;

/// Limit of evaluations of all shares per climb, a few tenths of a second for 100 × 100. The hardest instance of the
/// tests that was solved needed a third of it.
const MAX_EVALUATIONS: u32 = 3000;

/// Limit of polishing steps. Each gains three digits or more, of sixteen.
const MAX_POLISHING: u32 = 8;

/// Tolerance that polishing reaches unless a kink of a curve is in the way.
const POLISHED: f64 = 1e-11;

/// Residual that is a rounding error, as a fraction of the scale.
const ROUNDING: f64 = 1e-14;

/// Prices, shares, and how well they balance.
#[derive(Debug)]
pub(super) struct Solved {
    pub(super) prices: Vec<f64>,
    /// Shares by rows; each row adds up to 1.
    pub(super) shares: Vec<f64>,
    pub(super) residual: f64,
    pub(super) newton_steps: u32,
}

/// Returns the solution, or the last attempt; `residual` tells which. A `warm` start that fails is followed by a cold
/// one, and that by one that starts at a temperature as high as its prices, which was seen to be needed with capacities
/// a million times apart.
pub(super) fn balance(problem: &Problem<'_>, warm: Option<Vec<f64>>) -> Solved {
    let climb = |prices, temperature| climb(problem, Point::at(problem, prices), temperature);
    let balanced = |solved: &Solved| solved.residual <= SOLVED * problem.scale;
    if let Some(solved) = warm.map(|prices| climb(prices, 0.0)).filter(balanced) {
        return solved;
    }
    let start = problem.equal_utilization_prices();
    let highest = start.iter().copied().fold(0.0, f64::max);
    let solved = climb(start.clone(), problem.range_ms / 4.0);
    if balanced(&solved) { solved } else { climb(start, (problem.range_ms + highest) / 4.0) }
}

fn climb(problem: &Problem<'_>, mut point: Point, first_temperature: f64) -> Solved {
    let epsilon = problem.epsilon_ms;
    let mut newton = Newton::new(problem);
    let mut newton_steps = 0;
    let mut temperature = first_temperature;
    while temperature > epsilon {
        newton_steps += ascend(problem, temperature, INTERMEDIATE, &mut point, &mut newton);
        temperature = (temperature / 2.0).max(epsilon);
    }
    newton_steps += ascend(problem, epsilon, SOLVED, &mut point, &mut newton);
    polish(problem, epsilon, &mut point, &mut newton);
    if point.worst() > POLISHED * problem.scale {
        // A kink of a curve is in the way: line searches get past it.
        newton_steps += ascend(problem, epsilon, POLISHED, &mut point, &mut newton);
        polish(problem, epsilon, &mut point, &mut newton);
    }
    let residual = point.worst();
    Solved { prices: point.prices, shares: point.shares, residual, newton_steps }
}

/// Makes Newton steps until the residual is within the tolerance. Returns their number.
fn ascend(problem: &Problem<'_>, temperature: f64, tolerance: f64, point: &mut Point, newton: &mut Newton) -> u32 {
    point.evaluate(problem, temperature);
    for steps in 0..MAX_STEPS {
        if point.worst() <= tolerance * problem.scale || point.evaluations > MAX_EVALUATIONS {
            return steps;
        }
        newton.factor(problem, temperature, point);
        newton.aim(point);
        line_search(problem, temperature, point, newton);
    }
    MAX_STEPS
}

/// Moves the point along the direction until the slope is at most half of the first one. The slope h(t) = r(φ+t·d)·d
/// only falls, so its sign shows a step that is too long. A step that is a little too long is accepted, like full
/// Newton steps near the solution. An overshoot by half of the slope would be too much: with two groups of exporters
/// that hardly interact, steps went back and forth between the same prices.
fn line_search(problem: &Problem<'_>, temperature: f64, point: &mut Point, newton: &Newton) {
    const LONGEST_STEP: f64 = 4.0;
    const OVERSHOT: f64 = 0.1;
    let from = point.prices.clone();
    let first = dot(&point.residual, &newton.direction);
    let (mut low, mut high, mut t) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..MAX_TRIALS {
        point.move_to(&from, t, &newton.direction);
        point.evaluate(problem, temperature);
        let slope = dot(&point.residual, &newton.direction);
        let bracketed = high < f64::INFINITY;
        let flat = slope <= first / 2.0 && slope >= -OVERSHOT * first;
        if flat || (!bracketed && t >= LONGEST_STEP) {
            return;
        }
        if slope > 0.0 {
            low = t;
        } else {
            high = t;
        }
        t = if high < f64::INFINITY { (low + high) / 2.0 } else { 2.0 * t };
    }
}

/// Makes steps with one factorization while each at least halves the residual. Takes back a step that made it worse.
fn polish(problem: &Problem<'_>, epsilon: f64, point: &mut Point, newton: &mut Newton) {
    if point.worst() <= ROUNDING * problem.scale {
        return;
    }
    newton.factor(problem, epsilon, point);
    for _ in 0..MAX_POLISHING {
        let (from, before) = (point.prices.clone(), point.worst());
        newton.aim(point);
        point.move_to(&from, 1.0, &newton.direction);
        point.evaluate(problem, epsilon);
        if point.worst() > before {
            point.prices = from;
            point.evaluate(problem, epsilon);
            return;
        }
        if point.worst() > before / 2.0 || point.worst() <= ROUNDING * problem.scale {
            return;
        }
    }
}

/// Prices, and the shares, loads and residuals that follow from them.
#[derive(Debug)]
struct Point {
    prices: Vec<f64>,
    shares: Vec<f64>,
    load: Vec<f64>,
    residual: Vec<f64>,
    /// ln q_j − φ_j/ε
    attraction: Vec<f64>,
    evaluations: u32,
}

impl Point {
    fn at(problem: &Problem<'_>, prices: Vec<f64>) -> Self {
        let nothing = || vec![0.0; prices.len()];
        let shares = vec![0.0; problem.cost.len()];
        Self { shares, load: nothing(), residual: nothing(), attraction: nothing(), prices, evaluations: 0 }
    }

    fn move_to(&mut self, from: &[f64], t: f64, direction: &[f64]) {
        for ((price, from), d) in self.prices.iter_mut().zip(from).zip(direction) {
            *price = from + t * d;
        }
    }

    fn evaluate(&mut self, problem: &Problem<'_>, temperature: f64) {
        self.evaluations += 1;
        let coldness = 1.0 / temperature;
        for ((attraction, prior), price) in self.attraction.iter_mut().zip(&problem.prior).zip(&self.prices) {
            *attraction = prior - price * coldness;
        }
        let columns = self.prices.len();
        self.load.fill(0.0);
        let rows = self.shares.chunks_exact_mut(columns).zip(problem.cost.chunks_exact(columns));
        for ((shares, costs), demand) in rows.zip(&problem.servable_demand) {
            softmax(shares, costs, &self.attraction, coldness);
            subtract(&mut self.load, -demand, shares);
        }
        for (j, curve) in problem.curves.iter().enumerate() {
            self.residual[j] = self.load[j] + problem.background[j] - curve.load_rps(self.prices[j]);
        }
    }

    /// Returns the largest residual; infinite if one is NaN, so that it never passes for a solution.
    fn worst(&self) -> f64 {
        let size = |r: &f64| if r.is_nan() { f64::INFINITY } else { r.abs() };
        self.residual.iter().map(size).fold(0.0, f64::max)
    }
}

/// Computes the best row at these prices. The largest exponent is subtracted from all, so none can overflow and one is
/// 0.
fn softmax(shares: &mut [f64], costs: &[f64], attraction: &[f64], coldness: f64) {
    let mut largest = f64::NEG_INFINITY;
    for ((share, cost), attraction) in shares.iter_mut().zip(costs).zip(attraction) {
        *share = attraction - cost * coldness;
        largest = if *share > largest { *share } else { largest };
    }
    shares.iter_mut().for_each(|share| *share = exp(*share - largest));
    let scale = 1.0 / shares.iter().sum::<f64>();
    shares.iter_mut().for_each(|share| *share *= scale);
}

/// Negated Hessian of the dual, and the step that follows from it: H = (diag(y) − Σ_i λ_i p_i p_iᵀ)/ε + diag(dload/dφ).
#[derive(Debug)]
struct Newton {
    hessian: Hessian,
    direction: Vec<f64>,
}

#[derive(Debug)]
enum Hessian {
    /// With one source the Hessian is a diagonal less an outer product, which needs no factorization (Sherman and
    /// Morrison).
    OneSource {
        weight: f64,
        shares: Vec<f64>,
        slopes: Vec<f64>,
    },
    Factored(Lower),
}

impl Newton {
    fn new(problem: &Problem<'_>) -> Self {
        let size = problem.curves.len();
        let hessian = if problem.sources.len() == 1 {
            Hessian::OneSource { weight: 0.0, shares: vec![0.0; size], slopes: vec![0.0; size] }
        } else {
            Hessian::Factored(Lower::zero(size))
        };
        Self { hessian, direction: vec![0.0; size] }
    }

    fn factor(&mut self, problem: &Problem<'_>, temperature: f64, point: &Point) {
        let slope = |(curve, price): (&Curve, &f64)| curve.load_slope(*price);
        let all = problem.curves.iter().zip(&point.prices).map(slope);
        match &mut self.hessian {
            Hessian::OneSource { weight, shares, slopes } => {
                *weight = problem.servable_demand.iter().sum::<f64>() / temperature;
                shares.copy_from_slice(&point.shares);
                slopes.iter_mut().zip(all).for_each(|(old, slope)| *old = slope);
            }
            Hessian::Factored(matrix) => {
                matrix.clear();
                all.enumerate().for_each(|(j, slope)| matrix.row_mut(j)[j] = slope);
                subtract_sources(matrix, problem, temperature, point);
                matrix.factor();
            }
        }
    }

    fn aim(&mut self, point: &Point) {
        self.direction.copy_from_slice(&point.residual);
        match &self.hessian {
            Hessian::OneSource { weight, shares, slopes } => {
                solve_one_source(*weight, shares, slopes, &mut self.direction);
            }
            Hessian::Factored(matrix) => matrix.solve(&mut self.direction),
        }
    }
}

/// Subtracts the outer product of each source. On the diagonal, y_j − Σ_i λ_i p_ij² is Σ_i λ_i p_ij(1 − p_ij), in which
/// nothing cancels. Most shares are 0 once ε is small, and are skipped.
fn subtract_sources(matrix: &mut Lower, problem: &Problem<'_>, temperature: f64, point: &Point) {
    for (shares, demand) in point.shares.chunks_exact(point.prices.len()).zip(&problem.servable_demand) {
        for (j, share) in shares.iter().enumerate() {
            let weight = demand / temperature * share;
            if weight > 0.0 {
                let row = matrix.row_mut(j);
                subtract(&mut row[..j], weight, &shares[..j]);
                row[j] += weight * (1.0 - share).max(0.0);
            }
        }
    }
}

/// Solves the system of one source. With D = diag(w·p + s) and H = D − w·p·pᵀ: H⁻¹r = D⁻¹r + D⁻¹p·(w·pᵀD⁻¹r)/(1 −
/// w·pᵀD⁻¹p). Because the shares add up to 1, the last divisor is Σ p_j s_j/(w p_j + s_j), in which nothing cancels.
fn solve_one_source(weight: f64, shares: &[f64], slopes: &[f64], r: &mut [f64]) {
    let (mut along, mut divisor) = (0.0, 0.0);
    for ((share, slope), r) in shares.iter().zip(slopes).zip(r.iter_mut()) {
        let own = 1.0 / (weight * share + slope);
        *r *= own;
        along += share * *r;
        divisor += share * slope * own;
    }
    let factor = weight * along / divisor;
    for ((share, slope), r) in shares.iter().zip(slopes).zip(r.iter_mut()) {
        *r += factor * share / (weight * share + slope);
    }
}
