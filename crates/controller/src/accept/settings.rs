//! Settings of the optimizer, from a SelectionPolicy or the Submariner resource.

use std::fmt;

use landfall_api as api;
use landfall_core::optimize::cost::{Bytes, ExchangeRate};
use landfall_core::optimize::facts::Tuning;
use landfall_core::optimize::objective::Objective;

/// Settings of the optimizer. `None` stands for the default.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Optimized {
    /// Value in USD of answering a million requests one millisecond sooner. Never set together with `params`.
    pub rate: Option<f64>,
    pub params: Option<Preset>,
    pub target_utilization: Option<f64>,
    pub request_bytes: Option<f64>,
    pub response_bytes: Option<f64>,
    pub capacity_rps_per_pod: Option<f64>,
    pub round_trips: Option<f64>,
    pub epsilon_ms: Option<f64>,
    pub round_seconds: Option<f64>,
    pub burstiness: Option<f64>,
    pub requests_per_answer: Option<f64>,
}

/// Prometheus queries for the exports of the local cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrometheusQueries {
    pub utilization: Option<String>,
    pub load: Option<String>,
}

impl Optimized {
    /// Returns the objective, with defaults for settings that are not set. `params` is the preset of the cluster.
    pub fn objective(self, params: Option<Preset>) -> Objective {
        let default = Objective::default();
        let preset = self.params.or(params).map_or(default.rate, Preset::rate);
        let tuning = Tuning {
            target_utilization: self.target_utilization.unwrap_or(default.tuning.target_utilization),
            epsilon_ms: self.epsilon_ms.unwrap_or(default.tuning.epsilon_ms),
            burstiness: self.burstiness.unwrap_or(default.tuning.burstiness),
            ..default.tuning
        };
        Objective {
            rate: self.rate.and_then(ExchangeRate::usd_per_ms_per_million).unwrap_or(preset),
            bytes: Bytes {
                per_request: self.request_bytes.unwrap_or(default.bytes.per_request),
                per_response: self.response_bytes.unwrap_or(default.bytes.per_response),
            },
            round_trips: self.round_trips.unwrap_or(default.round_trips),
            capacity_rps_per_pod: self.capacity_rps_per_pod.unwrap_or(default.capacity_rps_per_pod),
            round_seconds: self.round_seconds.unwrap_or(default.round_seconds),
            requests_per_answer: self.requests_per_answer.unwrap_or(default.requests_per_answer),
            tuning,
        }
    }
}

/// A named exchange rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    Cost,
    Mixed,
    Performance,
}

impl Preset {
    pub fn rate(self) -> ExchangeRate {
        match self {
            Self::Cost => ExchangeRate::COST,
            Self::Mixed => ExchangeRate::MIXED,
            Self::Performance => ExchangeRate::PERFORMANCE,
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cost => "cost",
            Self::Mixed => "mixed",
            Self::Performance => "performance",
        })
    }
}

impl From<api::OptimizedParams> for Preset {
    fn from(params: api::OptimizedParams) -> Self {
        match params {
            api::OptimizedParams::Cost => Self::Cost,
            api::OptimizedParams::Mixed => Self::Mixed,
            api::OptimizedParams::Performance => Self::Performance,
        }
    }
}
