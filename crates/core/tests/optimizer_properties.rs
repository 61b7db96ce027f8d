//! Properties of the optimizer that hold for all facts. Tests are named after their targets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fleet;

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::{Fleet, Rng, id, random_fleet, spread_fleet};
use landfall_core::apportion::TOTAL_WEIGHT;
use landfall_core::name::ByCluster;
use landfall_core::optimize::congestion::{Curve, curves};
use landfall_core::optimize::cost::UnitCost;
use landfall_core::optimize::facts::{Exporter, Facts, Source, Tuning};
use landfall_core::optimize::fill::{Bin, fallback_row, water_fill};
use landfall_core::optimize::{Solution, SolveError, solve_jointly, weights};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Total of the finest weights that are used (xDS). A wrong rounding shows there first.
const FINEST_WEIGHT: u32 = 10_000;

fn cold(facts: &Facts, tuning: &Tuning) -> Solution {
    solve_jointly(facts, tuning, &ByCluster::new()).unwrap()
}

fn all_weights(solution: &Solution, total: u32) -> Vec<Vec<u32>> {
    solution.rows.iter().map(|row| weights(&row.shares, total)).collect()
}

/// Returns the curves of [`solve_jointly`] for a fleet in which every source reaches every exporter.
fn curves_of(fleet: &Fleet, tuning: &Tuning) -> Vec<Curve> {
    let width =
        |row: &Vec<f64>| row.iter().copied().fold(0.0, f64::max) - row.iter().copied().fold(f64::INFINITY, f64::min);
    let range = fleet.cost.iter().map(width).fold(0.0, f64::max);
    let shape = landfall_core::optimize::congestion::Shape {
        target_utilization: tuning.target_utilization,
        burstiness: tuning.burstiness,
    };
    curves(&fleet.capacity, shape, range, 1.0)
}

/// Returns the largest violation of the optimality conditions, computed from the facts: of the balance of the
/// exporters, in requests per second, and of the softmax form of the rows, in ms.
fn kkt(fleet: &Fleet, tuning: &Tuning, solution: &Solution) -> (f64, f64) {
    let mut balance = 0.0_f64;
    for (j, curve) in curves_of(fleet, tuning).iter().enumerate() {
        let load: f64 = solution.rows.iter().zip(&fleet.demand).map(|(row, demand)| demand * row.shares[j]).sum();
        let planned = &solution.exporters[j];
        let off = solution.servable * load + planned.residual_rps - curve.load_rps(planned.congestion_price_ms);
        balance = balance.max(off.abs());
    }
    let all: f64 = fleet.capacity.iter().sum();
    let mut form = 0.0_f64;
    for (row, costs) in solution.rows.iter().zip(&fleet.cost) {
        // c_ij + φ_j + ε·ln(p_ij/q_j) is the same for all exporters with a share.
        let level = |j: usize| {
            let prior = fleet.capacity[j] / all;
            costs[j] + solution.exporters[j].congestion_price_ms + tuning.epsilon_ms * (row.shares[j] / prior).ln()
        };
        let levels: Vec<f64> = (0..costs.len()).filter(|&j| row.shares[j] > 1e-12).map(level).collect();
        let (low, high) = levels.iter().fold((f64::MAX, f64::MIN), |(low, high), l| (low.min(*l), high.max(*l)));
        form = form.max((high - low) / (1.0 + high.abs()));
    }
    (balance, form)
}

fn assert_rows_are_shares(solution: &Solution) {
    for row in &solution.rows {
        assert!(row.shares.iter().all(|share| (0.0..=1.0).contains(share)), "{row:?}");
        assert!((row.shares.iter().sum::<f64>() - 1.0).abs() <= 1e-12, "{row:?}");
    }
}

