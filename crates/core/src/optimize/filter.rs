//! Filters that turn measurements into facts, and the hysteresis between an old row and a new one. Each filter is a
//! value, and its `step` returns the next value from a measurement. A step is a round; no filter knows the time.

use crate::name::{ByCluster, ClusterId};
use crate::optimize::facts::{MAX_DEVIATION, MAX_RPS, Tuning, within};

/// Range of a trim, as fractions of the capacity.
const TRIM_RANGE: (f64, f64) = (-0.5, 0.9);

/// Load at an exporter that the plan does not explain: clients without an agent, wrong reports, agents that see other
/// facts. This is internal-model control: with a gain below 1 it is stable at any delay.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Trim {
    raw_rps: f64,
}

/// Load of an exporter in one window, measured and planned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub measured_rps: f64,
    /// Load by its *own* plan of that window, with the demand that was then measured.
    pub planned_rps: f64,
    pub capacity_rps: f64,
}

impl Trim {
    /// Returns a trim that stands at a residual.
    pub fn at(residual_rps: f64) -> Self {
        Self { raw_rps: within(residual_rps, (-MAX_RPS, MAX_RPS), 0.0) }
    }

    /// Takes in the window that ended.
    #[must_use]
    pub fn step(self, window: Window, tuning: &Tuning) -> Self {
        let gain = tuning.within_limits().trim_gain;
        let capacity = rps(window.capacity_rps);
        let unexplained = rps(window.measured_rps) - rps(window.planned_rps);
        let raw = (1.0 - gain) * self.raw_rps + gain * unexplained;
        Self { raw_rps: raw.clamp(TRIM_RANGE.0 * capacity, TRIM_RANGE.1 * capacity) }
    }

    /// Returns the filtered residual, noise included.
    pub fn raw_rps(self) -> f64 {
        self.raw_rps
    }

    /// Returns the residual to publish: 0 while it may be noise.
    pub fn published_rps(self, capacity_rps: f64, tuning: &Tuning) -> f64 {
        let noise = tuning.within_limits().trim_dead_band * rps(capacity_rps);
        if self.raw_rps.abs() < noise { 0.0 } else { self.raw_rps }
    }
}

/// Demand filter after Trigg and Leach (1967): exponential smoothing whose gain is |smoothed error| / smoothed |error|.
/// Errors that cancel out are noise, and little of it is followed. Errors of one sign are a change, which is followed
/// entirely. A trend that fades is added (Gardner and McKenzie, 1985), because a plan is for the next round.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Demand {
    /// `None` before the first measurement.
    level_rps: Option<f64>,
    /// Trend per round.
    trend_rps: f64,
    error: f64,
    absolute_error: f64,
    /// Demand before the last jump. The mean of the current round lies between it and the level, and is ignored.
    before_jump: Option<f64>,
}

impl Demand {
    /// Relative rise of the first round that is taken for a rush: clients that had no answers for a while all query at
    /// once.
    const RUSH: f64 = 0.25;

    /// Returns a filter that continues from the demand published before a restart.
    pub fn resumed(rps: f64) -> Self {
        let level = self::rps(rps);
        Self { level_rps: Some(level), before_jump: Some((1.0 + Self::RUSH) * level), ..Self::default() }
    }

    /// Takes in the mean of a round.
    #[must_use]
    pub fn step(self, measured_rps: f64, tuning: &Tuning) -> Self {
        let tuning = tuning.within_limits();
        let measured = rps(measured_rps);
        let Some(level) = self.level_rps else {
            return Self { level_rps: Some(measured), ..self };
        };
        if let Some(before) = self.before_jump
            && (before.min(level)..=before.max(level)).contains(&measured)
        {
            return Self { before_jump: None, ..self };
        }
        let g = tuning.demand_gain;
        let trend = tuning.trend_damping * self.trend_rps;
        let surprise = measured - (level + trend);
        let error = (1.0 - g) * self.error + g * surprise;
        let absolute_error = (1.0 - g) * self.absolute_error + g * surprise.abs();
        if surprise.abs() > tuning.demand_jump * level {
            return Self { level_rps: Some(measured), error, absolute_error, ..Self::default() };
        }
        let tracking = (error.abs() / absolute_error.max(f64::MIN_POSITIVE)).clamp(tuning.demand_least_alpha, 1.0);
        let next = (level + trend + tracking * surprise).max(0.0);
        let trend_rps = trend + tuning.trend_gain * (next - level - trend);
        Self { level_rps: Some(next), trend_rps, error, absolute_error, before_jump: None }
    }

