//! Exact water-filling for one source, and the fallback built on it.
//!
//! If the demands of the sources are not known, a source can still improve its own row: it sees the load of each
//! exporter, knows what it sent there itself, and takes the rest as given. If all sources used all the headroom they
//! see at once, they would overload the exporters. So each source fills only its portion α of an exporter, and takes
//! 1/α times its own load as the total. This is a majorant of the common cost: however many sources move at once, the
//! cost of all cannot rise.

use crate::name::{ByCluster, ClusterId};
use crate::optimize::congestion::{Curve, curves};
use crate::optimize::facts::{Facts, Field, Sanitizer, Source, Tuning};
use crate::optimize::problem::SolveError;
use crate::optimize::problem::{
    Offer, eligible, path_costs, range_ms, relative_to_cheapest, service_times, with_headroom,
};

/// Smallest portion of an exporter that a source fills.
const MIN_PORTION: f64 = 1e-6;

/// Demand that stands for none: a source without demand gets the row for its first request.
const MIN_DEMAND_RPS: f64 = 1e-6;

/// Limit of steps that narrow the bracket. Every third one halves it, so this is more than a double can resolve.
const MAX_STEPS: u32 = 200;

/// Limit of doublings of the bracket from 1 ms; enough for any finite level.
const MAX_DOUBLINGS: u32 = 200;

/// Relative error of the demand, and relative width of the bracket, at which the search ends.
const EXACT: f64 = 1e-10;
const NARROW: f64 = 1e-11;

/// An exporter as one source sees it, to be filled.
#[derive(Debug, Clone, Copy)]
pub struct Bin {
    pub cost_ms: f64,
    pub curve: Curve,
    /// Load from other sources.
    pub background_rps: f64,
    /// α: portion of the exporter that this source fills, 1 for all of it.
    pub portion: f64,
}

/// Result of [`water_fill`].
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    /// One load per bin; they add up to the demand.
    pub loads_rps: Vec<f64>,
    /// Marginal cost of one more request, the same in all bins with a load.
    pub level_ms: f64,
}

/// Minimizes Σ c_j·x_j + α_j·Φ_j(b_j + x_j/α_j) with Σ x_j = demand. At the optimum every bin with a load has the same
/// marginal cost, the level. The load of each bin grows with the level, so the level is the root of one function.
///
/// Costs must be finite, portions and the demand positive.
pub fn water_fill(bins: &[Bin], demand_rps: f64) -> Filled {
    let lowest = bins.iter().map(Bin::entry_ms).fold(f64::INFINITY, f64::min);
    if !(lowest.is_finite() && demand_rps > 0.0) {
        return Filled { loads_rps: vec![0.0; bins.len()], level_ms: lowest.max(0.0) };
    }
    let (low, high) = bracket(bins, demand_rps, lowest);
    let (below, above) = narrow(bins, demand_rps, low, high);
    // Within the last bracket loads grow linearly, or jump: a negative background is filled at one level.
    let (loads_below, loads_above) = (loads(bins, below), loads(bins, above));
    let (sum_below, sum_above): (f64, f64) = (loads_below.iter().sum(), loads_above.iter().sum());
    let part =
        if sum_above > sum_below { ((demand_rps - sum_below) / (sum_above - sum_below)).clamp(0.0, 1.0) } else { 1.0 };
    let between = |(below, above): (&f64, &f64)| below + (above - below) * part;
    let loads_rps: Vec<f64> = loads_below.iter().zip(&loads_above).map(between).collect();
    let scale = demand_rps / loads_rps.iter().sum::<f64>();
    Filled { loads_rps: loads_rps.iter().map(|load| load * scale).collect(), level_ms: below + (above - below) * part }
}

fn bracket(bins: &[Bin], demand_rps: f64, lowest: f64) -> (f64, f64) {
    let mut width = 1.0;
    for _ in 0..MAX_DOUBLINGS {
        if loads(bins, lowest + width).iter().sum::<f64>() >= demand_rps {
            break;
        }
        width *= 2.0;
    }
    (lowest, lowest + width)
}

/// Narrows the bracket by two Newton steps, one bisection, and so on: both ends move.
fn narrow(bins: &[Bin], demand_rps: f64, mut low: f64, mut high: f64) -> (f64, f64) {
    let mut level = high;
    for step in 0..MAX_STEPS {
        let excess = loads(bins, level).iter().sum::<f64>() - demand_rps;
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
        let slope: f64 = bins.iter().map(|bin| bin.slope(level)).sum();
        let guess = if step % 3 < 2 && slope > 0.0 { level - excess / slope } else { low };
        level = if guess > low && guess < high { guess } else { (low + high) / 2.0 };
    }
    (low, high)
}

fn loads(bins: &[Bin], level_ms: f64) -> Vec<f64> {
    bins.iter().map(|bin| bin.load(level_ms)).collect()
}

