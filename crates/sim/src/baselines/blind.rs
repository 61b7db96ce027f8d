//! Policies that ignore load.

use super::known;
use super::rows::{all_to, ascending, equal};
use crate::policy::Moment;
use crate::run::nearest;

/// Lower bound of a divisor.
const MIN_RTT_MS: f64 = 1e-6;

/// Envoy's overprovisioning factor: how far the healthy part of a priority is overcommitted before the next one is used.
const OVERPROVISIONING: f64 = 1.4;

/// Gives all alive exporters the same share.
pub(super) fn round_robin(moment: &Moment<'_>, _source: usize) -> Vec<f64> {
    equal(moment)
}

/// Shares in proportion to 1/RTT.
pub(super) fn inverse(moment: &Moment<'_>, source: usize) -> Vec<f64> {
    let rtt_ms = moment.published_rtt_ms.row(source);
    equal(moment).iter().zip(rtt_ms).map(|(alive, rtt)| alive / rtt.max(MIN_RTT_MS)).collect()
}

/// Uses the local exporter if it is alive, else shares in proportion to 1/RTT.
pub(super) fn inverse_local_first(moment: &Moment<'_>, source: usize) -> Vec<f64> {
    if moment.alive()[source] { all_to(moment, Some(source)) } else { inverse(moment, source) }
}

/// Sends all requests to the nearest exporter.
pub(super) fn only_nearest(moment: &Moment<'_>, source: usize) -> Vec<f64> {
    all_to(moment, nearest(moment, source))
}

/// Fills exporters from the nearest on, as far as they are healthy.
pub(super) fn failover(moment: &Moment<'_>, source: usize) -> Vec<f64> {
    let capacity = known::capacity_rps(moment);
    let mut shares = vec![0.0; capacity.len()];
    let mut left = 1.0;
    for j in ascending(moment.published_rtt_ms.row(source)) {
        if moment.nominal_rps[j] > 0.0 && moment.alive()[j] {
            let healthy = OVERPROVISIONING * capacity[j] / moment.nominal_rps[j];
            shares[j] = healthy.min(left);
            left -= shares[j];
        }
    }
    shares
}
