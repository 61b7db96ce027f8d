//! A scenario in the making.

use std::collections::BTreeMap;

use super::chance::{Chance, rounded};
use super::regions::{self, Region};
use crate::scenario::{ModelError, Noise, Scenario, ScenarioMode, ScenarioObjective, ScenarioService, Staleness};

/// Round-trip time between a cluster and itself.
const LOCAL_RTT_MS: f64 = 0.5;

/// Capacities of exporters: a few sizes, like those of node groups.
const CAPACITIES_RPS: [f64; 6] = [300.0, 500.0, 800.0, 1000.0, 1500.0, 2000.0];

const SMALL_BYTES: [f64; 2] = [1_000.0, 10_000.0];
const ALL_BYTES: [f64; 4] = [1_000.0, 10_000.0, 20_000.0, 100_000.0];

/// A scenario in the making, and notes for its description.
pub(super) struct Draft {
    pub(super) regions: Vec<Region>,
    pub(super) scenario: Scenario,
    notes: Vec<String>,
}

/// Names clusters after their regions. Further clusters of a region have a number.
fn names(fleet: &[Region]) -> Vec<String> {
    let name = |(k, region): (usize, &Region)| {
        let earlier = fleet[..k].iter().filter(|earlier| *earlier == region).count();
        if earlier == 0 { region.label() } else { format!("{}-{}", region.label(), earlier + 1) }
    };
    fleet.iter().enumerate().map(name).collect()
}

impl Draft {
    pub(super) fn new(seed: u64, regions: Vec<Region>) -> Self {
        let size = regions.len();
        let table = |cell: &dyn Fn(usize, usize) -> f64| -> Vec<Vec<f64>> {
            (0..size).map(|i| (0..size).map(|j| cell(i, j)).collect()).collect()
        };
        let rtt_ms = table(&|i, j| {
            if i == j { LOCAL_RTT_MS } else { rounded(regions::rtt_ms(&regions[i], &regions[j]), 1) }
        });
        let egress_usd_per_gb = table(&|i, j| regions::egress_usd_per_gb(&regions[i], &regions[j]));
        let scenario = Scenario {
            api_version: "landfall.dev/v1alpha1".to_owned(),
            kind: "Scenario".to_owned(),
            name: format!("generated-{seed}-{size}"),
            description: String::new(),
            seed,
            round_seconds: 300.0,
            rounds: 60,
            clusters: names(&regions),
            rtt_ms,
            egress_usd_per_gb,
            request_bytes: 1_000.0,
            response_bytes: 10_000.0,
            service: ScenarioService { capacity_rps: Vec::new(), base_latency_ms: Vec::new() },
            demand_rps: Vec::new(),
            objective: ScenarioObjective { mode: ScenarioMode::Mixed, usd_per_ms_per_million_requests: None },
            events: Vec::new(),
            noise: Noise::default(),
            staleness: Staleness::default(),
            model_error: ModelError::default(),
        };
        Self { regions, scenario, notes: Vec::new() }
    }

    /// Sets capacities and service times. One cluster in ten has only clients; at least one cluster exports.
    pub(super) fn set_service(&mut self, chance: &mut Chance) {
        let size = self.regions.len();
        let scale = chance.one_of(&[0.05, 1.0, 1.0, 1.0, 10.0]).unwrap_or(1.0);
        let alike_ms = chance.one_of(&[5.0, 10.0, 20.0, 20.0, 50.0]).unwrap_or(20.0);
        let differ = chance.happens(0.3);
        let service = &mut self.scenario.service;
        for k in 0..size {
            let capacity = chance.one_of(&CAPACITIES_RPS).unwrap_or_default();
            let exports = !chance.happens(0.1) || (k + 1 == size && service.capacity_rps.iter().all(|&rps| rps <= 0.0));
            service.capacity_rps.push(if exports { capacity * scale } else { 0.0 });
            service.base_latency_ms.push(if differ {
                rounded(alike_ms * chance.between(0.7, 1.5, 2), 1)
            } else {
                alike_ms
            });
        }
        let clients = service.capacity_rps.iter().filter(|&&rps| rps <= 0.0).count();
        if clients > 0 {
            self.note(format!("{clients} without an export"));
        }
    }

    /// Sets demands. Users live around a longitude, and fewer of them farther away.
    pub(super) fn set_demand(&mut self, chance: &mut Chance) {
        let (at, spread) = (chance.between(-130.0, 150.0, 0), chance.between(20.0, 70.0, 0));
        let overloaded = chance.happens(0.1);
        let load = if overloaded { chance.between(1.0, 1.4, 2) } else { chance.between(0.3, 0.95, 2) };
        let mut users = |region: &Region| {
            let away = (region.longitude - at + 540.0).rem_euclid(360.0) - 180.0;
            let taste = (0.3 * chance.normal()).exp();
            (0.02 + (-0.5 * (away / spread).powi(2)).exp()) * taste
        };
        let users: Vec<f64> = self.regions.iter().map(&mut users).collect();
        let all: f64 = users.iter().sum();
        let capacity: f64 = self.scenario.service.capacity_rps.iter().sum();
        self.scenario.demand_rps = users.iter().map(|users| rounded(users / all * load * capacity, 1)).collect();
        self.note(format!("users around {at}° (±{spread}°), load {:.0} % of the capacity", load * 100.0));
    }

