//! What a service is optimized for, and with which settings.

use crate::optimize::cost::{Bytes, ExchangeRate};
use crate::optimize::facts::Tuning;

/// Settings of the user, with the defaults filled in. All clusters should use the same for a service: see
/// [`parameter_hash`](Self::parameter_hash).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    pub rate: ExchangeRate,
    pub bytes: Bytes,
    /// Network round trips per request: 1 over connections that stay open.
    pub round_trips: f64,
    /// Assumed capacity of a ready pod, if it is not measured.
    pub capacity_rps_per_pod: f64,
    pub round_seconds: f64,
    /// Assumed requests per DNS answer, if loads are not measured.
    pub requests_per_answer: f64,
    pub tuning: Tuning,
}

impl Default for Objective {
    fn default() -> Self {
        Self {
            rate: ExchangeRate::MIXED,
            bytes: Bytes::default(),
            round_trips: 1.0,
            capacity_rps_per_pod: 100.0,
            round_seconds: 300.0,
            requests_per_answer: 1.0,
            tuning: Tuning::default(),
        }
    }
}

impl Objective {
    /// Returns true if both give every path the same cost.
    pub fn costs_like(&self, other: &Self) -> bool {
        let of = |objective: &Self| (objective.rate, objective.bytes, objective.round_trips);
        of(self) == of(other)
    }

    /// Returns a hash that is equal for all agents that compute the same plan from the same facts (FNV-1a of all
    /// numbers). The plan of an agent with another hash cannot be predicted.
    pub fn parameter_hash(&self) -> u64 {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let Self { rate, bytes, round_trips, capacity_rps_per_pod, round_seconds, requests_per_answer, tuning } = self;
        let own = [
            rate.usd(),
            bytes.per_request,
            bytes.per_response,
            *round_trips,
            *capacity_rps_per_pod,
            *round_seconds,
            *requests_per_answer,
        ];
        let numbers = own.into_iter().chain(tuning.within_limits().settings().map(|(_, number)| number));
        let bytes = numbers.flat_map(|number| number.to_bits().to_le_bytes());
        bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Returns all numbers but the exchange rate. Nothing is left out with `..`: a new setting does not compile until
    /// it is here.
    fn numbers(objective: &mut Objective) -> [&mut f64; 20] {
        let Objective { rate: _, bytes, round_trips, capacity_rps_per_pod, round_seconds, requests_per_answer, tuning } =
            objective;
        let Bytes { per_request, per_response } = bytes;
        let Tuning {
            target_utilization,
            burstiness,
            epsilon_ms,
            trim_gain,
            trim_dead_band,
            demand_gain,
            demand_least_alpha,
            demand_jump,
            trend_gain,
            trend_damping,
            headroom_deviations,
            deviation_gain,
            fallback_theta,
            hysteresis,
        } = tuning;
        [
            per_request,
            per_response,
            round_trips,
            capacity_rps_per_pod,
            round_seconds,
            requests_per_answer,
            target_utilization,
            burstiness,
            epsilon_ms,
            trim_gain,
            trim_dead_band,
            demand_gain,
            demand_least_alpha,
            demand_jump,
            trend_gain,
            trend_damping,
            headroom_deviations,
            deviation_gain,
            fallback_theta,
            hysteresis,
        ]
    }

    #[test]
    fn parameter_hash_differs_for_any_two_settings_and_not_for_equal_ones() {
        let default = Objective::default();
        assert_eq!(default.parameter_hash(), Objective::default().parameter_hash());
        let another = |i: usize| {
            let mut another = default;
            *numbers(&mut another)[i] *= 1.01;
            another
        };
        let cheaper = Objective { rate: ExchangeRate::COST, ..default };
        let mut hashes = BTreeSet::from([default.parameter_hash()]);
        for other in (0..20).map(another).chain([cheaper]) {
            assert!(hashes.insert(other.parameter_hash()), "{other:?}");
        }
    }
}
