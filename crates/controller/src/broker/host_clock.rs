//! Detects steps of the host's clock, so that they do not change the age of facts.

use std::time::Duration;

/// Smaller differences can be the duration of the comparison itself.
const MIN_STEP_SECONDS: u64 = 5;

/// Compares the host's clock with a monotonic clock.
#[derive(Debug, Default)]
pub struct HostClock {
    /// Both clocks at the first call, or after the last step.
    reference: Option<(u64, Duration)>,
}

impl HostClock {
    /// Returns the size in seconds of a step since the last call. Returns `None` if there was none. `now` is in seconds
    /// since 1970; `passed` is the monotonic time since any fixed moment.
    pub fn step(&mut self, now: u64, passed: Duration) -> Option<u64> {
        let (then, since) = *self.reference.get_or_insert((now, passed));
        let expected = then.saturating_add(passed.saturating_sub(since).as_secs());
        let set = expected.abs_diff(now);
        if set < MIN_STEP_SECONDS {
            return None;
        }
        self.reference = Some((now, passed));
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_clock_has_no_step_and_a_step_is_reported_once() {
        let mut clock = HostClock::default();
        let mut step = |now, passed| clock.step(now, Duration::from_secs(passed));
        assert_eq!((step(1000, 0), step(1600, 600), step(1604, 600)), (None, None, None));
        assert_eq!((step(5200, 600), step(5201, 601)), (Some(3600), None));
        assert_eq!((step(1602, 602), step(1603, 603)), (Some(3600), None), "set back");
    }
}