#[test]
fn t_3_eight_thousand_random_instances_are_solved_cold_and_warm() {
    let mut rng = Rng(3);
    let (mut most_cold, mut most_warm) = (0, 0);
    for case in 0..8000 {
        let mut fleet = random_fleet(&mut rng);
        let tuning = Tuning { epsilon_ms: rng.pick(&[0.25, 0.5, 2.0, 10.0]), ..Tuning::default() };
        let first = cold(&fleet.facts(), &tuning);
        fleet.demand.iter_mut().for_each(|demand| *demand *= rng.between(0.9, 1.1));
        let moved = solve_jointly(&fleet.facts(), &tuning, &first.prices()).unwrap();
        for solution in [&first, &moved] {
            assert_rows_are_shares(solution);
            let load: f64 = solution.exporters.iter().map(|planned| solution.servable * planned.load_rps).sum();
            let background: f64 = solution.exporters.iter().map(|planned| planned.residual_rps.abs()).sum();
            assert!(solution.residual_rps <= 1e-6 * (load + background).max(1e-9), "case {case}: {fleet:?}");
        }
        most_cold = most_cold.max(first.newton_steps);
        most_warm = most_warm.max(moved.newton_steps);
    }
    println!("Newton steps: at most {most_cold} cold, {most_warm} warm");
    assert!(most_cold <= 150 && most_warm <= 150, "{most_cold} cold, {most_warm} warm");
}

#[test]
fn the_optimality_conditions_hold_up_to_a_hundred_clusters() {
    let mut rng = Rng(100);
    let tuning = Tuning::default();
    for (n, utilization) in [(1, 0.5), (2, 0.88), (8, 0.6), (20, 0.8), (50, 0.75), (50, 0.88), (100, 0.7), (100, 0.95)]
    {
        let fleet = spread_fleet(n, utilization, &mut rng);
        let solution = cold(&fleet.facts(), &tuning);
        let load: f64 = fleet.demand.iter().sum();
        let (balance, form) = kkt(&fleet, &tuning, &solution);
        println!("{n:>3} at {utilization}: {:.1e} of the load, {form:.1e} of the level", balance / load);
        assert!(balance <= 1e-10 * load && form <= 1e-10, "{n}: {balance} {form}");
        assert_rows_are_shares(&solution);
    }
}

/// Weak duality: no plan, for ε = 0, costs less than D(φ) = Σ λ_i·min_j(c_ij + φ_j) − Σ Φ*_j(φ_j). So the cost of a
/// plan over D bounds how far it is from the optimum, without a solver for that. The prices for D are those of a small
/// ε, which are nearly the best ones.
#[test]
fn t_4_the_plan_costs_at_most_half_a_percent_more_than_the_optimum() {
    let mut rng = Rng(4);
    let tuning = Tuning::default();
    for (n, utilization) in [(3, 0.6), (8, 0.65), (8, 0.85), (10, 0.88), (20, 0.75), (50, 0.75), (50, 0.88)] {
        let fleet = spread_fleet(n, utilization, &mut rng);
        let solution = cold(&fleet.facts(), &tuning);
        let sharp = cold(&fleet.facts(), &Tuning { epsilon_ms: 0.01, ..tuning });
        let prices: Vec<f64> = sharp.exporters.iter().map(|planned| planned.congestion_price_ms).collect();
        let curves = curves_of(&fleet, &tuning);
        let mut loads = vec![0.0; n];
        let (mut cost, mut bound) = (0.0, 0.0);
        for ((row, costs), demand) in solution.rows.iter().zip(&fleet.cost).zip(&fleet.demand) {
            let priced = (0..n).map(|j| costs[j] + prices[j]);
            bound += demand * priced.fold(f64::INFINITY, f64::min);
            for j in 0..n {
                loads[j] += demand * row.shares[j];
                cost += demand * row.shares[j] * costs[j];
            }
        }
        for (j, curve) in curves.iter().enumerate() {
            let at_price = curve.load_rps(prices[j]);
            cost += total_ms(curve, loads[j]);
            bound -= prices[j] * at_price - total_ms(curve, at_price);
        }
        println!("{n:>3} at {utilization}: at most {:.5} times the optimum", cost / bound);
        assert!((1.0 - 1e-12..=1.005).contains(&(cost / bound)), "{n}: {cost} {bound}");
    }
}

#[test]
fn t_3_no_exporter_is_overloaded_while_the_demand_fits() {
    let mut rng = Rng(33);
    let tuning = Tuning::default();
    for case in 0..500 {
        let mut fleet = random_fleet(&mut rng);
        fleet.residual.clear();
        let load = tuning.target_utilization * rng.unit() * fleet.capacity.iter().sum::<f64>();
        let all: f64 = fleet.demand.iter().sum();
        if all <= 0.0 {
            continue;
        }
        fleet.demand.iter_mut().for_each(|demand| *demand *= load / all);
        for planned in cold(&fleet.facts(), &tuning).exporters {
            assert!(planned.load_rps <= 0.925 * planned.capacity_rps * (1.0 + 1e-9), "case {case}: {planned:?}");
        }
    }
}