    /// Takes in a measurement in the middle of a round if it is a jump. Returns `None` if it is not. The mean of that
    /// round will lie between the old and the new demand.
    pub fn jump(self, measured_rps: f64, tuning: &Tuning) -> Option<Self> {
        let measured = rps(measured_rps);
        let jumped = |level: f64| (measured - level).abs() > tuning.within_limits().demand_jump * level;
        let known = self.level_rps.is_some_and(|level| !jumped(level));
        let before = self.before_jump.or(self.level_rps).unwrap_or(0.0);
        (!known).then_some(Self { level_rps: Some(measured), trend_rps: 0.0, before_jump: Some(before), ..self })
    }

    /// Returns the demand expected in the next round.
    pub fn rps(self, tuning: &Tuning) -> Option<f64> {
        let trend = tuning.within_limits().trend_damping * self.trend_rps;
        self.level_rps.map(|level| (level + trend).max(0.0))
    }

    /// Returns the growth expected in the round after it.
    pub fn trend_rps(self, tuning: &Tuning) -> f64 {
        let damping = tuning.within_limits().trend_damping;
        damping * damping * self.trend_rps
    }
}

/// Relative deviation of the load of an exporter from its plan: the smoothed absolute error times 1.25, which is the
/// standard deviation of normal errors.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Deviation {
    part: f64,
}

impl Deviation {
    /// Standard deviation of normal errors with a mean absolute size of 1.
    const STANDARD: f64 = 1.25;
    /// Steps of the published value, so that noise of the deviation is not published.
    const GRID: f64 = 1.0 / 60.0;
    /// Minimum planned load, as a fraction of the capacity. A smaller one tells nothing about the accuracy of plans.
    const MIN_PLANNED: f64 = 0.05;

    /// Returns a filter that stands at a deviation.
    pub fn at(part: f64) -> Self {
        Self { part: within(part, (0.0, MAX_DEVIATION), 0.0) }
    }

    /// Takes in the window that ended.
    #[must_use]
    pub fn step(self, window: Window, tuning: &Tuning) -> Self {
        let (measured, planned) = (rps(window.measured_rps), rps(window.planned_rps));
        if planned <= Self::MIN_PLANNED * rps(window.capacity_rps) || planned <= 0.0 {
            return self;
        }
        let error = (Self::STANDARD * (measured - planned).abs() / planned).min(MAX_DEVIATION);
        let gain = tuning.within_limits().deviation_gain;
        Self { part: (1.0 - gain) * self.part + gain * error }
    }

    /// Returns the deviation to publish.
    pub fn published(self) -> f64 {
        Self::GRID * (self.part / Self::GRID).round()
    }
}

/// Real capacity of an exporter, as a fraction of the assumed one. All agents rely on a capacity that is too high, and
/// only a correction brings the load down. While an exporter rejects requests, the load that it serves is its capacity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    part: f64,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { part: 1.0 }
    }
}

impl Calibration {
    /// Smallest fraction: an export that rejects nearly all requests has another problem than its capacity.
    const MIN: f64 = 0.1;
    /// Recovery per round while no request is rejected: a fifth within a day, at rounds of five minutes.
    const RECOVERY: f64 = 0.001;

    /// Takes in a round. `limit_rps` is the load served while requests were rejected; `None` if none were.
    #[must_use]
    pub fn step(self, nominal_rps: f64, limit_rps: Option<f64>) -> Self {
        let nominal = rps(nominal_rps);
        let part = match limit_rps {
            Some(limit) if nominal > 0.0 => rps(limit) / nominal,
            _ => self.part + Self::RECOVERY,
        };
        Self { part: part.clamp(Self::MIN, 1.0) }
    }

    /// Returns the real capacity for an assumed one.
    pub fn capacity_rps(self, nominal_rps: f64) -> f64 {
        self.part * rps(nominal_rps)
    }
}

/// Row in force. It changes only if a new one differs by at least the hysteresis.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AppliedRow {
    shares: ByCluster<f64>,
}

