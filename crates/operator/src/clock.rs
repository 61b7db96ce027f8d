//! The only module that reads the clock. Code that decides takes the time as an argument.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;
use landfall_api::time::from_unix_seconds;

/// Returns the present time, in seconds since 1970.
pub fn unix_seconds() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or(0)
}

/// Returns the present time to the second, as Kubernetes stores it.
pub fn time() -> Time {
    from_unix_seconds(unix_seconds()).unwrap_or(Time(Timestamp::UNIX_EPOCH))
}

/// Returns the present time to the microsecond, as a Lease needs it.
pub fn micro_time() -> MicroTime {
    MicroTime(Timestamp::now())
}
