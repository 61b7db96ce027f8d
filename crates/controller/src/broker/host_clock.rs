//! Notices when the clock of this host is set, so that facts do not age by it.

use std::time::Duration;

/// Less may be how long a look took.
const MIN_STEP: u64 = 5;

/// The clock of the host beside one that is never set.
#[derive(Debug, Default)]
pub struct HostClock {
    /// Both at the first look, or since the clock was last set.
    reference: Option<(u64, Duration)>,
}

impl HostClock {
    /// Returns by how many seconds the clock was set since the last call, if it was. `now` is in seconds since 1970, `passed`
    /// is a time since any fixed moment.
    pub fn step(&mut self, now: u64, passed: Duration) -> Option<u64> {
        let (then, since) = *self.reference.get_or_insert((now, passed));
        let expected = then.saturating_add(passed.saturating_sub(since).as_secs());
        let set = expected.abs_diff(now);
        if set < MIN_STEP {
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
    fn clock_that_runs_is_no_step_and_one_that_is_set_is_noticed_once() {
        let mut clock = HostClock::default();
        let mut step = |now, passed| clock.step(now, Duration::from_secs(passed));
        assert_eq!((step(1000, 0), step(1600, 600), step(1604, 600)), (None, None, None));
        assert_eq!((step(5200, 600), step(5201, 601)), (Some(3600), None));
        assert_eq!((step(1602, 602), step(1603, 603)), (Some(3600), None), "set back");
    }
}