    pub(super) fn set_objective(&mut self, chance: &mut Chance) {
        let scenario = &mut self.scenario;
        scenario.objective.mode = chance
            .one_of(&[ScenarioMode::Performance, ScenarioMode::Mixed, ScenarioMode::Cost])
            .unwrap_or(ScenarioMode::Mixed);
        if chance.happens(0.1) {
            scenario.objective.usd_per_ms_per_million_requests = chance.one_of(&[0.0, 0.001, 0.1]);
        }
        scenario.request_bytes = chance.one_of(&[500.0, 1_000.0, 4_000.0]).unwrap_or(1_000.0);
        // In cost mode larger answers over the internet cost more than a rejection, so there would be nothing to compare.
        let sizes: &[f64] = if scenario.objective.mode == ScenarioMode::Cost { &SMALL_BYTES } else { &ALL_BYTES };
        scenario.response_bytes = chance.one_of(sizes).unwrap_or(10_000.0);
        let kilobytes = scenario.response_bytes / 1e3;
        let mode = match scenario.objective.mode {
            ScenarioMode::Performance => "performance",
            ScenarioMode::Mixed => "mixed",
            ScenarioMode::Cost => "cost",
        };
        self.note(format!("mode {mode}, answers of {kilobytes} kB"));
    }

    pub(super) fn add_noise(&mut self, chance: &mut Chance) {
        let noise = &mut self.scenario.noise;
        let mut notes: Vec<&str> = Vec::new();
        if chance.happens(0.5) {
            noise.demand_log_sigma = chance.between(0.01, 0.08, 3);
            notes.push("noisy demand");
        }
        if chance.happens(0.2) {
            noise.demand_walk_sigma = chance.between(0.01, 0.03, 3);
            notes.push("wandering demand");
        }
        if chance.happens(0.3) {
            noise.demand_pareto_prob = chance.between(0.01, 0.05, 3);
            noise.demand_pareto_alpha = chance.between(1.5, 3.0, 1);
            notes.push("Pareto bursts");
        }
        if chance.happens(0.25) {
            noise.demand_exponential_part = chance.between(0.02, 0.2, 2);
            notes.push("partly exponential demand");
        }
        if chance.happens(0.4) {
            noise.rtt_log_sigma = chance.between(0.02, 0.15, 3);
            notes.push("noisy RTT");
        }
        if chance.happens(0.25) {
            noise.rtt_spike_prob = chance.between(0.01, 0.05, 3);
            noise.rtt_spike_alpha = chance.between(1.5, 2.5, 1);
            noise.rtt_spike_ms = chance.between(5.0, 50.0, 0);
            notes.push("RTT spikes");
        }
        self.notes.extend(notes.into_iter().map(str::to_owned));
    }

    pub(super) fn add_stale_facts(&mut self, chance: &mut Chance) {
        if !chance.happens(0.4) {
            return;
        }
        let staleness = Staleness { rounds: chance.count(1, 5), per_pair: chance.happens(0.5) };
        self.scenario.staleness = staleness;
        let how = if staleness.per_pair { "at most " } else { "" };
        self.note(format!("age of facts {how}{}", staleness.rounds));
    }

    pub(super) fn add_model_error(&mut self, chance: &mut Chance) {
        let clusters = self.scenario.clusters.clone();
        let exporters = self.exporters();
        if chance.happens(0.2) {
            let wrong = chance.some_of(&exporters, 2);
            let factors: BTreeMap<String, f64> =
                wrong.into_iter().map(|j| (clusters[j].clone(), chance.between(0.7, 1.2, 2))).collect();
            self.note(format!("capacity wrong at {}", listed(factors.keys())));
            self.scenario.model_error.true_capacity_factor = factors;
        }
        if chance.happens(0.2)
            && let Some(j) = chance.one_of(&exporters)
        {
            let rps = rounded(self.scenario.service.capacity_rps[j] * chance.between(0.05, 0.2, 2), 1);
            self.note(format!("unreported load at {}", clusters[j]));
            self.scenario.model_error.background_rps.insert(clusters[j].clone(), rps);
        }
        if chance.happens(0.2) {
            self.scenario.model_error.demand_report_sigma = chance.between(0.05, 0.2, 2);
            self.note("wrong demand reports");
        }
        if chance.happens(0.25) && clusters.len() > 2 {
            let legacy = chance.some_of(&clusters, (clusters.len() / 6).clamp(1, 3));
            self.note(format!("no agent at {}", listed(legacy.iter())));
            self.scenario.model_error.legacy_nearest = legacy;
        }
    }

    /// Returns the clusters that export without events.
    pub(super) fn exporters(&self) -> Vec<usize> {
        let capacity = &self.scenario.service.capacity_rps;
        (0..capacity.len()).filter(|&j| capacity[j] > 0.0).collect()
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(super) fn finish(mut self) -> Scenario {
        let mut providers: Vec<&str> = self.regions.iter().map(|region| region.provider.label()).collect();
        providers.sort_unstable();
        providers.dedup();
        let clusters = if self.regions.len() == 1 { "cluster" } else { "clusters" };
        let fleet = format!("{} {clusters} of {}", self.regions.len(), listed(providers.iter()));
        self.scenario.description = format!("{fleet}; {}", self.notes.join("; "));
        self.scenario
    }
}

fn listed<T: AsRef<str>>(names: impl Iterator<Item = T>) -> String {
    names.map(|name| name.as_ref().to_owned()).collect::<Vec<_>>().join(", ")
}
