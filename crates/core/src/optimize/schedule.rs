//! Decides when a cluster starts a round: at an interval, and earlier after a significant change.

use crate::optimize::facts::Tuning;
use crate::optimize::report::Report;

/// Relative change of the capacity of an export that is significant.
const CAPACITY_CHANGE: f64 = 0.1;

/// Minimum interval between the starts of two rounds, in seconds.
pub const MIN_SECONDS_BETWEEN_ROUNDS: u64 = 10;

/// Largest random delay of a round, as a fraction of its length, so that not all clusters publish at once.
const JITTER: f64 = 0.1;

/// Returns true if a change justifies an early round: the demand jumped, or the capacity of the export changed,
/// appeared or disappeared.
pub fn is_significant(published: &Report, now: &Report, tuning: &Tuning) -> bool {
    let moved = |before: Option<f64>, after: Option<f64>, part: f64| match (before, after) {
        (Some(before), Some(after)) => (after - before).abs() > part * before,
        (before, after) => before.is_some() != after.is_some(),
    };
    moved(published.demand_rps, now.demand_rps, tuning.within_limits().demand_jump)
        || moved(published.capacity_rps, now.capacity_rps, CAPACITY_CHANGE)
}

/// Schedule of rounds: the start of the last one, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schedule {
    last: Option<u64>,
}

impl Schedule {
    /// Returns true if a round is due. `chance` is a random number between 0 and 1, a new one for each cluster and
    /// round.
    pub fn is_due(self, now: u64, round_seconds: f64, significant: bool, chance: f64) -> bool {
        let Some(last) = self.last else { return true };
        let waited = now.saturating_sub(last);
        let late = 1.0 + JITTER * chance.clamp(0.0, 1.0);
        waited >= MIN_SECONDS_BETWEEN_ROUNDS && (significant || waited as f64 >= round_seconds * late)
    }

    /// Records the start of a round.
    #[must_use]
    pub fn started(self, now: u64) -> Self {
        Self { last: Some(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_starts_in_time_and_earlier_after_a_significant_change_but_not_within_ten_seconds() {
        let schedule = Schedule::default();
        assert!(schedule.is_due(1_000, 300.0, false, 0.0), "the first one");
        let schedule = schedule.started(1_000);
        assert!(!schedule.is_due(1_009, 300.0, true, 0.0));
        assert!(schedule.is_due(1_010, 300.0, true, 0.0));
        assert!(!schedule.is_due(1_299, 300.0, false, 0.0));
        assert!(schedule.is_due(1_300, 300.0, false, 0.0));
        assert!(!schedule.is_due(1_329, 300.0, false, 1.0) && schedule.is_due(1_330, 300.0, false, 1.0));
        assert!(!schedule.is_due(900, 300.0, true, 0.0), "a clock that was set back is no reason");
    }

    #[test]
    fn significant_change_is_more_than_noise() {
        let tuning = Tuning::default();
        let report = |demand_rps, capacity_rps| Report { demand_rps, capacity_rps, ..Report::default() };
        let published = report(Some(100.0), Some(1000.0));
        for (demand, capacity, significant) in [
            (Some(100.0), Some(1000.0), false),
            (Some(124.0), Some(1090.0), false),
            (Some(126.0), Some(1000.0), true),
            (Some(74.0), Some(1000.0), true),
            (Some(100.0), Some(890.0), true),
            (Some(100.0), Some(0.0), true),
            (Some(100.0), None, true),
            (None, Some(1000.0), true),
        ] {
            assert_eq!(
                is_significant(&published, &report(demand, capacity), &tuning),
                significant,
                "{demand:?} {capacity:?}"
            );
        }
        assert!(is_significant(&report(Some(0.0), None), &report(Some(1.0), None), &tuning), "any demand after none");
    }
}
