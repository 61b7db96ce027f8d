//! T-14: a full round of one agent, 200 services on 50 clusters, from the reports of all clusters to weights.
//!
//!     cargo bench -p landfall-core --bench round
//!
//! One thread, cold start. At most 0.5 s of CPU, and 64 MiB for the whole process.

#![allow(clippy::print_stdout, reason = "the result")]
#![allow(clippy::disallowed_methods, reason = "a clock is what measures")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should say where")]

#[path = "../tests/fleet/mod.rs"]
mod fleet;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use fleet::{Fleet, Rng, id, spread_fleet};
use landfall_core::name::{ByCluster, ClusterId};
use landfall_core::optimize::cost::UnitCost;
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::{CostMatrix, Report, planning_input};
use landfall_core::optimize::{solve_jointly, weights};

const SERVICES: usize = 200;
const CLUSTERS: usize = 50;
const REPEATS: usize = 9;

fn main() {
    // `cargo test --all-targets` runs benchmarks too; this one is skipped there.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut rng = Rng(14);
    let fleets: Vec<Fleet> = (0..SERVICES).map(|_| spread_fleet(CLUSTERS, rng.between(0.5, 0.9), &mut rng)).collect();
    let costs = costs(&fleets[0]);
    let reports: Vec<_> = fleets.iter().map(reports).collect();
    drop(fleets);
    let mut seconds: Vec<f64> = (0..REPEATS)
        .map(|_| {
            let started = Instant::now();
            reports.iter().for_each(|reports| drop(black_box(round(reports, &costs))));
            started.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let (median, slowest) = (seconds[REPEATS / 2], seconds[REPEATS - 1]);
    println!(
        "{SERVICES} services x {CLUSTERS} clusters: {median:.3} s, median of {REPEATS} (slowest {slowest:.3} s; target 0.5 s)"
    );
    println!("peak memory of the process: {:.1} MiB (target 64 MiB)", peak_mib());
}

fn costs(fleet: &Fleet) -> CostMatrix {
    let path = |(j, &latency_ms): (usize, &f64)| (id(j), UnitCost { latency_ms, price_ms: 0.0 });
    let row = |costs: &Vec<f64>| Arc::new(costs.iter().enumerate().map(path).collect::<BTreeMap<_, _>>());
    fleet.cost.iter().enumerate().map(|(i, costs)| (id(i), row(costs))).collect()
}

fn reports(fleet: &Fleet) -> BTreeMap<ClusterId, Report> {
    let report = |i: usize| Report {
        demand_rps: Some(fleet.demand[i]),
        measured_demand_rps: Some(fleet.demand[i]),
        capacity_rps: Some(fleet.capacity[i]),
        load_rps: Some(fleet.demand[i]),
        ..Report::default()
    };
    (0..CLUSTERS).map(|i| (id(i), report(i))).collect()
}

/// Computes the weights of one source.
fn round(reports: &BTreeMap<ClusterId, Report>, costs: &CostMatrix) -> Vec<u32> {
    let objective = Objective::default();
    let input = planning_input(reports, costs, |_| Some(0.0), (&objective, 0));
    let solution = solve_jointly(&input.facts, &objective.tuning, &ByCluster::new()).unwrap();
    weights(&solution.rows[0].shares, 1000)
}

/// Returns the peak memory on Linux; 0 elsewhere.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
