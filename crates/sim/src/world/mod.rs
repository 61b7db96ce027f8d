//! A scenario with its dice thrown: what is the case in each round, whatever anybody decides.

mod events;

mod dice;

use crate::matrix::Matrix;
use crate::scenario::Scenario;
use dice::Dice;

pub use events::{egress_usd_per_gb, rtt_ms};

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
    /// v; 0: prices do not count.
    pub usd_per_ms_per_million: f64,
    /// Load at each exporter that no source sends.
    pub background_rps: Vec<f64>,
    /// Reported demand = true demand × this, by source.
    pub report_factor: Vec<f64>,
    /// Clusters without an agent.
    pub legacy: Vec<bool>,
    /// The greatest age that facts can have, in rounds.
    pub staleness: usize,
    /// Whether a cluster's own facts have no age for itself.
    pub per_pair: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    pub demand_rps: Vec<f64>,
    pub advertised_rps: Vec<f64>,
    pub capacity_rps: Vec<f64>,
    /// Known to everybody at once.
    pub alive: Vec<bool>,
    pub rtt_ms: Matrix<f64>,
    /// The median of the probes of this round.
    pub measured_rtt_ms: Matrix<f64>,
    pub egress_usd_per_gb: Matrix<f64>,
    /// How many rounds older than the last one the facts of the column's cluster are that the row's sees.
    pub age: Matrix<usize>,
}

impl World {
    /// The same scenario is the same world, always.
    pub fn expand(scenario: &Scenario) -> Self {
        let error = &scenario.model_error;
        let of_each = |value: &dyn Fn(&String) -> f64| scenario.clusters.iter().map(value).collect::<Vec<f64>>();
        let mut dice = Dice::new(scenario);
        let report_factor = dice.report_factors();
        let true_part = of_each(&|name| error.true_capacity_factor.get(name).copied().unwrap_or(1.0));
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
            background_rps: of_each(&|name| error.background_rps.get(name).copied().unwrap_or(0.0)),
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

    /// Price of a million requests from each source to each exporter. The response is billed to the exporter's cloud.
    pub fn usd_per_million(&self, world: &World) -> Matrix<f64> {
        let egress = &self.egress_usd_per_gb;
        let price = |i, j| (egress[(i, j)] * world.request_bytes + egress[(j, i)] * world.response_bytes) / 1e3;
        Matrix::from_fn(world.size(), price)
    }
}
