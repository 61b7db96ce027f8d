//! The figures of docs/optimizer.md are those of the simulator. A change that moves a figure must change the text as well.
//!
//!     cargo test -p landfall --test figures -- --nocapture
//!
//! prints all rows as they should stand in the text.

#![allow(clippy::unwrap_used, reason = "a failed unwrap names its line")]

use std::path::Path;
use std::thread::{available_parallelism, scope};

use landfall_core::optimize::facts::Tuning;
use landfall_sim::contender::Contender;
use landfall_sim::run::{RoundOutcome, run};
use landfall_sim::scenario::Scenario;
use landfall_sim::summary::{Summary, summarize};
use landfall_sim::trace::Trace;
use landfall_sim::world::World;

const TEXT: &str = include_str!("../../../docs/optimizer.md");

const SCENARIOS: [&str; 18] = [
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

const COLUMNS: [&str; 9] = [
    "optimized",
    "optimized-rounds",
    "fallback",
    "waterfall-cost",
    "waterfall-rtt",
    "selfish",
    "topology-aware",
    "nearest",
    "round-robin",
];

struct Replay {
    world: World,
    optimum_ms: Vec<f64>,
}

impl Replay {
    fn of(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/tests/scenarios");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let scenario = Scenario::read(&read(&folder.join(name).with_extension("yaml"))).unwrap();
        let trace = Trace::read(&read(&folder.join("traces").join(name).with_extension("json"))).unwrap();
        let world = World::replayed(&scenario, &trace).unwrap();
        Self { world, optimum_ms: trace.optimum_ms.headroom09.unwrap() }
    }

    fn outcomes(&self, policy: &str, tuning: Tuning) -> Vec<RoundOutcome> {
        let contender = Contender::parse(policy).unwrap();
        run(&self.world, contender.policy(&self.world, tuning).as_mut())
    }

    /// Returns J/J* as a summary has it, without computing the percentiles, which take longer than the run.
    fn ratio(&self, policy: &str, tuning: Tuning) -> String {
        let start = 10.min(self.optimum_ms.len() / 3);
        let cost_ms: f64 = self.outcomes(policy, tuning)[start..].iter().map(|outcome| outcome.cost_ms).sum();
        ratio(cost_ms / self.optimum_ms[start..].iter().sum::<f64>())
    }
}

fn ratio(ratio: f64) -> String {
    if ratio < 9.9995 { format!("{ratio:.3}") } else { format!("{ratio:.0}") }
}

fn assert_printed(rows: &[String]) {
    rows.iter().for_each(|row| println!("{row}"));
    let missing: Vec<&String> =
        rows.iter().filter(|row| !TEXT.lines().any(|line| line.ends_with(row.as_str()))).collect();
    assert!(missing.is_empty(), "docs/optimizer.md should say\n{missing:#?}");
}

/// Runs on all processors. Returns the results in the order of the names.
fn each<T: Send>(names: &[&str], of: impl Fn(&str) -> T + Sync) -> Vec<T> {
    let of = &of;
    let size = names.len().div_ceil(available_parallelism().map_or(1, Into::into));
    scope(|scope| {
        let parts: Vec<_> = names
            .chunks(size)
            .map(|part| scope.spawn(move || part.iter().map(|name| of(name)).collect::<Vec<T>>()))
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

#[test]
fn documentation_has_the_cost_of_each_policy_in_each_scenario() {
    let rows = each(&SCENARIOS, |name| {
        let replay = Replay::of(name);
        let ratios = COLUMNS.map(|policy| replay.ratio(policy, Tuning::default()));
        format!("| {name} | {} |", ratios.join(" | "))
    });
    assert_printed(&rows);
}

#[test]
fn documentation_has_rejections_moves_and_utilization_of_the_optimizer() {
    let rows = each(&SCENARIOS, |name| {
        let replay = Replay::of(name);
        let outcomes = replay.outcomes("optimized", Tuning::default());
        let summary = summarize("optimized", &replay.world, &outcomes, &replay.optimum_ms);
        let Summary { mean_ms, p99_ms, rejected, max_utilization, rounds_over_capacity, l1_per_round, .. } = summary;
        let (first, max) = (ratio(summary.j_over_optimum.first), ratio(summary.j_over_optimum.max));
        format!(
            "| {name} | {first} | {max} | {mean_ms:.1} | {p99_ms:.0} | {:.3} | {max_utilization:.3} | {rounds_over_capacity} | {:.1} |",
            100.0 * rejected,
            50.0 * l1_per_round
        )
    });
    assert_printed(&rows);
}

#[test]
fn documentation_has_the_cost_of_a_target_utilization() {
    let scenarios = ["C-hotspot-8", "F-flash-8", "I-noisy-8", "L-diurnal-12"];
    let targets = [0.7, 0.8, 0.85, 0.9, 0.95];
    let columns = each(&scenarios, |name| {
        let replay = Replay::of(name);
        targets.map(|target_utilization| replay.ratio("optimized", Tuning { target_utilization, ..Tuning::default() }))
    });
    let row = |(k, target): (usize, &f64)| {
        let ratios: Vec<&str> = columns.iter().map(|column| column[k].as_str()).collect();
        format!("| {target} | {} |", ratios.join(" | "))
    };
    assert_printed(&targets.iter().enumerate().map(row).collect::<Vec<_>>());
}

#[test]
fn documentation_has_the_value_of_each_part() {
    let default = Tuning::default();
    let parts = [
        ("nothing", default),
        ("the trim", Tuning { trim_gain: 0.0, ..default }),
        ("the adaptive headroom", Tuning { headroom_deviations: 0.0, ..default }),
        ("early rounds and jumps", Tuning { demand_jump: 1.0, ..default }),
        ("the demand filter", Tuning { demand_least_alpha: 1.0, trend_gain: 0.0, ..default }),
        ("the trend", Tuning { trend_gain: 0.0, ..default }),
        ("the dead band of rows", Tuning { hysteresis: 0.0, ..default }),
    ];
    let scenarios = ["F-flash-8", "G-stale3-8", "I-noisy-8", "L-diurnal-12", "M-mismatch-8", "N-legacy-8"];
    let columns = each(&scenarios, |name| {
        let replay = Replay::of(name);
        parts.map(|(_, tuning)| replay.ratio("optimized", tuning))
    });
    let row = |(k, (part, _)): (usize, &(&str, Tuning))| {
        let ratios: Vec<&str> = columns.iter().map(|column| column[k].as_str()).collect();
        format!("| {part} | {} |", ratios.join(" | "))
    };
    assert_printed(&parts.iter().enumerate().map(row).collect::<Vec<_>>());
}
