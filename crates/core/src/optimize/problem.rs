//! The facts about one service in the form of the solver: numbers only, in range, in the order of the cluster ids.

use thiserror::Error;

use crate::name::{ByCluster, ClusterId};
use crate::optimize::congestion::{Curve, curves};
use crate::optimize::cost::UnitCost;
use crate::optimize::exponential::ln;
use crate::optimize::facts::{
    Exporter, Facts, Field, MAX_DEVIATION, MIN_CAPACITY_RPS, Sanitizer, Source, Tuning, within,
};

/// Fraction of the free capacity that a plan may use.
const SERVABLE: f64 = 0.98;

/// Range of the residual of an exporter in the model, as fractions of its capacity.
const RESIDUAL: (f64, f64) = (-0.3, 0.95);

/// Assumed demand of all sources together while no demand is known, as a fraction of the capacity.
const UNKNOWN_DEMAND: f64 = 0.5;

/// Assumed demand of all sources together if all demands are known to be 0, as a fraction of the capacity: the plan for
/// the first request.
const MIN_DEMAND: f64 = 1e-6;

/// Smallest ε as a fraction of the ramp: with a smaller one, rounding errors of prices of that size would show. It
/// exceeds the default ε if costs differ by more than three hours.
const MIN_EPSILON: f64 = 1e-8;

/// Smallest scale of residuals, as a fraction of the capacity.
const MIN_SCALE: f64 = 1e-6;

/// Reason for a plan that could not be computed. The caller keeps the previous one, or does without an optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum SolveError {
    #[error("no exporter has capacity")]
    NoCapacity,
    #[error("the solver stopped {residual_rps} requests per second away from balance, of a load of {load_rps}")]
    Unbalanced { residual_rps: f64, load_rps: f64 },
}

/// Input of the solver. Sources are rows, eligible exporters are columns.
#[derive(Debug)]
pub(super) struct Problem<'a> {
    pub(super) sources: Vec<&'a ClusterId>,
    pub(super) exporters: Vec<&'a ClusterId>,
    /// Costs by rows in ms, less the smallest of each row. Infinite without a path.
    pub(super) cost: Vec<f64>,
    /// Largest finite cost.
    pub(super) range_ms: f64,
    /// Demand of each source, and the servable part of it.
    pub(super) demand: Vec<f64>,
    pub(super) servable_demand: Vec<f64>,
    /// Fraction of the demand that is servable: below 1 in an overload.
    pub(super) servable: f64,
    pub(super) background: Vec<f64>,
    pub(super) service: Vec<f64>,
    /// ln(C_j/ΣC)
    pub(super) prior: Vec<f64>,
    pub(super) curves: Vec<Curve>,
    pub(super) epsilon_ms: f64,
    pub(super) capacity: f64,
    /// Capacity of each exporter, headroom included.
    pub(super) full: Vec<f64>,
    /// Scale that residuals are compared with, in requests per second.
    pub(super) scale: f64,
}

