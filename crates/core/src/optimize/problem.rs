//! The facts about one service as the solver wants them: numbers only, in range, in the order of the cluster ids.

use thiserror::Error;

use crate::name::{ByCluster, ClusterId};
use crate::optimize::congestion::{Curve, curves};
use crate::optimize::cost::UnitCost;
use crate::optimize::exponential::ln;
use crate::optimize::facts::{
    Door, Exporter, Facts, Field, LEAST_CAPACITY_RPS, MOST_DEVIATION, Source, Tuning, within,
};

/// Of the capacity that is left, how much is planned with at most: more could not be served anyway.
const SERVABLE: f64 = 0.98;

/// The part of its capacity that a residual can add to or take from an exporter in the model.
const RESIDUAL: (f64, f64) = (-0.3, 0.95);

/// While nobody has measured a demand, all of it together counts as this part of the capacity.
const UNKNOWN_DEMAND: f64 = 0.5;

/// The same when it is known that there is none: the plan for the first request.
const LEAST_DEMAND: f64 = 1e-6;

/// Of the ramp: a smaller ε cannot be told from rounding in prices that are as high as that. It exceeds the default ε where
/// costs differ by more than three hours.
const LEAST_EPSILON: f64 = 1e-8;

/// Demands below this part of the capacity are not what the accuracy is measured by.
const LEAST_SCALE: f64 = 1e-6;

/// Why there is no new plan. The caller keeps the previous one, or answers as it does without an optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum Unsolved {
    #[error("no exporter has capacity")]
    NobodyEligible,
    #[error("the solver stopped {residual_rps} requests per second away from balance, of a load of {load_rps}")]
    Unbalanced { residual_rps: f64, load_rps: f64 },
}

/// Sources are rows, eligible exporters are columns.
#[derive(Debug)]
pub(super) struct Problem<'a> {
    pub(super) sources: Vec<&'a ClusterId>,
    pub(super) exporters: Vec<&'a ClusterId>,
    /// By rows, in ms, less the smallest of each row. Infinite where there is no way.
    pub(super) cost: Vec<f64>,
    /// Largest finite cost.
    pub(super) range_ms: f64,
    /// What each source asks for, and the servable part of it.
    pub(super) asked: Vec<f64>,
    pub(super) demand: Vec<f64>,
    /// What part of the demand is servable: below 1 in an overload.
    pub(super) servable: f64,
    pub(super) background: Vec<f64>,
    pub(super) service: Vec<f64>,
    /// ln(C_j/ΣC)
    pub(super) prior: Vec<f64>,
    pub(super) curves: Vec<Curve>,
    pub(super) epsilon_ms: f64,
    pub(super) capacity: f64,
    /// Of each exporter, headroom and all.
    pub(super) full: Vec<f64>,
    /// What residuals are compared with, in requests per second.
    pub(super) scale: f64,
}