impl Bin {
    /// Returns the level at which the bin begins to fill.
    fn entry_ms(&self) -> f64 {
        self.cost_ms + self.curve.marginal_ms(self.background_rps.max(0.0))
    }

    /// Returns the load at a level. Waiting cannot cost less than nothing, so a negative background is filled as soon
    /// as the level reaches the cost.
    fn load(&self, level_ms: f64) -> f64 {
        if level_ms <= self.cost_ms {
            return 0.0;
        }
        let whole = self.curve.load_rps(level_ms - self.cost_ms);
        self.portion * ((whole - self.background_rps.max(0.0)).max(0.0) - self.background_rps.min(0.0))
    }

    fn slope(&self, level_ms: f64) -> f64 {
        if level_ms > self.entry_ms() { self.portion * self.curve.load_slope(level_ms - self.cost_ms) } else { 0.0 }
    }
}

/// Returns the shares of one source if only the loads of the exporters are known ("mode B"). `sent_rps` is the traffic
/// of the source in the *same window* in which the loads were measured: with a later window the source would react to
/// itself and oscillate.
///
/// A source that has sent nothing yet fills as if it were alone, for one round.
pub fn fallback_row(
    facts: &Facts,
    source: &ClusterId,
    sent_rps: &ByCluster<f64>,
    tuning: &Tuning,
) -> Result<ByCluster<f64>, SolveError> {
    let tuning = tuning.within_limits();
    let mut sanitizer = Sanitizer::default();
    let (offers, full) = eligible(facts, &mut sanitizer);
    let exporters: Vec<&ClusterId> = offers.iter().map(|offer| offer.0).collect();
    if exporters.is_empty() {
        return Err(SolveError::NoCapacity);
    }
    let unknown = Source::default();
    let own = facts.sources.get(source).unwrap_or(&unknown);
    let mut costs = path_costs(source, own, &exporters, &mut sanitizer);
    relative_to_cheapest(&mut costs, &service_times(&offers, &mut sanitizer));
    let demand = sanitizer.read(Field::Demand, (source, None), own.demand_rps).max(MIN_DEMAND_RPS);
    let seen: Vec<Seen> = offers.iter().map(|offer| Seen::new(*offer, sent_rps, &mut sanitizer)).collect();
    let load: f64 = seen.iter().map(|seen| seen.load).sum();
    let capacities = with_headroom(&offers, &full, load, &tuning);
    let curves = curves(&capacities, tuning.shape(), range_ms(&costs), 1.0);
    let portions = portions(&seen, demand, tuning.fallback_theta);

    // An exporter without a path has no bin. At least one is left, see `relative_to_cheapest`.
    let reached: Vec<usize> = (0..exporters.len()).filter(|&j| costs[j].is_finite()).collect();
    let bin = |&j: &usize| Bin {
        cost_ms: costs[j],
        curve: curves[j],
        background_rps: seen[j].load - seen[j].sent / portions[j],
        portion: portions[j],
    };
    let bins: Vec<Bin> = reached.iter().map(bin).collect();
    let filled = water_fill(&bins, demand);
    let mut shares = vec![0.0; exporters.len()];
    reached.iter().zip(filled.loads_rps).for_each(|(&j, load)| shares[j] = load / demand);
    Ok(exporters.into_iter().cloned().zip(shares).collect())
}

/// Load of an exporter in a window, and the part of this source.
#[derive(Debug, Clone, Copy)]
struct Seen {
    load: f64,
    sent: f64,
}

impl Seen {
    fn new((exporter, fact): Offer<'_>, sent_rps: &ByCluster<f64>, sanitizer: &mut Sanitizer) -> Self {
        let (measured, sent) = (fact.measured_rps, sent_rps.get(exporter).copied().unwrap_or(0.0));
        Self {
            load: sanitizer.read(Field::MeasuredLoad, (exporter, None), measured),
            sent: sanitizer.read(Field::MeasuredLoad, (exporter, None), sent),
        }
    }
}

/// Returns α_j = (1−θ)·x_j/y_j + θ·λ/Λ: the current portion, moved towards the fair one.
fn portions(seen: &[Seen], demand: f64, theta: f64) -> Vec<f64> {
    let all: f64 = seen.iter().map(|seen| seen.load).sum();
    let sent: f64 = seen.iter().map(|seen| seen.sent).sum();
    if !(all > 0.0 && sent > 0.0) {
        return vec![1.0; seen.len()];
    }
    let fair = theta * (demand / all).min(1.0);
    let portion = |seen: &Seen| (1.0 - theta) * seen.sent / seen.load.max(1e-9) + fair;
    seen.iter().map(portion).map(|portion| portion.clamp(MIN_PORTION, 1.0)).collect()
}
