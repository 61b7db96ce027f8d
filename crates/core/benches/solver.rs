//! T-13: time to plan one service.
//!
//!     cargo bench -p landfall-core --bench solver
//!
//! Medians over many runs, from facts to a solution, beside a Cholesky factorization of 100 × 100 in the same run. The
//! load of the machine changes from second to second; the ratio of both times changes less.

#![allow(clippy::print_stdout, reason = "the result")]
#![allow(clippy::disallowed_methods, reason = "a clock is what measures")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should say where")]

#[path = "../tests/fleet/mod.rs"]
mod fleet;

use landfall_core::name::ByCluster;
use std::hint::black_box;
use std::time::Instant;

use fleet::{Fleet, Rng, spread_fleet};
use landfall_core::optimize::cholesky::Lower;
use landfall_core::optimize::facts::{Facts, Tuning};
use landfall_core::optimize::{Solution, solve_jointly};

const REPEATS: usize = 301;
const YARDSTICK: usize = 100;

struct Case {
    name: &'static str,
    target_us: f64,
    facts: Facts,
    prices: ByCluster<f64>,
}

fn main() {
    // `cargo test --all-targets` runs benchmarks too; this one is skipped there.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let cases = cases();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    let mut yardstick = Vec::new();
    // In turns, so that a slow second affects all cases.
    for _ in 0..REPEATS {
        yardstick.push(time_us(factor));
        for (case, times) in cases.iter().zip(&mut times) {
            times.push(time_us(|| solve(&case.facts, &case.prices)));
        }
    }
    let yardstick = median(yardstick);
    println!("Cholesky {YARDSTICK} x {YARDSTICK}     {yardstick:8.1} us, median of {REPEATS}");
    for (case, times) in cases.iter().zip(times) {
        let (us, steps) = (median(times), solve(&case.facts, &case.prices).newton_steps);
        let ratio = us / yardstick;
        println!(
            "{:<22} {us:8.1} us  {ratio:7.2} x  {steps:3} Newton steps  target {:.0} us",
            case.name, case.target_us
        );
    }
}

fn cases() -> Vec<Case> {
    let mut rng = Rng(13);
    let square = |n, rng: &mut Rng| spread_fleet(n, 0.8, rng);
    let mut one = square(100, &mut rng);
    one.demand = vec![one.demand.iter().sum()];
    one.cost.truncate(1);
    let mut cases = vec![cold("1 x 100 cold", 40.0, &one)];
    let sizes = [
        (8, ("8 x 8 cold", 60.0), ("8 x 8 warm", 10.0)),
        (50, ("50 x 50 cold", 2_000.0), ("50 x 50 warm", 300.0)),
        (100, ("100 x 100 cold", 12_000.0), ("100 x 100 warm", 2_500.0)),
    ];
    for (n, (cold_name, cold_us), (warm_name, warm_us)) in sizes {
        let mut fleet = square(n, &mut rng);
        cases.push(cold(cold_name, cold_us, &fleet));
        // The demand of one round later: up to 3 % more or less.
        let prices = solve(&fleet.facts(), &ByCluster::new()).prices();
        fleet.demand.iter_mut().for_each(|demand| *demand *= rng.between(0.97, 1.03));
        cases.push(Case { prices, ..cold(warm_name, warm_us, &fleet) });
    }
    cases
}

fn cold(name: &'static str, target_us: f64, fleet: &Fleet) -> Case {
    Case { name, target_us, facts: fleet.facts(), prices: ByCluster::new() }
}

fn solve(facts: &Facts, prices: &ByCluster<f64>) -> Solution {
    solve_jointly(black_box(facts), &Tuning::default(), prices).unwrap()
}

fn factor() -> Lower {
    let mut matrix = Lower::zero(YARDSTICK);
    for i in 0..YARDSTICK {
        matrix.row_mut(i).fill(-1.0);
        matrix.row_mut(i)[i] = 2.0 * YARDSTICK as f64;
    }
    black_box(&mut matrix).factor();
    matrix
}

fn time_us<T>(run: impl FnOnce() -> T) -> f64 {
    let started = Instant::now();
    black_box(run());
    started.elapsed().as_secs_f64() * 1e6
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
