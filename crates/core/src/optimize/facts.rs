//! The facts of all clusters about one service, and the settings of the optimizer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::name::{ByCluster, ClusterId};
use crate::optimize::congestion::Shape;
use crate::optimize::cost::UnitCost;

/// Upper bound of loads, demands and capacities: more than any cluster serves or requests of one service.
pub const MAX_RPS: f64 = 1e7;

/// Capacity below which an exporter counts as having none.
pub const MIN_CAPACITY_RPS: f64 = 1e-3;

/// Cap on deviations: a larger one does not reduce the planned capacity any further.
pub const MAX_DEVIATION: f64 = 0.3;

/// Cap on latencies and service times: more than a day.
pub const MAX_MS: f64 = 1e8;

/// Cap on converted prices: 100 USD per request at the lowest preset of the exchange rate.
pub const MAX_PRICE_MS: f64 = 1e12;

/// Published facts about one service. All agents with the same facts compute the same shares; maps have one order, so
/// the order of arrival cannot matter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    pub exporters: ByCluster<Exporter>,
    /// Shared between services whose demands are unknown.
    pub sources: Arc<ByCluster<Source>>,
    /// True if demands are unknown: all sources together then count as half of the capacity, in equal parts.
    pub demand_unknown: bool,
}

/// Facts of one exporting cluster.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Exporter {
    /// Sustained capacity; 0 if the exporter is not eligible.
    pub capacity_rps: f64,
    /// Load that the plan does not explain: the published [`Trim`](crate::optimize::filter::Trim).
    pub residual_rps: f64,
    /// Service time at low load; 0 if unknown.
    pub service_ms: f64,
    /// Load in the last window. Only the [fallback](crate::optimize::fill::fallback_row) reads it.
    pub measured_rps: f64,
    /// End of that window, in seconds since 1970; 0 if the load was not measured.
    pub measured_at: u64,
    /// Relative deviation of the load from the plan: the published [`Deviation`](crate::optimize::filter::Deviation).
    pub deviation: f64,
}

/// Facts of one source cluster.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Source {
    /// Demand of its clients: a filtered [`Demand`](crate::optimize::filter::Demand). 0 if unknown.
    pub demand_rps: f64,
    /// True if the demand was reported and is used.
    pub counted: bool,
    /// Path costs by exporter. An exporter that is absent cannot be reached from this source.
    pub costs: Arc<BTreeMap<ClusterId, UnitCost>>,
}

/// Settings of the optimizer. A setting out of its range counts as the nearest value in it, NaN as the default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// u: utilization of an exporter above which load goes elsewhere at any cost.
    pub target_utilization: f64,
    /// κ: burstiness of arrivals and service times, 1 for Poisson arrivals and exponential service times.
    pub burstiness: f64,
    /// ε: clusters whose costs differ by less share by capacity.
    pub epsilon_ms: f64,
    /// β: smoothing factor of the trim.
    pub trim_gain: f64,
    /// Dead band of the trim, as a fraction of the capacity.
    pub trim_dead_band: f64,
    /// g: smoothing factor of the errors of the demand filter.
    pub demand_gain: f64,
    /// Smallest smoothing factor of the demand filter.
    pub demand_least_alpha: f64,
    /// Relative change of demand that is followed at once.
    pub demand_jump: f64,
    /// Smoothing factor of the trend of the demand.
    pub trend_gain: f64,
    /// Fraction of a trend that is left one round later.
    pub trend_damping: f64,
    /// Headroom of an exporter, in [deviations](crate::optimize::filter::Deviation) of its load.
    pub headroom_deviations: f64,
    /// Smoothing factor of the deviation.
    pub deviation_gain: f64,
    /// θ: part of the way to its fair portion of each exporter that a source takes in one round of the fallback.
    pub fallback_theta: f64,
    /// Rows that differ by less than this (sum of absolute differences) count as equal.
    pub hysteresis: f64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            target_utilization: 0.9,
            burstiness: 1.0,
            epsilon_ms: 0.5,
            trim_gain: 0.5,
            trim_dead_band: 0.03,
            demand_gain: 0.2,
            demand_least_alpha: 0.2,
            demand_jump: 0.25,
            trend_gain: 0.1,
            trend_damping: 0.8,
            headroom_deviations: 3.0,
            deviation_gain: 0.1,
            fallback_theta: 0.3,
            hysteresis: 0.02,
        }
    }
}

impl Tuning {
    /// Returns the settings with each value in its range.
    #[must_use]
    pub fn within_limits(self) -> Self {
        let default = Self::default();
        let part = |value, default| within(value, (0.0, 1.0), default);
        Self {
            target_utilization: within(self.target_utilization, (0.1, 0.99), default.target_utilization),
            burstiness: within(self.burstiness, (0.01, 100.0), default.burstiness),
            epsilon_ms: within(self.epsilon_ms, (0.01, 1e3), default.epsilon_ms),
            trim_gain: part(self.trim_gain, default.trim_gain),
            trim_dead_band: part(self.trim_dead_band, default.trim_dead_band),
            demand_gain: part(self.demand_gain, default.demand_gain),
            demand_least_alpha: part(self.demand_least_alpha, default.demand_least_alpha),
            demand_jump: part(self.demand_jump, default.demand_jump),
            trend_gain: part(self.trend_gain, default.trend_gain),
            trend_damping: part(self.trend_damping, default.trend_damping),
            headroom_deviations: within(self.headroom_deviations, (0.0, 10.0), default.headroom_deviations),
            deviation_gain: part(self.deviation_gain, default.deviation_gain),
            fallback_theta: part(self.fallback_theta, default.fallback_theta),
            hysteresis: part(self.hysteresis, default.hysteresis),
        }
    }