#[test]
fn t_2_water_filling_is_exact() {
    let mut rng = Rng(2);
    for case in 0..300 {
        let m = 1 + rng.index(12);
        let capacity = rng.many(m, |rng| 10_f64.powf(rng.between(0.7, 4.5)));
        let all: f64 = capacity.iter().sum();
        let fleet = Fleet { cost: vec![rng.many(m, |rng| rng.between(0.0, 300.0))], capacity, ..Fleet::default() };
        let curves = curves_of(&fleet, &Tuning::default());
        let bin = |(j, curve): (usize, &Curve)| Bin {
            cost_ms: fleet.cost[0][j],
            curve: *curve,
            background_rps: if rng.chance(0.5) { curve.capacity_rps() * rng.between(-0.5, 0.9) } else { 0.0 },
            portion: rng.between(0.01, 1.0),
        };
        let bins: Vec<Bin> = curves.iter().enumerate().map(bin).collect();
        let demand = all * rng.between(0.01, 1.5);
        let filled = water_fill(&bins, demand);
        assert!((filled.loads_rps.iter().sum::<f64>() / demand - 1.0).abs() < 1e-9, "case {case}");
        let near = 1e-6 * (1.0 + filled.level_ms);
        for (bin, load) in bins.iter().zip(&filled.loads_rps) {
            let total = bin.background_rps + load / bin.portion;
            let marginal = bin.cost_ms + bin.curve.marginal_ms(total.max(0.0));
            let used = *load > 1e-9 * demand;
            assert!(marginal >= filled.level_ms - near, "case {case}: {bin:?} has room at {marginal}");
            assert!(!used || marginal <= filled.level_ms + near, "case {case}: {bin:?} is overfull at {marginal}");
        }
        let more = water_fill(&bins, 1.1 * demand);
        let grows = filled.loads_rps.iter().zip(&more.loads_rps).all(|(less, more)| *more >= less * (1.0 - 1e-9));
        assert!(grows && more.level_ms >= filled.level_ms - near, "case {case}: more demand, and less load somewhere");
    }
}

/// Returns the cost of all sources together, for loads `sent[i][j]`.
fn system_cost(fleet: &Fleet, curves: &[Curve], sent: &[Vec<f64>]) -> f64 {
    let paths: f64 = sent.iter().zip(&fleet.cost).flat_map(|(x, c)| x.iter().zip(c)).map(|(x, c)| x * c).sum();
    let load = |j: usize| sent.iter().map(|row| row[j]).sum::<f64>();
    paths + curves.iter().enumerate().map(|(j, curve)| total_ms(curve, load(j))).sum::<f64>()
}

/// Returns Φ(y): in closed form up to the target, k·C·ρ²/(1−ρ), and a parabola from there.
fn total_ms(curve: &Curve, load: f64) -> f64 {
    let capacity = curve.capacity_rps();
    let kink = capacity * Tuning::default().target_utilization;
    let below = load.min(kink);
    let (rho, excess) = (below / capacity, (load - kink).max(0.0));
    let k = curve.marginal_ms(capacity / 2.0) / 3.0;
    capacity * k * rho * rho / (1.0 - rho) + excess * (curve.marginal_ms(kink) + curve.marginal_ms(kink + excess)) / 2.0
}

