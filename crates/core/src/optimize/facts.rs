//! What the clusters tell each other about one service, and how the optimiser is set.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::name::{ByCluster, ClusterId};
use crate::optimize::congestion::Shape;
use crate::optimize::cost::UnitCost;

/// More requests a second than any cluster serves of one service, or sends to it.
pub const MOST_RPS: f64 = 1e7;

/// An exporter that offers less than this exports nothing.
pub const LEAST_CAPACITY_RPS: f64 = 1e-3;

/// An exporter whose load deviates more from its plan is not planned with less capacity than one that deviates by this.
pub const MOST_DEVIATION: f64 = 0.3;

/// More than a day: what a way or a service time counts as at most.
pub const MOST_MS: f64 = 1e8;

/// What an exchanged price counts as at most: 100 USD per request at the lowest preset of the exchange rate.
pub const MOST_PRICE_MS: f64 = 1e12;

/// The published facts about one service. All agents that have the same facts get the same shares from them; maps have one
/// order, so the order in which facts arrived cannot matter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    pub exporters: ByCluster<Exporter>,
    /// Shared: services of which nobody knows what is asked for have the same ones.
    pub sources: Arc<ByCluster<Source>>,
    /// Nobody knows what the sources ask for: then all of them together for half of the capacity, each alike.
    pub demand_unknown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Exporter {
    /// What it can sustain; 0 when it is not eligible.
    pub capacity_rps: f64,
    /// Load that the plan does not explain: the published [`Trim`](crate::optimize::filter::Trim).
    pub residual_rps: f64,
    /// Service time at low load; 0 when unknown.
    pub service_ms: f64,
    /// Its load in the last window. Only the [fallback](crate::optimize::fill::fallback_row) reads it.
    pub measured_rps: f64,
    /// When that window ended, in seconds since 1970. 0: nobody measured.
    pub measured_at: u64,
    /// How far its load was from what was planned, as a part of that: the published
    /// [`Deviation`](crate::optimize::filter::Deviation).
    pub deviation: f64,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Source {
    /// What its clients ask for: a filtered [`Demand`](crate::optimize::filter::Demand). 0 when it is not known.
    pub demand_rps: f64,
    /// Whether it said so, and that counts.
    pub counted: bool,
    /// The cost matrix, by exporter. One that is absent cannot be reached from here.
    pub costs: Arc<BTreeMap<ClusterId, UnitCost>>,
}

/// A setting out of its range counts as the nearest one in it, one that is no number as the default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// u: how full an exporter may get before load goes elsewhere at any cost.
    pub target_utilisation: f64,
    /// κ
    pub burstiness: f64,
    /// ε: clusters whose costs differ by less are treated as equals, by capacity.
    pub epsilon_ms: f64,
    /// β: how much of a new residual the trim takes over.
    pub trim_gain: f64,
    /// Residuals below this part of the capacity are noise.
    pub trim_dead_band: f64,
    /// g: how fast the demand filter forgets its errors.
    pub demand_gain: f64,
    /// The least part of a change of demand that the filter follows.
    pub demand_least_alpha: f64,
    /// A change by more than this part of the demand is followed at once.
    pub demand_jump: f64,
    /// How much of a change of the demand is taken for its trend.
    pub trend_gain: f64,
    /// How much of a trend is left a round later.
    pub trend_damping: f64,
    /// How many [deviations](crate::optimize::filter::Deviation) of its load an exporter must have room for.
    pub headroom_deviations: f64,
    /// How much of a new deviation is taken over.
    pub deviation_gain: f64,
    /// θ: how far a source of the fallback goes towards its fair share of each exporter in a round.
    pub fallback_theta: f64,
    /// Rows that differ by less than this (sum of absolute differences) are the same.
    pub hysteresis: f64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            target_utilisation: 0.9,
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
    #[must_use]
    pub fn within_limits(self) -> Self {
        let default = Self::default();
        let part = |value, default| within(value, (0.0, 1.0), default);
        Self {
            target_utilisation: within(self.target_utilisation, (0.1, 0.99), default.target_utilisation),
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

    /// All of them, each with the name by which it is printed.
    pub fn settings(&self) -> [(&'static str, f64); 14] {
        let Self {
            target_utilisation,
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
            ("targetUtilisation", target_utilisation),
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
        Shape { target_utilisation: self.target_utilisation, burstiness: self.burstiness }
    }
}

/// The nearest value in the range, or `default` for what is no number.
pub(super) fn within(value: f64, (least, most): (f64, f64), default: f64) -> f64 {
    if value.is_nan() { default } else { value.clamp(least, most) }
}

/// A fact that was not believed, and what it counted as.
#[derive(Debug, Clone, PartialEq)]
pub struct Clamped {
    pub field: Field,
    /// Who said it.
    pub cluster: ClusterId,
    /// About which exporter, for a field of a pair.
    pub exporter: Option<ClusterId>,
    pub given: f64,
    pub used: f64,
}

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

    /// The least and the most that is believed, and what stands for "not a number": nothing, or the worst.
    fn limits(self) -> ((f64, f64), f64) {
        match self {
            Self::Capacity | Self::MeasuredLoad | Self::Demand => ((0.0, MOST_RPS), 0.0),
            Self::Residual => ((-MOST_RPS, MOST_RPS), 0.0),
            Self::ServiceTime => ((0.0, MOST_MS), 0.0),
            Self::Latency => ((0.0, MOST_MS), MOST_MS),
            Self::Price => ((0.0, MOST_PRICE_MS), MOST_PRICE_MS),
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

/// Reads facts one by one and keeps a note of each that it could not believe.
#[derive(Debug, Default)]
pub(super) struct Door {
    pub(super) clamped: Vec<Clamped>,
}

impl Door {
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
    fn a_fact_out_of_its_range_is_taken_as_the_nearest_in_it_and_named() {
        let (east, west) = (ClusterId::new("east").unwrap(), ClusterId::new("west").unwrap());
        let mut door = Door::default();
        assert!(door.read(Field::Demand, (&east, None), 5.0) > 4.9 && door.clamped.is_empty());
        door.read(Field::Latency, (&east, Some(&west)), f64::NAN);
        door.read(Field::Capacity, (&west, None), -1.0);
        let notes: Vec<String> = door.clamped.iter().map(ToString::to_string).collect();
        assert_eq!(
            notes,
            ["latency_ms of east to west is NaN, taken as 100000000", "capacity_rps of west is -1, taken as 0"]
        );
    }

    #[test]
    fn nonsense_in_the_tuning_is_the_default_or_the_nearest_sense() {
        let nonsense =
            Tuning { epsilon_ms: f64::NAN, target_utilisation: 1.0, burstiness: f64::INFINITY, ..Tuning::default() };
        let expected = Tuning { target_utilisation: 0.99, burstiness: 100.0, ..Tuning::default() };
        assert_eq!(nonsense.within_limits(), expected);
        assert_eq!(Tuning::default().within_limits(), Tuning::default());
    }
}
