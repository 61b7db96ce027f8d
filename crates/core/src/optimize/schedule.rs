//! When a cluster begins a round: every so often, and sooner when there is news.

use crate::optimize::facts::Tuning;
use crate::optimize::report::Report;

/// What moves the capacity of an export by more than this part of it is news.
const CAPACITY_NEWS: f64 = 0.1;

/// No two rounds begin within less, whatever the news.
pub const LEAST_SECONDS: u64 = 10;

/// Rounds are up to this part of their length late, so that not all clusters publish at once.
const JITTER: f64 = 0.1;

/// Whether what a cluster would publish now is worth an early round: its demand jumped, or its export became more, less,
/// or came or went.
pub fn is_news(published: &Report, now: &Report, tuning: &Tuning) -> bool {
    let moved = |before: Option<f64>, after: Option<f64>, part: f64| match (before, after) {
        (Some(before), Some(after)) => (after - before).abs() > part * before,
        (before, after) => before.is_some() != after.is_some(),
    };
    moved(published.demand_rps, now.demand_rps, tuning.within_limits().demand_jump)
        || moved(published.capacity_rps, now.capacity_rps, CAPACITY_NEWS)
}

/// When the last round began, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schedule {
    last: Option<u64>,
}

impl Schedule {
    /// `chance`: between 0 and 1, another one for each cluster and round.
    pub fn is_due(self, now: u64, round_seconds: f64, news: bool, chance: f64) -> bool {
        let Some(last) = self.last else { return true };
        let waited = now.saturating_sub(last);
        let late = 1.0 + JITTER * chance.clamp(0.0, 1.0);
        waited >= LEAST_SECONDS && (news || waited as f64 >= round_seconds * late)
    }

    #[must_use]
    pub fn begun(self, now: u64) -> Self {
        Self { last: Some(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_begins_in_time_and_sooner_with_news_but_not_within_ten_seconds() {
        let schedule = Schedule::default();
        assert!(schedule.is_due(1_000, 300.0, false, 0.0), "the first one");
        let schedule = schedule.begun(1_000);
        assert!(!schedule.is_due(1_009, 300.0, true, 0.0));
        assert!(schedule.is_due(1_010, 300.0, true, 0.0));
        assert!(!schedule.is_due(1_299, 300.0, false, 0.0));
        assert!(schedule.is_due(1_300, 300.0, false, 0.0));
        assert!(!schedule.is_due(1_329, 300.0, false, 1.0) && schedule.is_due(1_330, 300.0, false, 1.0));
        assert!(!schedule.is_due(900, 300.0, true, 0.0), "a clock that was set back is no reason");
    }

    #[test]
    fn what_is_news_is_more_than_noise() {
        let tuning = Tuning::default();
        let report = |demand_rps, capacity_rps| Report { demand_rps, capacity_rps, ..Report::default() };
        let published = report(Some(100.0), Some(1000.0));
        for (demand, capacity, news) in [
            (Some(100.0), Some(1000.0), false),
            (Some(124.0), Some(1090.0), false),
            (Some(126.0), Some(1000.0), true),
            (Some(74.0), Some(1000.0), true),
            (Some(100.0), Some(890.0), true),
            (Some(100.0), Some(0.0), true),
            (Some(100.0), None, true),
            (None, Some(1000.0), true),
        ] {
            assert_eq!(is_news(&published, &report(demand, capacity), &tuning), news, "{demand:?} {capacity:?}");
        }
        assert!(is_news(&report(Some(0.0), None), &report(Some(1.0), None), &tuning), "any demand after none");
    }
}