#[test]
fn t_12_fallback_never_raises_the_total_cost_whichever_sources_move() {
    let mut rng = Rng(12);
    let mut worst = f64::MIN;
    for _ in 0..120 {
        let (n, m) = (1 + rng.index(7), 1 + rng.index(7));
        let range = 10_f64.powf(rng.between(0.5, 2.5));
        let mut fleet = Fleet {
            capacity: rng.many(m, |rng| 10_f64.powf(rng.between(1.5, 3.5))),
            residual: Vec::new(),
            demand: rng.many(n, |rng| rng.between(0.01, 1.0)),
            cost: (0..n).map(|_| rng.many(m, |rng| rng.between(0.0, range))).collect(),
        };
        let load =
            fleet.capacity.iter().sum::<f64>() * rng.pick(&[0.3, 0.7, 0.9, 1.2]) / fleet.demand.iter().sum::<f64>();
        fleet.demand.iter_mut().for_each(|demand| *demand *= load);
        let tuning = Tuning { fallback_theta: rng.pick(&[0.1, 0.3, 0.6, 1.0]), ..Tuning::default() };
        let curves = curves_of(&fleet, &tuning);
        let spread = |demand: &f64| {
            let row = rng.many(m, |rng| rng.between(0.01, 1.0));
            let all: f64 = row.iter().sum();
            row.iter().map(|part| part / all * demand).collect()
        };
        let mut sent: Vec<Vec<f64>> = fleet.demand.iter().map(spread).collect();
        for _ in 0..25 {
            let before = system_cost(&fleet, &curves, &sent);
            sent = fallback_round(&fleet, &tuning, sent, |_| rng.chance(0.5));
            worst = worst.max((system_cost(&fleet, &curves, &sent) - before) / before);
        }
    }
    println!("worst relative rise in 3000 rounds: {worst:.1e}");
    // The ramp of a row is derived from its own range, which can be smaller than that of the fleet. This matters only
    // above the target utilization, and was not seen there.
    assert!(worst <= 1e-9, "{worst}");
}

fn fallback_round(
    fleet: &Fleet,
    tuning: &Tuning,
    sent: Vec<Vec<f64>>,
    mut moves: impl FnMut(usize) -> bool,
) -> Vec<Vec<f64>> {
    let mut facts = fleet.facts();
    for (j, exporter) in facts.exporters.iter_mut().map(|(_, exporter)| exporter).enumerate() {
        exporter.measured_rps = sent.iter().map(|row| row[j]).sum();
    }
    let moved = |(i, row): (usize, Vec<f64>)| {
        if !moves(i) {
            return row;
        }
        let own = row.iter().enumerate().map(|(j, &sent)| (id(j), sent)).collect();
        let shares = fallback_row(&facts, &id(i), &own, tuning).unwrap();
        shares.values().map(|share| share * fleet.demand[i]).collect()
    };
    sent.into_iter().enumerate().map(moved).collect()
}

#[test]
fn t_12_one_source_alone_is_at_the_optimum_after_one_round() {
    let mut rng = Rng(121);
    for _ in 0..50 {
        let m = 1 + rng.index(8);
        let capacity = rng.many(m, |rng| 10_f64.powf(rng.between(1.5, 3.5)));
        let demand = 0.6 * capacity.iter().sum::<f64>();
        let fleet = Fleet {
            capacity,
            demand: vec![demand],
            cost: vec![rng.many(m, |rng| rng.between(0.0, 100.0))],
            ..Fleet::default()
        };
        let start = rng.many(m, |_| demand / m as f64);
        let once = fallback_round(&fleet, &Tuning::default(), vec![start], |_| true).remove(0);
        let bin = |(j, curve)| Bin { cost_ms: fleet.cost[0][j], curve, background_rps: 0.0, portion: 1.0 };
        let bins: Vec<Bin> = curves_of(&fleet, &Tuning::default()).into_iter().enumerate().map(bin).collect();
        for (actual, exact) in once.iter().zip(water_fill(&bins, demand).loads_rps) {
            assert!((actual - exact).abs() < 1e-5 * demand, "{once:?}");
        }
    }
}

#[test]
fn t_15_weights_add_up_and_are_within_one_part_of_the_share() {
    let mut rng = Rng(15);
    for total in [10, TOTAL_WEIGHT, FINEST_WEIGHT] {
        for _ in 0..2000 {
            let n = 1 + rng.index(100);
            let parts = rng.many(n, |rng| rng.unit().powi(8));
            let all: f64 = parts.iter().sum();
            let shares: Vec<f64> = parts.iter().map(|part| part / all).collect();
            let weights = weights(&shares, total);
            assert_eq!(weights.iter().sum::<u32>(), total);
            for (share, weight) in shares.iter().zip(weights) {
                assert!((share - f64::from(weight) / f64::from(total)).abs() < 1.0 / f64::from(total));
            }
        }
    }
}

