//! Exact water-filling for one source, and the fallback that is made of it.
//!
//! When the sources' demands are not known, a source can still do its part: it sees each exporter's load, knows what it
//! sent there itself, and takes the rest as given. If all did that at once with all the headroom they see, they would
//! trample on each other; so each fills only its share α of an exporter, and takes 1/α times its load as the whole. That
//! is a majorant of the common cost: however many sources move at once, the cost of all cannot rise.

use crate::name::{ByCluster, ClusterId};
use crate::optimize::congestion::{Curve, curves};
use crate::optimize::facts::{Door, Facts, Field, Source, Tuning};
use crate::optimize::problem::Unsolved;
use crate::optimize::problem::{Offer, eligible, from_the_least, range_ms, service_times, way_costs, with_headroom};

/// The least share of an exporter that a source claims.
const LEAST_CLAIM: f64 = 1e-6;

/// A source without demand gets the row of a very small one, for its first request.
const LEAST_DEMAND_RPS: f64 = 1e-6;

/// Each narrows the bracket, every third one by half: more than a double can tell apart.
const MOST_STEPS: u32 = 200;

/// The bracket doubles from 1 ms; this is enough for any finite level.
const MOST_DOUBLINGS: u32 = 200;

const EXACT: f64 = 1e-10;
const NARROW: f64 = 1e-11;

/// An exporter as one source sees it.
#[derive(Debug, Clone, Copy)]
pub struct Vessel {
    pub cost_ms: f64,
    pub curve: Curve,
    /// What others send there.
    pub background_rps: f64,
    /// α: the part of the exporter that this source fills, 1 for all of it.
    pub claim: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    /// One per vessel; together the demand.
    pub loads_rps: Vec<f64>,
    /// What one more request costs, wherever it goes.
    pub level_ms: f64,
}

/// min Σ c_j·x_j + α_j·Φ_j(b_j + x_j/α_j) with Σ x_j = demand. At the optimum every vessel with a load has the same
/// marginal cost, the level, and each vessel's load grows with the level: so the level is the root of one function.
///
/// Costs must be finite, claims and the demand positive.
pub fn fill(vessels: &[Vessel], demand_rps: f64) -> Filled {
    let lowest = vessels.iter().map(Vessel::entry_ms).fold(f64::INFINITY, f64::min);
    if !(lowest.is_finite() && demand_rps > 0.0) {
        return Filled { loads_rps: vec![0.0; vessels.len()], level_ms: lowest.max(0.0) };
    }
    let (low, high) = bracket(vessels, demand_rps, lowest);
    let (below, above) = narrow(vessels, demand_rps, low, high);
    // Within the last bracket loads grow in a straight line, or jump: a negative background is filled at one level.
    let (loads_below, loads_above) = (loads(vessels, below), loads(vessels, above));
    let (sum_below, sum_above): (f64, f64) = (loads_below.iter().sum(), loads_above.iter().sum());
    let part =
        if sum_above > sum_below { ((demand_rps - sum_below) / (sum_above - sum_below)).clamp(0.0, 1.0) } else { 1.0 };
    let between = |(below, above): (&f64, &f64)| below + (above - below) * part;
    let loads_rps: Vec<f64> = loads_below.iter().zip(&loads_above).map(between).collect();
    let scale = demand_rps / loads_rps.iter().sum::<f64>();
    Filled { loads_rps: loads_rps.iter().map(|load| load * scale).collect(), level_ms: below + (above - below) * part }
}

fn bracket(vessels: &[Vessel], demand_rps: f64, lowest: f64) -> (f64, f64) {
    let mut width = 1.0;
    for _ in 0..MOST_DOUBLINGS {
        if loads(vessels, lowest + width).iter().sum::<f64>() >= demand_rps {
            break;
        }
        width *= 2.0;
    }
    (lowest, lowest + width)
}

/// Two Newton steps, one bisection, and so on: both ends of the bracket move.
fn narrow(vessels: &[Vessel], demand_rps: f64, mut low: f64, mut high: f64) -> (f64, f64) {
    let mut level = high;
    for step in 0..MOST_STEPS {
        let excess = loads(vessels, level).iter().sum::<f64>() - demand_rps;
        if excess.abs() <= EXACT * demand_rps {
            return (level, level);
        }
        if excess > 0.0 {
            high = level;
        } else {
            low = level;
        }
        if high - low <= NARROW * (1.0 + high.abs()) {
            break;
        }
        let slope: f64 = vessels.iter().map(|vessel| vessel.slope(level)).sum();
        let guess = if step % 3 < 2 && slope > 0.0 { level - excess / slope } else { low };
        level = if guess > low && guess < high { guess } else { (low + high) / 2.0 };
    }
    (low, high)
}