impl AppliedRow {
    /// Takes in a new row, which lists all eligible exporters. A cluster with a share that is no longer listed is
    /// always a reason to change.
    #[must_use]
    pub fn step(self, proposed: ByCluster<f64>, tuning: &Tuning) -> Self {
        let lost = |(id, share): (&ClusterId, &f64)| *share > 0.0 && !proposed.contains_key(id);
        let lost_one = self.shares.iter().any(lost);
        if self.shares.is_empty() || lost_one || self.distance(&proposed) >= tuning.within_limits().hysteresis {
            return Self { shares: proposed };
        }
        self
    }

    /// Returns the shares in force.
    pub fn shares(&self) -> &ByCluster<f64> {
        &self.shares
    }

    /// Returns Σ |p_j − q_j|: 2 for two rows that have nothing in common.
    fn distance(&self, other: &ByCluster<f64>) -> f64 {
        let share = |row: &ByCluster<f64>, id| row.get(id).copied().unwrap_or(0.0);
        let ours = self.shares.iter().map(|(id, p)| (p - share(other, id)).abs());
        let theirs = other.iter().filter(|(id, _)| !self.shares.contains_key(*id)).map(|(_, q)| q.abs());
        ours.chain(theirs).sum()
    }
}

fn rps(value: f64) -> f64 {
    within(value, (0.0, MAX_RPS), 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONSENSE: [f64; 5] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300];

    fn row(shares: &[(&str, f64)]) -> ByCluster<f64> {
        shares.iter().map(|&(id, share)| (ClusterId::new(id).unwrap(), share)).collect()
    }

    #[test]
    fn mean_of_the_round_of_a_jump_does_not_pull_the_demand_back() {
        let tuning = Tuning::default();
        let rps = |demand: Demand| demand.rps(&tuning).unwrap();
        let begun = Demand::default().jump(105.0, &tuning).unwrap().step(92.0, &tuning);
        assert!((rps(begun) - 105.0).abs() < 1e-9, "the first seconds of that round were without clients");
        assert!((rps(begun.step(100.0, &tuning)) - 100.0).abs() < 1.0, "{begun:?}");
        let known = (0..10).fold(Demand::default(), |demand, _| demand.step(50.0, &tuning));
        let jumped = known.jump(100.0, &tuning).unwrap().step(75.0, &tuning);
        assert!((rps(jumped) - 100.0).abs() < 1e-9, "{jumped:?}");
        let fell = known.jump(100.0, &tuning).unwrap().step(40.0, &tuning);
        assert!((rps(fell) - 40.0).abs() < 1e-9, "it was a spike: {fell:?}");
    }

    #[test]
    fn rush_after_a_restart_is_not_taken_for_more_demand() {
        let tuning = Tuning::default();
        let rps = |demand: Demand| demand.rps(&tuning).unwrap();
        let rush = Demand::resumed(50.0).step(58.0, &tuning);
        assert!((rps(rush) - 50.0).abs() < 1e-9, "{rush:?}");
        assert!(rps(rush.step(58.0, &tuning)) > 57.0, "they stay that many: {rush:?}");
        assert!((rps(Demand::resumed(50.0).step(80.0, &tuning)) - 80.0).abs() < 1e-9, "that is too many");
        assert!(rps(Demand::resumed(50.0).step(45.0, &tuning)) < 50.0, "and this is no rush");
    }

    #[test]
    fn constant_residual_is_found_and_bounded_by_the_capacity() {
        let tuning = Tuning::default();
        let window = |measured_rps| Window { measured_rps, planned_rps: 100.0, capacity_rps: 200.0 };
        let settled = (0..40).fold(Trim::default(), |trim, _| trim.step(window(150.0), &tuning));
        assert!((settled.published_rps(200.0, &tuning) - 50.0).abs() < 1e-9);
        let flooded = (0..40).fold(settled, |trim, _| trim.step(window(1e6), &tuning));
        assert!((flooded.raw_rps() - 180.0).abs() < 1e-9);
        let once = flooded.step(window(100.0), &tuning);
        assert!((once.raw_rps() - 90.0).abs() < 1e-9, "no wind-up: one quiet window halves it");
    }

    #[test]
    fn demand_filter_damps_noise_follows_a_trend_and_takes_a_jump_at_once() {
        let tuning = Tuning::default();
        let level = |measured: &[f64]| {
            measured.iter().fold(Demand::default(), |demand, rps| demand.step(*rps, &tuning)).rps(&tuning).unwrap()
        };
        let noise: Vec<f64> = (0..60).map(|i| if i % 2 == 0 { 95.0 } else { 105.0 }).collect();
        assert!((level(&noise) - 100.0).abs() < 1.5, "{}", level(&noise));
        let trend: Vec<f64> = (0..30).map(|i| 100.0 + 2.0 * f64::from(i)).collect();
        assert!((level(&trend) - 160.0).abs() < 1.5, "what comes next, not what was: {}", level(&trend));
        let after_noise = |rps: f64| level(&[noise.as_slice(), &[rps]].concat());
        assert!((105.0..115.0).contains(&after_noise(120.0)), "not yet a jump: {}", after_noise(120.0));
        assert!((after_noise(130.0) - 130.0).abs() < 1e-9);
        assert!((level(&[0.0, 0.0, 1.0]) - 1.0).abs() < 1e-9, "any demand after none is a jump");
    }

    #[test]
    fn row_changes_if_it_differs_enough_or_a_cluster_is_gone() {
        let tuning = Tuning::default();
        let current = AppliedRow::default().step(row(&[("a", 0.5), ("b", 0.5)]), &tuning);
        let near = row(&[("a", 0.509), ("b", 0.491)]);
        let far = row(&[("a", 0.511), ("b", 0.489)]);
        assert_eq!(current.clone().step(near, &tuning), current);
        assert_eq!(current.clone().step(far.clone(), &tuning).shares(), &far);

        let gone = row(&[("a", 1.0)]);
        let nearly_gone = AppliedRow::default().step(row(&[("a", 0.999), ("b", 0.001)]), &tuning);
        assert_eq!(nearly_gone.step(gone.clone(), &tuning).shares(), &gone, "a dead cluster is left at once");
        let unused = AppliedRow::default().step(row(&[("a", 1.0), ("b", 0.0)]), &tuning);
        assert_eq!(unused.clone().step(gone, &tuning), unused, "a cluster without a share is not missed");
        let joined = row(&[("a", 0.499), ("b", 0.499), ("c", 0.002)]);
        assert_eq!(current.clone().step(joined, &tuning), current);
    }

    #[test]
    fn capacity_is_the_load_served_while_some_was_rejected_and_recovers_slowly() {
        let once = Calibration::default().step(1000.0, Some(720.0));
        assert!((once.capacity_rps(1000.0) - 720.0).abs() < 1e-9);
        assert!((once.capacity_rps(2000.0) - 1440.0).abs() < 1e-9, "twice the pods are twice as much");
        let later = (0..100).fold(once, |calibration, _| calibration.step(1000.0, None));
        assert!((later.capacity_rps(1000.0) - 820.0).abs() < 1e-6);
        assert!(Calibration::default().step(1000.0, None).capacity_rps(1000.0) <= 1000.0);
        assert!((Calibration::default().step(0.0, Some(0.0)).capacity_rps(1000.0) - 1000.0).abs() < 1e-9, "no export");
        assert!((once.step(1000.0, Some(0.0)).capacity_rps(1000.0) - 100.0).abs() < 1e-9, "and never to nothing");
    }

    #[test]
    fn invalid_numbers_never_enter_a_filter() {
        let tuning = Tuning::default();
        for value in NONSENSE {
            let window = Window { measured_rps: value, planned_rps: value, capacity_rps: 100.0 };
            let trim = Trim::default().step(window, &tuning);
            assert!((-50.0..=90.0).contains(&trim.raw_rps()), "{value}: {trim:?}");
            let no_capacity = Window { measured_rps: 5.0, planned_rps: 0.0, capacity_rps: value.min(0.0) };
            assert!(trim.step(no_capacity, &tuning).raw_rps().abs() < 1e-300, "{value}");
            let calibrated = Calibration::default().step(value, Some(value)).capacity_rps(100.0);
            assert!((10.0..=100.0).contains(&calibrated), "{value}: {calibrated}");
            let demand = Demand::default().step(100.0, &tuning).step(value, &tuning).step(100.0, &tuning);
            assert!(demand.rps(&tuning).is_some_and(|rps| (0.0..=MAX_RPS).contains(&rps)), "{value}: {demand:?}");
        }
    }
}
