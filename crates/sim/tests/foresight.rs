//! Lowest possible cost of a round, compared with traces of another solver, with costs computed by hand, and with the judge.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::path::PathBuf;

use landfall_sim::foresight::{Cause, NoOptimum, optimum_ms};
use landfall_sim::generate::generate;
use landfall_sim::judge::erlang::WaitTables;
use landfall_sim::judge::{Judgment, judge};
use landfall_sim::matrix::Matrix;
use landfall_sim::scenario::Scenario;
use landfall_sim::trace::Trace;
use landfall_sim::world::{Round, World};

/// Relative tolerance. Traces have demands to 2 decimals and optima to 4.
const TRACED: f64 = 3e-5;

/// Cost of a rejected request: the longest wait and the rejection.
const REJECTED_MS: f64 = 11_000.0;

fn traced(name: &str) -> (World, Trace) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let scenario = std::fs::read_to_string(folder.join(name).with_extension("yaml")).unwrap();
    let trace = std::fs::read_to_string(folder.join("traces").join(name).with_extension("json")).unwrap();
    let trace = Trace::read(&trace).unwrap();
    let world = World::replayed(&Scenario::read(&scenario).unwrap(), &trace).unwrap();
    (world, trace)
}

fn solved(world: &World, headroom: Option<f64>) -> Vec<f64> {
    optimum_ms(world, headroom, &mut |_| ()).unwrap()
}

/// Asserts that both optima of some rounds equal those of the trace.
fn check(name: &str, picked: &[usize]) {
    let (mut world, trace) = traced(name);
    world.rounds = picked.iter().map(|&t| world.rounds[t].clone()).collect();
    let expected = [(Some(0.9), trace.optimum_ms.headroom09.unwrap()), (None, trace.optimum_ms.unconstrained.unwrap())];
    for (headroom, expected) in expected {
        for (optimum, &t) in solved(&world, headroom).iter().zip(picked) {
            let off = optimum / expected[t] - 1.0;
            assert!(off.abs() < TRACED, "{name}, round {t}, {headroom:?}: {optimum}, not {}", expected[t]);
        }
    }
}

#[test]
fn steady_fleet_has_the_optimum_of_its_trace() {
    for name in ["A-sym-2", "B-ep-3", "C-hotspot-8", "K-tight-10"] {
        check(name, &[0, 5]);
    }
}

#[test]
fn fifty_clusters_have_the_optimum_of_their_trace() {
    check("J-large-50", &[0]);
}

#[test]
fn fleet_with_prices_has_the_optimum_of_its_trace() {
    for name in ["D-price-6-performance", "D-price-6-mixed", "D-price-6-cost"] {
        check(name, &[0]);
    }
}

#[test]
fn outages_and_overload_have_the_optimum_of_their_trace() {
    check("E-outage-8", &[0, 19, 20, 39, 40]);
    check("H-overload-6", &[0]);
}

#[test]
fn noisy_demand_has_the_optimum_of_its_trace() {
    check("F-flash-8", &[21, 36]);
    check("G-stale1-8", &[79]);
    check("G-stale3-8", &[33]);
    check("G-stale5-8", &[50]);
    check("I-noisy-8", &[60]);
    check("L-diurnal-12", &[40]);
}

#[test]
fn clients_without_a_choice_have_the_optimum_of_their_trace() {
    check("M-mismatch-8", &[0, 59]);
    check("N-legacy-8", &[0, 59]);
}

/// Returns a world with clusters 20 ms apart. Without service time no request waits unless its exporter is full.
fn small(capacity_rps: &[f64], demand_rps: &[f64], service_ms: f64) -> World {
    let size = capacity_rps.len();
    let rtt_ms = Matrix::from_fn(size, |i, j| if i == j { 1.0 } else { 20.0 });
    let round = Round {
        demand_rps: demand_rps.to_vec(),
        advertised_rps: capacity_rps.to_vec(),
        capacity_rps: capacity_rps.to_vec(),
        alive: capacity_rps.iter().map(|&rps| rps > 0.0).collect(),
        measured_rtt_ms: rtt_ms.clone(),
        rtt_ms,
        egress_usd_per_gb: Matrix::filled(size, 0.0),
        age: Matrix::filled(size, 0),
    };
    World {
        name: "small".to_owned(),
        clusters: (0..size).map(|i| format!("c{i}")).collect(),
        round_seconds: 300.0,
        rounds: vec![round],
        request_bytes: 1_000.0,
        response_bytes: 10_000.0,
        service_ms: vec![service_ms; size],
        usd_per_ms_per_million: 0.01,
        background_rps: vec![0.0; size],
        report_factor: vec![1.0; size],
        legacy: vec![false; size],
        staleness: 0,
        per_pair: false,
    }
}

