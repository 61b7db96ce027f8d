//! Kubernetes' times as seconds since 1970, which is how everything that decides counts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// Converts seconds since 1970. Returns `None` beyond the year 9999.
pub fn from_unix_seconds(seconds: u64) -> Option<Time> {
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok().map(Time)
}

/// Converts to seconds since 1970. Returns `None` for times before 1970.
pub fn unix_seconds(time: &Time) -> Option<u64> {
    u64::try_from(time.0.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_survive_the_way_there_and_back() {
        for seconds in [0, 1, 1_800_000_000, 253_402_207_200] {
            assert_eq!(from_unix_seconds(seconds).as_ref().and_then(unix_seconds), Some(seconds));
        }
    }

    #[test]
    fn times_that_cannot_be_represented_are_refused() {
        assert_eq!(from_unix_seconds(u64::MAX), None);
        assert_eq!(unix_seconds(&Time(Timestamp::from_second(-1).unwrap())), None);
    }
}