#[test]
fn invalid_shares_still_give_weights() {
    assert_eq!(weights(&[], 1000), []);
    assert_eq!(weights(&[0.0, f64::NAN, -1.0], 1000), [0, 0, 0]);
    assert_eq!(weights(&[0.0, 1e-300, f64::INFINITY], 1000), [0, 1000, 0]);
    assert_eq!(weights(&[1e300, 1e300], 1000), [500, 500]);
}

#[test]
fn t_18_a_warm_start_has_the_weights_of_a_cold_one() {
    let mut rng = Rng(18);
    let tuning = Tuning::default();
    for case in 0..1000 {
        let symmetric = case % 2 == 0;
        let mut fleet = if symmetric { random_fleet(&mut rng) } else { spread_fleet(1 + rng.index(12), 0.8, &mut rng) };
        if symmetric {
            // Equal clusters are where ties are.
            fleet.capacity.fill(100.0);
            fleet.residual.clear();
            fleet.cost.iter_mut().for_each(|row| row.iter_mut().for_each(|cost| *cost = (*cost / 10.0).round()));
        }
        let expected = all_weights(&cold(&fleet.facts(), &tuning), FINEST_WEIGHT);
        let mut yesterday = fleet.clone();
        yesterday.demand.iter_mut().for_each(|demand| *demand *= rng.between(0.5, 2.0));
        let prices = cold(&yesterday.facts(), &tuning).prices();
        let warm = solve_jointly(&fleet.facts(), &tuning, &prices).unwrap();
        assert_eq!(all_weights(&warm, FINEST_WEIGHT), expected, "case {case}: {fleet:?}");
        let again = solve_jointly(&fleet.facts(), &tuning, &warm.prices()).unwrap();
        assert_eq!(all_weights(&again, FINEST_WEIGHT), expected, "case {case}: {fleet:?}");
    }
}

#[test]
fn prices_of_another_fleet_or_absurd_ones_are_only_a_start() {
    let fleet = spread_fleet(6, 0.8, &mut Rng(6));
    let tuning = Tuning::default();
    let expected = all_weights(&cold(&fleet.facts(), &tuning), FINEST_WEIGHT);
    for price in [f64::NAN, f64::INFINITY, -1e300, 1e11, -1e11, 0.0] {
        let prices = (0..6).map(|j| (id(j), price)).collect();
        let solution = solve_jointly(&fleet.facts(), &tuning, &prices).unwrap();
        assert_eq!(all_weights(&solution, FINEST_WEIGHT), expected, "{price}");
    }
}

/// Shuffles the facts into the maps, and renames the clusters so that their order changes.
#[test]
fn t_18_order_of_facts_changes_no_bit_and_order_of_names_no_weight() {
    let mut rng = Rng(181);
    let tuning = Tuning::default();
    for _ in 0..100 {
        let n = 2 + rng.index(12);
        let fleet = spread_fleet(n, 0.85, &mut rng);
        let facts = fleet.facts();
        let mut order: Vec<usize> = (0..n).collect();
        (1..n).rev().for_each(|i| order.swap(i, rng.index(i + 1)));
        let expected = cold(&facts, &tuning);

        let mut shuffled = Facts::default();
        for i in order.iter().map(|&i| id(i)) {
            shuffled.exporters.insert(i.clone(), facts.exporters[&i]);
            let costs: BTreeMap<_, _> = order.iter().map(|&j| (id(j), facts.sources[&i].costs[&id(j)])).collect();
            let source = Source { costs: costs.into(), ..facts.sources[&i].clone() };
            Arc::make_mut(&mut shuffled.sources).insert(i, source);
        }
        let bits = |solution: &Solution| -> Vec<u64> {
            solution.rows.iter().flat_map(|row| &row.shares).map(|share| share.to_bits()).collect()
        };
        assert_eq!(bits(&cold(&shuffled, &tuning)), bits(&expected));

        let renamed = cold(&fleet.facts_named(|j| id(order[j]), |i| id(order[i])), &tuning);
        for (i, row) in expected.rows.iter().enumerate() {
            let other = renamed.row(&id(order[i])).unwrap();
            let (weights, others) = (weights(&row.shares, FINEST_WEIGHT), weights(&other.shares, FINEST_WEIGHT));
            (0..n).for_each(|j| assert_eq!(weights[j], others[order[j]], "{fleet:?}"));
        }
    }
}