    /// Returns all settings, each with the name under which it is printed.
    pub fn settings(&self) -> [(&'static str, f64); 14] {
        let Self {
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
        } = *self;
        [
            ("targetUtilization", target_utilization),
            ("burstiness", burstiness),
            ("epsilonMs", epsilon_ms),
            ("trimGain", trim_gain),
            ("trimDeadBand", trim_dead_band),
            ("demandGain", demand_gain),
            ("demandLeastAlpha", demand_least_alpha),
            ("demandJump", demand_jump),
            ("trendGain", trend_gain),
            ("trendDamping", trend_damping),
            ("headroomDeviations", headroom_deviations),
            ("deviationGain", deviation_gain),
            ("fallbackTheta", fallback_theta),
            ("hysteresis", hysteresis),
        ]
    }

    pub(super) fn shape(&self) -> Shape {
        Shape { target_utilization: self.target_utilization, burstiness: self.burstiness }
    }
}

/// Returns the nearest value in the range, or `default` for NaN.
pub(super) fn within(value: f64, (min, max): (f64, f64), default: f64) -> f64 {
    if value.is_nan() { default } else { value.clamp(min, max) }
}

/// A fact out of its range, and the value used instead.
#[derive(Debug, Clone, PartialEq)]
pub struct Clamped {
    pub field: Field,
    /// Cluster that reported the fact.
    pub cluster: ClusterId,
    /// Exporter that the fact is about, for a field of a pair of clusters.
    pub exporter: Option<ClusterId>,
    pub given: f64,
    pub used: f64,
}

/// Field of a report or of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    Capacity,
    Residual,
    ServiceTime,
    MeasuredLoad,
    Demand,
    Latency,
    Price,
}

impl Field {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capacity => "capacity_rps",
            Self::Residual => "residual_rps",
            Self::ServiceTime => "service_ms",
            Self::MeasuredLoad => "measured_rps",
            Self::Demand => "demand_rps",
            Self::Latency => "latency_ms",
            Self::Price => "price_ms",
        }
    }

    /// Returns the range of a field, and the value that replaces NaN: 0, or the worst.
    fn limits(self) -> ((f64, f64), f64) {
        match self {
            Self::Capacity | Self::MeasuredLoad | Self::Demand => ((0.0, MAX_RPS), 0.0),
            Self::Residual => ((-MAX_RPS, MAX_RPS), 0.0),
            Self::ServiceTime => ((0.0, MAX_MS), 0.0),
            Self::Latency => ((0.0, MAX_MS), MAX_MS),
            Self::Price => ((0.0, MAX_PRICE_MS), MAX_PRICE_MS),
        }
    }
}

impl fmt::Display for Clamped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, cluster, exporter, given, used } = self;
        write!(f, "{} of {cluster}", field.as_str())?;
        if let Some(exporter) = exporter {
            write!(f, " to {exporter}")?;
        }
        write!(f, " is {given}, taken as {used}")
    }
}

/// Reads facts one by one, clamps each to its range, and records those that were out of it.
#[derive(Debug, Default)]
pub(super) struct Sanitizer {
    pub(super) clamped: Vec<Clamped>,
}

impl Sanitizer {
    pub(super) fn read(
        &mut self,
        field: Field,
        (cluster, exporter): (&ClusterId, Option<&ClusterId>),
        given: f64,
    ) -> f64 {
        let (limits, not_a_number) = field.limits();
        let used = within(given, limits, not_a_number);
        if given.is_nan() || given < used || given > used {
            let clamped = Clamped { field, cluster: cluster.clone(), exporter: exporter.cloned(), given, used };
            self.clamped.push(clamped);
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fact_out_of_range_is_clamped_and_recorded() {
        let (east, west) = (ClusterId::new("east").unwrap(), ClusterId::new("west").unwrap());
        let mut sanitizer = Sanitizer::default();
        assert!(sanitizer.read(Field::Demand, (&east, None), 5.0) > 4.9 && sanitizer.clamped.is_empty());
        sanitizer.read(Field::Latency, (&east, Some(&west)), f64::NAN);
        sanitizer.read(Field::Capacity, (&west, None), -1.0);
        let notes: Vec<String> = sanitizer.clamped.iter().map(ToString::to_string).collect();
        assert_eq!(
            notes,
            ["latency_ms of east to west is NaN, taken as 100000000", "capacity_rps of west is -1, taken as 0"]
        );
    }

    #[test]
    fn invalid_setting_is_clamped_or_replaced_by_the_default() {
        let nonsense =
            Tuning { epsilon_ms: f64::NAN, target_utilization: 1.0, burstiness: f64::INFINITY, ..Tuning::default() };
        let expected = Tuning { target_utilization: 0.99, burstiness: 100.0, ..Tuning::default() };
        assert_eq!(nonsense.within_limits(), expected);
        assert_eq!(Tuning::default().within_limits(), Tuning::default());
    }
}
