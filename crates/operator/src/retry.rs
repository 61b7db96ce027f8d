//! Pauses between attempts.

use std::time::Duration;

/// Pauses that double with each failure, from `min` to `max`.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

impl Backoff {
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max }
    }

    /// Returns the pause after a failure that `failures` others preceded in a row.
    pub fn pause(self, failures: u32) -> Duration {
        // After 16 doublings every pause of ours has reached its maximum.
        self.min.saturating_mul(1 << failures.min(16)).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum_and_stay_there() {
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        let pauses: Vec<u128> = [0, 1, 2, 7, 8, u32::MAX].map(|failures| backoff.pause(failures).as_millis()).into();
        assert_eq!(pauses, [200, 400, 800, 25_600, 30_000, 30_000]);
    }
}