impl<'a> Problem<'a> {
    pub(super) fn new(facts: &'a Facts, tuning: &Tuning, door: &mut Door) -> Result<Self, Unsolved> {
        let (offers, full) = eligible(facts, door);
        let exporters: Vec<&ClusterId> = offers.iter().map(|offer| offer.0).collect();
        // Sums run in the order of the cluster ids, here as everywhere: floating-point addition is not associative.
        let whole: f64 = full.iter().sum();
        if exporters.is_empty() {
            return Err(Unsolved::NobodyEligible);
        }
        let sources: Vec<&ClusterId> = facts.sources.keys().collect();
        let service = service_times(&offers, door);
        let cost = costs(facts, &exporters, &service, door);
        let range_ms = range_ms(&cost);
        let detours = if cost.iter().all(|cost| cost.is_finite()) { 1 } else { sources.len().min(exporters.len()) };
        let background: Vec<f64> = offers.iter().zip(&full).map(|(offer, c)| residual(*offer, *c, door)).collect();

        let asked = demands(facts, whole, door);
        let all: f64 = asked.iter().sum();
        let capacities = with_headroom(&offers, &full, all + background.iter().sum::<f64>(), tuning);
        let background: Vec<f64> = background.iter().zip(&capacities).map(|(b, c)| b.min(RESIDUAL.1 * c)).collect();
        let capacity: f64 = capacities.iter().sum();
        let rooms: Vec<f64> = capacities.iter().zip(&background).map(|(c, b)| SERVABLE * (c - b)).collect();
        let room: f64 = rooms.iter().sum();
        let servable = if all > 0.0 { (room / all).min(1.0) } else { 1.0 };
        // Who reaches few exporters cannot be served more than those have room for, however much there is elsewhere.
        let reached = |row: &[f64]| -> f64 {
            row.iter().zip(&rooms).filter(|(cost, _)| cost.is_finite()).map(|(_, room)| room).sum()
        };
        let rows = cost.chunks_exact(exporters.len());
        let demand = asked.iter().zip(rows).map(|(asked, row)| (servable * asked).min(reached(row))).collect();
        let explained = all.min(capacity) + background.iter().map(|b| b.abs()).sum::<f64>();
        let curves = curves(&capacities, tuning.shape(), range_ms, detours as f64);
        let ramp_ms = curves.iter().map(Curve::ramp_ms).fold(0.0, f64::max);
        Ok(Self {
            sources,
            cost,
            range_ms,
            demand,
            asked,
            servable,
            background,
            service,
            prior: capacities.iter().map(|c| ln(c / capacity)).collect(),
            curves,
            epsilon_ms: tuning.epsilon_ms.max(LEAST_EPSILON * ramp_ms),
            exporters,
            capacity,
            full,
            scale: explained.max(LEAST_SCALE * capacity),
        })
    }

    /// The prices at which every exporter would be as full as the others.
    pub(super) fn equal_utilisation_prices(&self) -> Vec<f64> {
        let load = self.demand.iter().sum::<f64>() + self.background.iter().sum::<f64>();
        let utilisation = load / self.capacity;
        self.curves.iter().map(|curve| curve.marginal_ms(curve.capacity_rps() * utilisation)).collect()
    }

    /// The prices of an earlier solution, unless one is missing or is no price, or the start could show in the shares.
    pub(super) fn known_prices(&self, prices: &ByCluster<f64>) -> Option<Vec<f64>> {
        const NO_PRICE: f64 = 1e12;
        if !self.forgets_its_start() {
            return None;
        }
        let known = |id: &&ClusterId| prices.get(*id).copied().filter(|price| price.abs() < NO_PRICE);
        self.exporters.iter().map(known).collect()
    }
}

impl Problem<'_> {
    /// Whether prices that balance all loads up to rounding are the same up to a part of ε, wherever they come from. On the
    /// ramp of the smallest exporter a price moves by P/(C·(1−u)) for each request per second.
    fn forgets_its_start(&self) -> bool {
        const ROUNDING: f64 = 1e-13;
        const PART: f64 = 0.01;
        let steepest = self.curves.iter().map(Curve::steepest_ms_per_rps).fold(0.0, f64::max);
        steepest * ROUNDING * self.scale <= PART * self.epsilon_ms
    }
}

/// An eligible exporter.
pub(super) type Offer<'a> = (&'a ClusterId, &'a Exporter);

/// Who has capacity, and how much.
pub(super) fn eligible<'a>(facts: &'a Facts, door: &mut Door) -> (Vec<Offer<'a>>, Vec<f64>) {
    let capacity = |offer: Offer<'a>| (offer, door.read(Field::Capacity, (offer.0, None), offer.1.capacity_rps));
    facts.exporters.iter().map(capacity).filter(|&(_, capacity)| capacity >= LEAST_CAPACITY_RPS).unzip()
}