fn loads(vessels: &[Vessel], level_ms: f64) -> Vec<f64> {
    vessels.iter().map(|vessel| vessel.load(level_ms)).collect()
}

impl Vessel {
    /// The level at which it begins to fill.
    fn entry_ms(&self) -> f64 {
        self.cost_ms + self.curve.marginal_ms(self.background_rps.max(0.0))
    }

    /// Waiting cannot cost less than nothing, so what is below an empty vessel is filled as soon as the level reaches it.
    fn load(&self, level_ms: f64) -> f64 {
        if level_ms <= self.cost_ms {
            return 0.0;
        }
        let whole = self.curve.load_rps(level_ms - self.cost_ms);
        self.claim * ((whole - self.background_rps.max(0.0)).max(0.0) - self.background_rps.min(0.0))
    }

    fn slope(&self, level_ms: f64) -> f64 {
        if level_ms > self.entry_ms() { self.claim * self.curve.load_slope(level_ms - self.cost_ms) } else { 0.0 }
    }
}

/// The shares of one source when only the exporters' loads are known ("mode B"). `sent_rps` is what the source sent in the
/// *very window* in which the loads were measured: with a later one the rule reacts to itself and oscillates.
///
/// Nothing sent yet: the source fills as if it were alone, for one round.
pub fn fallback_row(
    facts: &Facts,
    source: &ClusterId,
    sent_rps: &ByCluster<f64>,
    tuning: &Tuning,
) -> Result<ByCluster<f64>, Unsolved> {
    let tuning = tuning.within_limits();
    let mut door = Door::default();
    let (offers, full) = eligible(facts, &mut door);
    let exporters: Vec<&ClusterId> = offers.iter().map(|offer| offer.0).collect();
    if exporters.is_empty() {
        return Err(Unsolved::NobodyEligible);
    }
    let unknown = Source::default();
    let own = facts.sources.get(source).unwrap_or(&unknown);
    let mut costs = way_costs(source, own, &exporters, &mut door);
    from_the_least(&mut costs, &service_times(&offers, &mut door));
    let demand = door.read(Field::Demand, (source, None), own.demand_rps).max(LEAST_DEMAND_RPS);
    let seen: Vec<Seen> = offers.iter().map(|offer| Seen::new(*offer, sent_rps, &mut door)).collect();
    let load: f64 = seen.iter().map(|seen| seen.load).sum();
    let capacities = with_headroom(&offers, &full, load, &tuning);
    let curves = curves(&capacities, tuning.shape(), range_ms(&costs), 1.0);
    let claims = claims(&seen, demand, tuning.fallback_theta);

    // Without a way there is no vessel. At least one is left, see `from_the_least`.
    let reached: Vec<usize> = (0..exporters.len()).filter(|&j| costs[j].is_finite()).collect();
    let vessel = |&j: &usize| Vessel {
        cost_ms: costs[j],
        curve: curves[j],
        background_rps: seen[j].load - seen[j].sent / claims[j],
        claim: claims[j],
    };
    let vessels: Vec<Vessel> = reached.iter().map(vessel).collect();
    let filled = fill(&vessels, demand);
    let mut shares = vec![0.0; exporters.len()];
    reached.iter().zip(filled.loads_rps).for_each(|(&j, load)| shares[j] = load / demand);
    Ok(exporters.into_iter().cloned().zip(shares).collect())
}

/// An exporter's load in a window, and this source's part of it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    load: f64,
    sent: f64,
}

impl Seen {
    fn new((exporter, fact): Offer<'_>, sent_rps: &ByCluster<f64>, door: &mut Door) -> Self {
        let (measured, sent) = (fact.measured_rps, sent_rps.get(exporter).copied().unwrap_or(0.0));
        Self {
            load: door.read(Field::MeasuredLoad, (exporter, None), measured),
            sent: door.read(Field::MeasuredLoad, (exporter, None), sent),
        }
    }
}

/// α_j = (1−θ)·x_j/y_j + θ·λ/Λ: what it has of the exporter, drawn towards what is its due.
fn claims(seen: &[Seen], demand: f64, theta: f64) -> Vec<f64> {
    let all: f64 = seen.iter().map(|seen| seen.load).sum();
    let sent: f64 = seen.iter().map(|seen| seen.sent).sum();
    if !(all > 0.0 && sent > 0.0) {
        return vec![1.0; seen.len()];
    }
    let due = theta * (demand / all).min(1.0);
    let claim = |seen: &Seen| (1.0 - theta) * seen.sent / seen.load.max(1e-9) + due;
    seen.iter().map(claim).map(|claim| claim.clamp(LEAST_CLAIM, 1.0)).collect()
}
