//! The true state of every round, independent of any policy: a scenario with its random numbers drawn.

mod events;

mod dice;

use crate::matrix::Matrix;
use crate::scenario::Scenario;
use dice::Dice;

pub use events::{egress_usd_per_gb, rtt_ms};

/// Clusters, constants and rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    pub name: String,
    pub clusters: Vec<String>,
    pub round_seconds: f64,
    pub rounds: Vec<Round>,
    pub request_bytes: f64,
    pub response_bytes: f64,
    /// Service time at low load, by exporter.
    pub service_ms: Vec<f64>,
    /// Exchange rate v. 0 if prices do not count.
    pub usd_per_ms_per_million: f64,
    /// Load at each exporter that comes from outside the fleet.
    pub background_rps: Vec<f64>,
    /// Reported demand over true demand, by source.
    pub report_factor: Vec<f64>,
    /// True for a cluster without an agent.
    pub legacy: Vec<bool>,
    /// Maximum age of facts, in rounds.
    pub staleness: usize,
    /// True if ages differ by pair and a cluster sees its own facts without delay.
    pub per_pair: bool,
}

/// The true state of one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    pub demand_rps: Vec<f64>,
    pub advertised_rps: Vec<f64>,
    pub capacity_rps: Vec<f64>,
    /// True for an exporter that answers. All clusters know it at once.
    pub alive: Vec<bool>,
    pub rtt_ms: Matrix<f64>,
    /// Median of the probes of this round.
    pub measured_rtt_ms: Matrix<f64>,
    pub egress_usd_per_gb: Matrix<f64>,
    /// Age of the column's facts as the row's cluster sees them, in rounds: 0 if they are from the last round.
    pub age: Matrix<usize>,
}

impl World {
    /// Draws the random numbers of a scenario. The same scenario always gives the same world.
    pub fn expand(scenario: &Scenario) -> Self {
        let error = &scenario.model_error;
        let each = |value: &dyn Fn(&String) -> f64| scenario.clusters.iter().map(value).collect::<Vec<f64>>();
        let mut dice = Dice::new(scenario);
        let report_factor = dice.report_factors();
        let true_part = each(&|name| error.true_capacity_factor.get(name).copied().unwrap_or(1.0));
        let rounds = (0..scenario.rounds).map(|t| Round::expand(scenario, t, &true_part, &mut dice)).collect();
        Self {
            name: scenario.name.clone(),
            clusters: scenario.clusters.clone(),
            round_seconds: scenario.round_seconds,
            rounds,
            request_bytes: scenario.request_bytes,
            response_bytes: scenario.response_bytes,
            service_ms: events::each(scenario, &scenario.service.base_latency_ms),
            usd_per_ms_per_million: scenario.usd_per_ms_per_million(),
            background_rps: each(&|name| error.background_rps.get(name).copied().unwrap_or(0.0)),
            report_factor,
            legacy: scenario.clusters.iter().map(|name| error.legacy_nearest.contains(name)).collect(),
            staleness: scenario.staleness.rounds,
            per_pair: scenario.staleness.per_pair,
        }
    }

    pub fn size(&self) -> usize {
        self.clusters.len()
    }
}

impl Round {
    fn expand(scenario: &Scenario, round: usize, true_part: &[f64], dice: &mut Dice<'_>) -> Self {
        let advertised_rps = events::capacity_rps(scenario, round);
        let capacity_rps = advertised_rps.iter().zip(true_part).map(|(rps, part)| rps * part).collect();
        let rtt_ms = rtt_ms(scenario, round);
        let demand = events::demand_rps(scenario, round);
        Self {
            demand_rps: dice.demand_rps(demand),
            alive: advertised_rps.iter().map(|&rps| rps > 0.0).collect(),
            advertised_rps,
            capacity_rps,
            measured_rtt_ms: dice.measured_rtt_ms(&rtt_ms),
            rtt_ms,
            egress_usd_per_gb: egress_usd_per_gb(scenario, round),
            age: dice.ages(),
        }
    }

    /// Returns the price of a million requests from each source to each exporter. The response is billed to the exporter's
    /// cloud.
    pub fn usd_per_million(&self, world: &World) -> Matrix<f64> {
        let egress = &self.egress_usd_per_gb;
        let price = |i, j| (egress[(i, j)] * world.request_bytes + egress[(j, i)] * world.response_bytes) / 1e3;
        Matrix::from_fn(world.size(), price)
    }
}