/// What of their capacities is planned with. At the target utilisation u there is room for a surprise of 1/u − 1; an exporter
/// whose load deviates more from its plan needs more, and is planned with C/(u·(1 + z·σ)). As far as the fleet has that to
/// spare: to plan with less than u·ΣC would only make an overload of it.
pub(super) fn with_headroom(offers: &[Offer<'_>], full: &[f64], load_rps: f64, tuning: &Tuning) -> Vec<f64> {
    let u = tuning.target_utilisation;
    let surplus = |(offer, capacity): (&Offer<'_>, &f64)| {
        let deviation = within(offer.1.deviation, (0.0, MOST_DEVIATION), 0.0);
        capacity * (1.0 - 1.0 / (u * (1.0 + tuning.headroom_deviations * deviation))).max(0.0)
    };
    let wanted: Vec<f64> = offers.iter().zip(full).map(surplus).collect();
    let all: f64 = wanted.iter().sum();
    let spare = full.iter().sum::<f64>() - load_rps / u;
    let part = if all > 0.0 { (spare / all).clamp(0.0, 1.0) } else { 0.0 };
    full.iter().zip(&wanted).map(|(capacity, surplus)| capacity - part * surplus).collect()
}

fn residual((id, exporter): Offer<'_>, capacity: f64, door: &mut Door) -> f64 {
    let residual = door.read(Field::Residual, (id, None), exporter.residual_rps);
    residual.clamp(RESIDUAL.0 * capacity, RESIDUAL.1 * capacity)
}

fn demands(facts: &Facts, capacity: f64, door: &mut Door) -> Vec<f64> {
    let demand = |(id, source): (&ClusterId, &Source)| door.read(Field::Demand, (id, None), source.demand_rps);
    let demands: Vec<f64> = facts.sources.iter().map(demand).collect();
    if demands.iter().any(|&demand| demand > 0.0) {
        return demands;
    }
    // Nobody asks for anything, and whoever does next is the only one.
    let part = if facts.demand_unknown { UNKNOWN_DEMAND } else { LEAST_DEMAND };
    vec![part * capacity / demands.len() as f64; demands.len()]
}

fn costs(facts: &Facts, exporters: &[&ClusterId], service: &[f64], door: &mut Door) -> Vec<f64> {
    let mut matrix = Vec::with_capacity(facts.sources.len() * exporters.len());
    for (id, source) in facts.sources.iter() {
        let mut row = way_costs(id, source, exporters, door);
        from_the_least(&mut row, service);
        matrix.append(&mut row);
    }
    matrix
}

pub(super) fn service_times(offers: &[Offer<'_>], door: &mut Door) -> Vec<f64> {
    offers.iter().map(|(id, exporter)| door.read(Field::ServiceTime, (id, None), exporter.service_ms)).collect()
}

/// Adds the service times, and takes the least cost from all: what all exporters cost a source alike decides nothing.
pub(super) fn from_the_least(row: &mut [f64], service: &[f64]) {
    if row.iter().all(|cost| cost.is_infinite()) {
        // It reaches nobody, as far as anybody knows: a broken probe must not end a service.
        row.fill(0.0);
    }
    row.iter_mut().zip(service).for_each(|(cost, service)| *cost += service);
    let least = row.iter().copied().fold(f64::INFINITY, f64::min);
    row.iter_mut().for_each(|cost| *cost -= least);
}

/// The largest difference in a row.
pub(super) fn range_ms(costs: &[f64]) -> f64 {
    costs.iter().copied().filter(|cost| cost.is_finite()).fold(0.0, f64::max)
}

/// Both sides are in the order of the cluster ids, so one walk along them finds every pair.
pub(super) fn way_costs(source: &ClusterId, facts: &Source, exporters: &[&ClusterId], door: &mut Door) -> Vec<f64> {
    let mut ways = facts.costs.iter().peekable();
    let way = |&exporter: &&ClusterId| {
        while ways.next_if(|(id, _)| *id < exporter).is_some() {}
        let (_, cost) = ways.next_if(|(id, _)| *id == exporter)?;
        Some(way_ms(*cost, (source, exporter), door))
    };
    exporters.iter().map(way).map(|cost| cost.unwrap_or(f64::INFINITY)).collect()
}

fn way_ms(cost: UnitCost, (source, exporter): (&ClusterId, &ClusterId), door: &mut Door) -> f64 {
    let pair = (source, Some(exporter));
    door.read(Field::Latency, pair, cost.latency_ms) + door.read(Field::Price, pair, cost.price_ms)
}