impl<'a> Problem<'a> {
    pub(super) fn new(facts: &'a Facts, tuning: &Tuning, sanitizer: &mut Sanitizer) -> Result<Self, SolveError> {
        let (offers, full) = eligible(facts, sanitizer);
        let exporters: Vec<&ClusterId> = offers.iter().map(|offer| offer.0).collect();
        // Sums run in the order of the cluster ids, here as everywhere: floating-point addition is not associative.
        let total: f64 = full.iter().sum();
        if exporters.is_empty() {
            return Err(SolveError::NoCapacity);
        }
        let sources: Vec<&ClusterId> = facts.sources.keys().collect();
        let service = service_times(&offers, sanitizer);
        let cost = costs(facts, &exporters, &service, sanitizer);
        let range_ms = range_ms(&cost);
        let detours = if cost.iter().all(|cost| cost.is_finite()) { 1 } else { sources.len().min(exporters.len()) };
        let background: Vec<f64> = offers.iter().zip(&full).map(|(offer, c)| residual(*offer, *c, sanitizer)).collect();

        let demand = demands(facts, total, sanitizer);
        let all: f64 = demand.iter().sum();
        let capacities = with_headroom(&offers, &full, all + background.iter().sum::<f64>(), tuning);
        let background: Vec<f64> = background.iter().zip(&capacities).map(|(b, c)| b.min(RESIDUAL.1 * c)).collect();
        let capacity: f64 = capacities.iter().sum();
        let free_capacities: Vec<f64> = capacities.iter().zip(&background).map(|(c, b)| SERVABLE * (c - b)).collect();
        let free_capacity: f64 = free_capacities.iter().sum();
        let servable = if all > 0.0 { (free_capacity / all).min(1.0) } else { 1.0 };
        // A source that reaches few exporters cannot be served beyond their free capacity, however much there is
        // elsewhere.
        let reachable = |row: &[f64]| -> f64 {
            row.iter().zip(&free_capacities).filter(|(cost, _)| cost.is_finite()).map(|(_, free)| free).sum()
        };
        let rows = cost.chunks_exact(exporters.len());
        let servable_demand =
            demand.iter().zip(rows).map(|(demand, row)| (servable * demand).min(reachable(row))).collect();
        let explained = all.min(capacity) + background.iter().map(|b| b.abs()).sum::<f64>();
        let curves = curves(&capacities, tuning.shape(), range_ms, detours as f64);
        let ramp_ms = curves.iter().map(Curve::ramp_ms).fold(0.0, f64::max);
        Ok(Self {
            sources,
            cost,
            range_ms,
            demand,
            servable_demand,
            servable,
            background,
            service,
            prior: capacities.iter().map(|c| ln(c / capacity)).collect(),
            curves,
            epsilon_ms: tuning.epsilon_ms.max(MIN_EPSILON * ramp_ms),
            exporters,
            capacity,
            full,
            scale: explained.max(MIN_SCALE * capacity),
        })
    }

    /// Returns the prices at which all exporters have the same utilization.
    pub(super) fn equal_utilization_prices(&self) -> Vec<f64> {
        let load = self.servable_demand.iter().sum::<f64>() + self.background.iter().sum::<f64>();
        let utilization = load / self.capacity;
        self.curves.iter().map(|curve| curve.marginal_ms(curve.capacity_rps() * utilization)).collect()
    }

    /// Returns the prices of an earlier solution. Returns `None` if one is missing or absurd, or if the start could
    /// show in the shares.
    pub(super) fn known_prices(&self, prices: &ByCluster<f64>) -> Option<Vec<f64>> {
        const MAX_PRICE: f64 = 1e12;
        if !self.forgets_its_start() {
            return None;
        }
        let known = |id: &&ClusterId| prices.get(*id).copied().filter(|price| price.abs() < MAX_PRICE);
        self.exporters.iter().map(known).collect()
    }
}

impl Problem<'_> {
    /// Returns true if prices that balance all loads up to rounding are the same up to a fraction of ε, whatever the
    /// start. On the ramp of the smallest exporter a price moves by P/(C·(1−u)) per request per second.
    fn forgets_its_start(&self) -> bool {
        const ROUNDING: f64 = 1e-13;
        const PART: f64 = 0.01;
        let steepest = self.curves.iter().map(Curve::steepest_ms_per_rps).fold(0.0, f64::max);
        steepest * ROUNDING * self.scale <= PART * self.epsilon_ms
    }
}

/// An eligible exporter.
pub(super) type Offer<'a> = (&'a ClusterId, &'a Exporter);

/// Returns the exporters with capacity, and their capacities.
pub(super) fn eligible<'a>(facts: &'a Facts, sanitizer: &mut Sanitizer) -> (Vec<Offer<'a>>, Vec<f64>) {
    let capacity = |offer: Offer<'a>| (offer, sanitizer.read(Field::Capacity, (offer.0, None), offer.1.capacity_rps));
    facts.exporters.iter().map(capacity).filter(|&(_, capacity)| capacity >= MIN_CAPACITY_RPS).unzip()
}

