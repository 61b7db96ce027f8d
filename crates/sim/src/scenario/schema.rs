//! The fields of a scenario file.

use std::collections::BTreeMap;

use landfall_core::optimize::cost::ExchangeRate;
use serde::{Deserialize, Serialize};

/// One service on a fleet, and the events of a run. Arrays are in the order of `clusters`; matrices have a row per source.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    #[serde(default)]
    pub description: String,
    /// Seed of all random numbers.
    #[serde(default)]
    pub seed: u64,
    #[serde(default = "round_seconds")]
    pub round_seconds: f64,
    pub rounds: usize,
    pub clusters: Vec<String>,
    pub rtt_ms: Vec<Vec<f64>>,
    /// Price of traffic from the row's cluster to the column's.
    pub egress_usd_per_gb: Vec<Vec<f64>>,
    #[serde(default = "request_bytes")]
    pub request_bytes: f64,
    #[serde(default = "response_bytes")]
    pub response_bytes: f64,
    pub service: ScenarioService,
    pub demand_rps: Vec<f64>,
    pub objective: ScenarioObjective,
    #[serde(default)]
    pub events: Vec<ScenarioEvent>,
    #[serde(default)]
    pub noise: Noise,
    #[serde(default)]
    pub staleness: Staleness,
    #[serde(default)]
    pub model_error: ModelError,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScenarioService {
    /// Capacity of each cluster. 0 if it does not export.
    pub capacity_rps: Vec<f64>,
    pub base_latency_ms: Vec<f64>,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScenarioObjective {
    pub mode: ScenarioMode,
    /// Exchange rate. Default: that of the mode. 0: prices do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_per_ms_per_million_requests: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScenarioMode {
    Performance,
    Mixed,
    Cost,
}

/// A change during the run. Rounds count from 0; `to_round` is the first round after the event.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ScenarioEvent {
    /// The cluster exports nothing.
    Outage { cluster: String, from_round: usize, to_round: usize },
    /// A burst, a crowd or a ramp: over `ramp_rounds` the demand grows to `factor` times its value. At `to_round` it drops
    /// back.
    DemandScale {
        cluster: String,
        factor: f64,
        from_round: usize,
        to_round: usize,
        #[serde(default = "one")]
        ramp_rounds: usize,
    },
    /// A bell curve around a round.
    Peak { cluster: String, factor: f64, at_round: f64, width_rounds: f64 },
    /// Day and night: 1 + amplitude·sin(2π(t/period + longitude/360)).
    Diurnal { amplitude: f64, period_rounds: f64, longitude: Vec<f64> },
    /// Traffic from `from` to `to` has another price. Default: from, or to, all other clusters.
    PriceChange {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        usd_per_gb: f64,
        from_round: usize,
        to_round: usize,
    },
    /// Round trips between `from` and `to` (default: all other clusters) take `factor` times as long, plus `add_ms`.
    RttDisruption {
        from: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        #[serde(default = "factor_one")]
        factor: f64,
        #[serde(default)]
        add_ms: f64,
        from_round: usize,
        to_round: usize,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Noise {
    /// Independent noise per round and source: λ·exp(N(0, σ)).
    pub demand_log_sigma: f64,
    /// Step of a random walk per round.
    pub demand_walk_sigma: f64,
    /// Probability of a burst λ·min(1 + 0.3·Pareto(α), 3).
    pub demand_pareto_prob: f64,
    pub demand_pareto_alpha: f64,
    /// Part s of the demand that is exponentially distributed: λ·(1 − s + s·Exp(1)).
    pub demand_exponential_part: f64,
    /// Noise of the measured median of a round: RTT·exp(N(0, σ)).
    pub rtt_log_sigma: f64,
    /// Probability of a spike, which adds ms·(Pareto(α) + 0.1).
    pub rtt_spike_prob: f64,
    pub rtt_spike_alpha: f64,
    pub rtt_spike_ms: f64,
}

/// Age of the facts that an agent sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Staleness {
    /// Age in rounds.
    pub rounds: usize,
    /// If true, each pair has a random age from 0 to `rounds` in each round. If false, all facts are `rounds` old.
    pub per_pair: bool,
}

/// Differences between published and true values.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelError {
    /// True capacity over advertised capacity, by cluster.
    pub true_capacity_factor: BTreeMap<String, f64>,
    /// Load from outside the fleet, by exporting cluster.
    pub background_rps: BTreeMap<String, f64>,
    /// σ of a constant factor exp(N(0, σ)) on the demand that each source reports.
    pub demand_report_sigma: f64,
    /// Clusters without an agent. Their clients go to the nearest exporter, and their demand is not reported.
    pub legacy_nearest: Vec<String>,
}

impl Scenario {
    /// Returns the exchange rate v: the one in the file, or that of the mode.
    pub fn usd_per_ms_per_million(&self) -> f64 {
        let preset = match self.objective.mode {
            ScenarioMode::Performance => ExchangeRate::PERFORMANCE,
            ScenarioMode::Mixed => ExchangeRate::MIXED,
            ScenarioMode::Cost => ExchangeRate::COST,
        };
        self.objective.usd_per_ms_per_million_requests.unwrap_or_else(|| preset.usd())
    }
}

fn round_seconds() -> f64 {
    300.0
}

fn request_bytes() -> f64 {
    1_000.0
}

fn response_bytes() -> f64 {
    10_000.0
}

fn one() -> usize {
    1
}

fn factor_one() -> f64 {
    1.0
}
