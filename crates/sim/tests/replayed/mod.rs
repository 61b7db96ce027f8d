//! Scenarios with their traces.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::path::PathBuf;

use landfall_sim::run::RoundOutcome;
use landfall_sim::scenario::Scenario;
use landfall_sim::trace::Trace;
use landfall_sim::world::World;

pub const ALL: [&str; 18] = [
    "A-sym-2",
    "B-ep-3",
    "C-hotspot-8",
    "D-price-6-cost",
    "D-price-6-mixed",
    "D-price-6-performance",
    "E-outage-8",
    "F-flash-8",
    "G-stale1-8",
    "G-stale3-8",
    "G-stale5-8",
    "H-overload-6",
    "I-noisy-8",
    "J-large-50",
    "K-tight-10",
    "L-diurnal-12",
    "M-mismatch-8",
    "N-legacy-8",
];

pub struct Replay {
    pub name: String,
    pub world: World,
    /// J* of each round, with a headroom of 0.9.
    pub optimum_ms: Vec<f64>,
}

pub fn all() -> impl Iterator<Item = Replay> {
    ALL.into_iter().map(replay)
}

pub fn replay(name: &str) -> Replay {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let scenario = std::fs::read_to_string(folder.join(name).with_extension("yaml")).unwrap();
    let trace = std::fs::read_to_string(folder.join("traces").join(name).with_extension("json")).unwrap();
    let trace = Trace::read(&trace).unwrap();
    let world = World::replayed(&Scenario::read(&scenario).unwrap(), &trace).unwrap();
    Replay { name: name.to_owned(), world, optimum_ms: trace.optimum_ms.headroom09.unwrap() }
}

impl Replay {
    /// Returns the number of warm-up rounds.
    pub fn skip(&self) -> usize {
        (self.world.rounds.len() / 3).min(10)
    }

    /// Returns J/J* of each round.
    pub fn ratios(&self, outcomes: &[RoundOutcome]) -> Vec<f64> {
        outcomes.iter().zip(&self.optimum_ms).map(|(outcome, optimum)| outcome.cost_ms / optimum).collect()
    }

    /// Returns mean J over mean J* after the warm-up.
    pub fn ratio(&self, outcomes: &[RoundOutcome]) -> f64 {
        let cost: f64 = outcomes[self.skip()..].iter().map(|outcome| outcome.cost_ms).sum();
        cost / self.optimum_ms[self.skip()..].iter().sum::<f64>()
    }
}