fn assert_near(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 1e-5, "{found}, not {expected}");
}

#[test]
fn requests_go_to_the_cheapest_exporter_if_it_has_capacity() {
    let world = small(&[100.0, 1000.0], &[80.0, 0.0], 0.0);
    assert_near(solved(&world, Some(0.9))[0], 1.0);
}

#[test]
fn load_above_the_limit_goes_to_the_next_exporter() {
    let world = small(&[100.0, 1000.0], &[190.0, 0.0], 0.0);
    assert_near(solved(&world, Some(0.9))[0], (90.0 * 1.0 + 100.0 * 20.0) / 190.0);
    assert_near(solved(&world, None)[0], (100.0 * 1.0 + 90.0 * 20.0) / 190.0);
}

#[test]
fn fleet_fuller_than_the_headroom_is_filled_evenly() {
    let world = |demand| small(&[100.0, 100.0], &[demand, 0.0], 0.0);
    assert_near(solved(&world(190.0), Some(0.9))[0], (95.2 * 1.0 + 94.8 * 20.0) / 190.0);
    assert_near(solved(&world(199.0), Some(0.9))[0], (100.0 * 1.0 + 99.0 * 20.0) / 199.0);
}

#[test]
fn more_expensive_path_is_taken_if_waiting_costs_more() {
    let mut world = small(&[100.0, 1000.0], &[80.0, 0.0], 20.0);
    let near = solved(&world, None)[0];
    world.rounds[0].egress_usd_per_gb[(1, 0)] = 0.001;
    let dearer = solved(&world, None)[0];
    assert!(near < dearer, "10 kB at 0.001 USD/GB are 1 ms at a rate of 0.01");
    assert!(dearer < 21.0 + 20.0);
    world.usd_per_ms_per_million = 0.0;
    assert_near(solved(&world, None)[0], near);
}

#[test]
fn extreme_price_is_paid_if_there_is_no_other_path() {
    let mut world = small(&[100.0, 1000.0], &[90.0, 0.0], 0.0);
    world.rounds[0].egress_usd_per_gb = Matrix::from_fn(2, |i, j| if i == j { 0.0 } else { 0.1 });
    world.usd_per_ms_per_million = 1e-9;
    assert_near(solved(&world, Some(0.9))[0], 1.0);
    let round = &mut world.rounds[0];
    (round.alive[0], round.capacity_rps[0]) = (false, 0.0);
    assert_near(solved(&world, Some(0.9))[0], 20.0 + 1.1e9);
}

fn judgment(world: &World, t: usize, shares: &Matrix<f64>) -> Judgment {
    judge(&mut WaitTables::default(), world, &world.rounds[t], shares)
}

#[test]
fn no_split_of_one_source_is_better_than_the_optimum() {
    for (capacity, demand) in [([100.0, 300.0], 150.0), ([1000.0, 1000.0], 1850.0), ([40.0, 40.0], 50.0)] {
        let world = small(&capacity, &[demand, 0.0], 20.0);
        let cost = |k: u32| {
            let near = f64::from(k) / 2000.0;
            judgment(&world, 0, &Matrix::from_fn(2, |_, j| if j == 0 { near } else { 1.0 - near })).cost_ms
        };
        let best = (0..=2000).map(cost).fold(f64::INFINITY, f64::min);
        let optimum = solved(&world, None)[0];
        assert!(optimum <= best, "{optimum} > {best}");
        assert!(optimum > best * (1.0 - 1e-3), "{optimum} is far below {best}");
    }
}

#[test]
fn source_without_an_agent_uses_the_nearest_alive_exporter() {
    let mut world = small(&[1000.0, 1000.0], &[50.0, 50.0], 0.0);
    world.legacy = vec![true, false];
    assert_near(solved(&world, None)[0], 1.0);
    let round = &mut world.rounds[0];
    (round.alive[0], round.capacity_rps[0]) = (false, 0.0);
    assert_near(solved(&world, None)[0], f64::midpoint(20.0, 1.0));
    // The exporter is alive and serves nothing.
    world.rounds[0].alive[0] = true;
    assert_near(solved(&world, None)[0], f64::midpoint(REJECTED_MS, 1.0));
}

#[test]
fn background_load_takes_capacity_and_counts() {
    let mut world = small(&[100.0, 1000.0], &[100.0, 0.0], 0.0);
    world.background_rps = vec![60.0, 0.0];
    assert_near(solved(&world, None)[0], (60.0 * 0.5 + 40.0 * 1.0 + 60.0 * 20.0) / 160.0);
    world.background_rps = vec![160.0, 0.0];
    let rejected = 60.0 * REJECTED_MS;
    assert_near(solved(&world, None)[0], (160.0 * 0.5 + rejected + 100.0 * 20.0) / 260.0);
}