#[test]
fn without_capacity_there_is_no_plan_and_no_panic() {
    let tuning = Tuning::default();
    let none = ByCluster::new();
    assert_eq!(solve_jointly(&Facts::default(), &tuning, &none), Err(SolveError::NoCapacity));
    let fleet =
        Fleet { capacity: vec![0.0, f64::NAN], demand: vec![1.0], cost: vec![vec![1.0, 1.0]], ..Fleet::default() };
    assert_eq!(solve_jointly(&fleet.facts(), &tuning, &none), Err(SolveError::NoCapacity));
    assert_eq!(fallback_row(&fleet.facts(), &id(0), &none, &tuning), Err(SolveError::NoCapacity));
    let no_source = Fleet { capacity: vec![10.0], ..Fleet::default() };
    assert_eq!(cold(&no_source.facts(), &tuning).rows, []);
}

#[test]
fn single_cluster_gets_all_and_an_unknown_demand_counts_as_half_of_the_capacity() {
    let tuning = Tuning::default();
    let alone = Fleet { capacity: vec![10.0], demand: vec![1e6], cost: vec![vec![3.0]], ..Fleet::default() };
    assert_eq!(weights(&cold(&alone.facts(), &tuning).rows[0].shares, 1000), [1000]);

    let near = vec![vec![0.0, 30.0], vec![30.0, 0.0]];
    let idle = Fleet { capacity: vec![100.0, 100.0], demand: vec![0.0, 0.0], cost: near, ..Fleet::default() };
    let solution = cold(&idle.facts(), &tuning);
    assert!(solution.exporters.iter().all(|planned| (planned.load_rps - 50.0).abs() < 1e-6), "{solution:?}");
    let known = cold(&Facts { demand_unknown: false, ..idle.facts() }, &tuning);
    assert!(known.exporters.iter().all(|planned| planned.load_rps < 1e-3), "no demand at all: {known:?}");
    assert_eq!(all_weights(&known, 1000), [[1000, 0], [0, 1000]], "and a first request is served nearby");
}

#[test]
fn unreachable_exporter_gets_no_share_unless_all_are_unreachable() {
    let tuning = Tuning::default();
    let away = f64::INFINITY;
    let fleet = Fleet {
        capacity: vec![100.0, 100.0, 100.0],
        residual: Vec::new(),
        demand: vec![50.0, 120.0, 10.0],
        cost: vec![vec![0.0, away, away], vec![0.0, 10.0, away], vec![away, away, away]],
    };
    let solution = cold(&fleet.facts(), &tuning);
    let weights = all_weights(&solution, 1000);
    assert_eq!(weights[0], [1000, 0, 0]);
    assert_eq!(weights[1][2], 0);
    assert_eq!(weights[2].iter().sum::<u32>(), 1000);
    assert!(weights[2][2] > 900, "without any known path, the idle exporter gets most: {weights:?}");
    assert!(solution.exporters[..2].iter().all(|planned| planned.load_rps < 92.5), "{solution:?}");
    assert_eq!(solution.explain(&fleet.facts(), &id(1))[2].path_cost, None);
}

#[test]
fn overload_is_shared_in_proportion() {
    let mut fleet = spread_fleet(6, 1.3, &mut Rng(8));
    fleet.residual = vec![10.0, 0.0, 0.0, -5.0, 0.0, 0.0];
    let solution = cold(&fleet.facts(), &Tuning::default());
    let full: Vec<f64> = solution
        .exporters
        .iter()
        .map(|planned| (solution.servable * planned.load_rps + planned.residual_rps) / planned.capacity_rps)
        .collect();
    let (least, most) = full.iter().fold((f64::MAX, 0.0_f64), |(least, most), u| (least.min(*u), most.max(*u)));
    assert!(most - least < 0.01 && (solution.servable - 0.98 / 1.3).abs() < 0.01, "{full:?}");
    assert!((solution.shed - (1.0 - 0.9 / 1.3)).abs() < 1e-9, "{}", solution.shed);
}

/// Generates numbers of measurements, and every value that a float can hold.
fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => 0.0..1000.0,
        2 => any::<f64>(),
        1 => prop::sample::select(vec![0.0, -0.0, -1.0, 1e300, -1e300, 1e-300, f64::MAX, f64::MIN_POSITIVE]),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324, 3.2e10]),
    ]
}