/// Returns the usable part of each capacity. At the target utilization u there is room for a surprise of 1/u − 1. An
/// exporter whose load deviates more from its plan needs more headroom, and is planned with C/(u·(1 + z·σ)), as far as
/// the fleet has the capacity to spare: planning with less than u·ΣC would only cause an overload.
pub(super) fn with_headroom(offers: &[Offer<'_>], full: &[f64], load_rps: f64, tuning: &Tuning) -> Vec<f64> {
    let u = tuning.target_utilization;
    let surplus = |(offer, capacity): (&Offer<'_>, &f64)| {
        let deviation = within(offer.1.deviation, (0.0, MAX_DEVIATION), 0.0);
        capacity * (1.0 - 1.0 / (u * (1.0 + tuning.headroom_deviations * deviation))).max(0.0)
    };
    let wanted: Vec<f64> = offers.iter().zip(full).map(surplus).collect();
    let all: f64 = wanted.iter().sum();
    let spare = full.iter().sum::<f64>() - load_rps / u;
    let part = if all > 0.0 { (spare / all).clamp(0.0, 1.0) } else { 0.0 };
    full.iter().zip(&wanted).map(|(capacity, surplus)| capacity - part * surplus).collect()
}

fn residual((id, exporter): Offer<'_>, capacity: f64, sanitizer: &mut Sanitizer) -> f64 {
    let residual = sanitizer.read(Field::Residual, (id, None), exporter.residual_rps);
    residual.clamp(RESIDUAL.0 * capacity, RESIDUAL.1 * capacity)
}

fn demands(facts: &Facts, capacity: f64, sanitizer: &mut Sanitizer) -> Vec<f64> {
    let demand = |(id, source): (&ClusterId, &Source)| sanitizer.read(Field::Demand, (id, None), source.demand_rps);
    let demands: Vec<f64> = facts.sources.iter().map(demand).collect();
    if demands.iter().any(|&demand| demand > 0.0) {
        return demands;
    }
    // No source has a demand, and the next one that has will be the only one.
    let part = if facts.demand_unknown { UNKNOWN_DEMAND } else { MIN_DEMAND };
    vec![part * capacity / demands.len() as f64; demands.len()]
}

fn costs(facts: &Facts, exporters: &[&ClusterId], service: &[f64], sanitizer: &mut Sanitizer) -> Vec<f64> {
    let mut matrix = Vec::with_capacity(facts.sources.len() * exporters.len());
    for (id, source) in facts.sources.iter() {
        let mut row = path_costs(id, source, exporters, sanitizer);
        relative_to_cheapest(&mut row, service);
        matrix.append(&mut row);
    }
    matrix
}

pub(super) fn service_times(offers: &[Offer<'_>], sanitizer: &mut Sanitizer) -> Vec<f64> {
    offers.iter().map(|(id, exporter)| sanitizer.read(Field::ServiceTime, (id, None), exporter.service_ms)).collect()
}

/// Adds the service times, and subtracts the least cost from all: a cost that all exporters have in common decides
/// nothing.
pub(super) fn relative_to_cheapest(row: &mut [f64], service: &[f64]) {
    if row.iter().all(|cost| cost.is_infinite()) {
        // No exporter is known to be reachable: a broken probe must not end a service.
        row.fill(0.0);
    }
    row.iter_mut().zip(service).for_each(|(cost, service)| *cost += service);
    let least = row.iter().copied().fold(f64::INFINITY, f64::min);
    row.iter_mut().for_each(|cost| *cost -= least);
}

/// Returns the largest difference of costs in a row.
pub(super) fn range_ms(costs: &[f64]) -> f64 {
    costs.iter().copied().filter(|cost| cost.is_finite()).fold(0.0, f64::max)
}

/// Returns the path costs of a source, by exporter. Both sides are in the order of the cluster ids, so one pass finds
/// every pair.
pub(super) fn path_costs(
    source: &ClusterId,
    facts: &Source,
    exporters: &[&ClusterId],
    sanitizer: &mut Sanitizer,
) -> Vec<f64> {
    let mut paths = facts.costs.iter().peekable();
    let path = |&exporter: &&ClusterId| {
        while paths.next_if(|(id, _)| *id < exporter).is_some() {}
        let (_, cost) = paths.next_if(|(id, _)| *id == exporter)?;
        Some(path_ms(*cost, (source, exporter), sanitizer))
    };
    exporters.iter().map(path).map(|cost| cost.unwrap_or(f64::INFINITY)).collect()
}

fn path_ms(cost: UnitCost, (source, exporter): (&ClusterId, &ClusterId), sanitizer: &mut Sanitizer) -> f64 {
    let pair = (source, Some(exporter));
    sanitizer.read(Field::Latency, pair, cost.latency_ms) + sanitizer.read(Field::Price, pair, cost.price_ms)
}