#[test]
fn round_without_a_choice_has_a_cost() {
    assert!(solved(&small(&[100.0, 100.0], &[0.0, 0.0], 20.0), Some(0.9))[0].abs() < 1e-12);
    assert_near(solved(&small(&[0.0, 0.0], &[10.0, 0.0], 20.0), Some(0.9))[0], REJECTED_MS);
    let mut abandoned = small(&[0.0, 100.0], &[0.0, 0.0], 20.0);
    abandoned.background_rps = vec![10.0, 0.0];
    assert_near(solved(&abandoned, None)[0], REJECTED_MS);
    let overload = solved(&small(&[100.0, 0.0], &[500.0, 500.0], 20.0), Some(0.9))[0];
    assert!((0.85 * REJECTED_MS..REJECTED_MS + 40.0).contains(&overload), "{overload}");
    let hopeless = solved(&small(&[1.0, 1.0], &[1e6, 1e6], 20.0), None)[0];
    assert!((hopeless / (REJECTED_MS + 21.0) - 1.0).abs() < 1e-3, "{hopeless}");
}

#[test]
fn round_with_nan_is_named_in_the_error() {
    let mut world = small(&[100.0, 100.0], &[10.0, 0.0], 20.0);
    let mut broken = world.rounds[0].clone();
    broken.rtt_ms[(0, 1)] = f64::NAN;
    world.rounds.push(broken);
    let error = optimum_ms(&world, None, &mut |_| ()).unwrap_err();
    assert_eq!(error, NoOptimum { round: 1, why: Cause::NotFinite });
    assert!(error.to_string().starts_with("round 1: "), "{error}");
}

#[test]
fn progress_counts_every_round_including_repeated_ones() {
    let mut world = small(&[100.0, 100.0], &[10.0, 0.0], 20.0);
    world.rounds = vec![world.rounds[0].clone(); 1000];
    let mut done = Vec::new();
    let optima = optimum_ms(&world, None, &mut |rounds| done.push(rounds)).unwrap();
    assert_eq!(done, (1..=1000).collect::<Vec<usize>>());
    assert!(optima.iter().all(|optimum| optimum.to_bits() == optima[0].to_bits()));
}

#[test]
fn round_is_solved_again_if_any_input_differs() {
    let mut world = small(&[100.0, 1000.0], &[50.0, 50.0], 0.0);
    world.legacy = vec![true, false];
    let changes: [fn(&mut Round); 5] = [
        |round| round.demand_rps[1] = 2000.0,
        |round| round.capacity_rps[0] = 25.0,
        |round| round.alive[0] = false,
        |round| round.rtt_ms[(1, 1)] = 2.0,
        |round| round.egress_usd_per_gb[(1, 1)] = 0.1,
    ];
    for change in changes {
        let mut changed = world.rounds[0].clone();
        change(&mut changed);
        world.rounds = vec![world.rounds[0].clone(), changed];
        let optima = solved(&world, None);
        assert!((optima[0] - 1.0).abs() < 1e-5 && (optima[1] - 1.0).abs() > 1e-3, "{optima:?}");
    }
}

/// Returns shares in proportion to capacity. Sources without an agent use the nearest exporter.
fn proportional(world: &World, round: &Round) -> Matrix<f64> {
    let all: f64 = round.capacity_rps.iter().sum();
    let nearest = |i: usize| {
        let alive = (0..world.size()).filter(|&j| round.alive[j]);
        alive.min_by(|&a, &b| round.rtt_ms[(i, a)].total_cmp(&round.rtt_ms[(i, b)]))
    };
    let share = |i: usize, j: usize| {
        if world.legacy[i] { f64::from(u8::from(nearest(i) == Some(j))) } else { round.capacity_rps[j] / all }
    };
    Matrix::from_fn(world.size(), share)
}

#[test]
fn headroom_costs_and_no_policy_that_serves_all_requests_is_cheaper() {
    let mut compared = 0;
    for seed in 0..12_u64 {
        let mut world = World::expand(&generate(seed, 1 + usize::try_from(seed).unwrap() % 6));
        world.rounds = world.rounds.into_iter().step_by(20).collect();
        let (with, without) = (solved(&world, Some(0.9)), solved(&world, None));
        for (t, round) in world.rounds.iter().enumerate() {
            assert!(with[t] >= without[t] * (1.0 - 1e-6), "seed {seed}, round {t}: {} < {}", with[t], without[t]);
            let judgment = judgment(&world, t, &proportional(&world, round));
            if judgment.rejected <= 0.0 {
                compared += 1;
                assert!(judgment.cost_ms >= without[t] * (1.0 - 1e-6), "seed {seed}, round {t}: {judgment:?}");
            }
        }
    }
    assert!(compared > 10, "{compared}");
}