prop_compose! {
    fn any_exporter()(n in vec(any_number(), 5)) -> Exporter {
        Exporter { capacity_rps: n[0], residual_rps: n[1], service_ms: n[2], measured_rps: n[3], deviation: n[4], ..Exporter::default() }
    }
}

prop_compose! {
    fn any_source()(demand_rps in any_number(), costs in btree_map(0..12_usize, (any_number(), any_number()), 0..12)) -> Source {
        let cost = |(j, (latency_ms, price_ms))| (id(j), UnitCost { latency_ms, price_ms });
        Source { demand_rps, counted: true, costs: Arc::new(costs.into_iter().map(cost).collect()) }
    }
}

prop_compose! {
    fn any_facts()(
        exporters in btree_map(0..12_usize, any_exporter(), 0..12),
        sources in btree_map(0..12_usize, any_source(), 0..12),
        demand_unknown in any::<bool>(),
    ) -> Facts {
        Facts {
            exporters: exporters.into_iter().map(|(j, exporter)| (id(j), exporter)).collect(),
            sources: Arc::new(sources.into_iter().map(|(i, source)| (id(i), source)).collect()),
            demand_unknown,
        }
    }
}

prop_compose! {
    fn any_tuning()(n in vec(any_number(), 4), default in any::<bool>()) -> Tuning {
        let nonsense = Tuning {
            target_utilization: n[0], burstiness: n[1], epsilon_ms: n[2], fallback_theta: n[3], ..Tuning::default()
        };
        if default { Tuning::default() } else { nonsense }
    }
}

/// Returns true if a fleet could measure these facts. Capacities below a request in ten seconds are excluded.
fn sane(facts: &Facts) -> bool {
    let sane = |number: f64| (0.0..=1e6).contains(&number);
    let exporter = |e: &Exporter| {
        let capacity = e.capacity_rps <= 0.0 || e.capacity_rps >= 0.1;
        capacity && [e.capacity_rps, e.residual_rps.abs(), e.service_ms].into_iter().all(sane)
    };
    let path = |cost: &UnitCost| sane(cost.latency_ms) && sane(cost.price_ms);
    let source = |source: &Source| sane(source.demand_rps) && source.costs.values().all(path);
    facts.exporters.values().all(exporter) && facts.sources.values().all(source)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_row_is_valid_for_any_facts(
        facts in any_facts(),
        tuning in any_tuning(),
        prices in btree_map(0..12_usize, any_number(), 0..=12),
        sent in btree_map(0..12_usize, any_number(), 0..=12),
    ) {
        let by_id = |numbers: BTreeMap<usize, f64>| -> ByCluster<f64> {
            numbers.into_iter().map(|(j, number)| (id(j), number)).collect()
        };
        match solve_jointly(&facts, &tuning, &by_id(prices)) {
            Ok(solution) => {
                assert_rows_are_shares(&solution);
                prop_assert_eq!(solution.rows.len(), facts.sources.len());
                let numbers = solution.exporters.iter().flat_map(|p| [p.congestion_price_ms, p.load_rps]);
                prop_assert!(numbers.chain([solution.shed, solution.servable]).all(f64::is_finite), "{:?}", solution);
                prop_assert!(solution.rows.iter().all(|row| weights(&row.shares, 1000).iter().sum::<u32>() == 1000));
            }
            Err(SolveError::NoCapacity) => {
                prop_assert!(facts.exporters.values().all(|exporter| exporter.capacity_rps.is_nan() || exporter.capacity_rps < 1e-3));
            }
            // Allowed, and seen once in 100,000 runs, where a number is absurd: the caller keeps the previous plan.
            Err(unsolved @ SolveError::Unbalanced { .. }) => prop_assert!(!sane(&facts), "{unsolved}: {facts:?} {tuning:?}"),
        }
        let sent = by_id(sent);
        for source in facts.sources.keys().chain([&id(50)]) {
            if let Ok(row) = fallback_row(&facts, source, &sent, &tuning) {
                prop_assert!(row.values().all(|share| (0.0..=1.0 + 1e-12).contains(share)), "{row:?}");
                prop_assert!((row.values().sum::<f64>() - 1.0).abs() <= 1e-12, "{row:?}");
            }
        }
    }
}
