//! The hand-checkable vectors of target T-1. `vectors/optimizer.json` has them, with the
//! logarithms written out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fleet;

use fleet::{Fleet, id};
use landfall_core::export::Export;
use landfall_core::name::{ByCluster, ClusterId};
use landfall_core::optimize::congestion::{Shape, curves};
use landfall_core::optimize::cost::{Bytes, ExchangeRate, Path, Tariff, unit_cost};
use landfall_core::optimize::facts::Tuning;
use landfall_core::optimize::fill::{Bin, fallback_row, water_fill};
use landfall_core::optimize::filter::{Trim, Window};
use landfall_core::optimize::{solve_jointly, weights};
use landfall_core::policy::{LocalPreference, Mode, Policy, Weight, WeightRow};
use landfall_core::rule::NOMINAL_TOTAL;
use landfall_core::rule::weighted::weighted_rule;
use serde_json::Value;

const TOLERANCE: f64 = 1e-6;

/// Runs `check` on the input and the expectation of every vector of a kind, and asserts their number.
fn each(kind: &str, count: usize, check: impl Fn(&str, &Value, &Value)) {
    let file: Value = serde_json::from_str(include_str!("vectors/optimizer.json")).unwrap();
    assert!((number(&file["tolerance"]) - TOLERANCE).abs() < 1e-15);
    let vectors = file["vectors"].as_array().unwrap().iter().filter(|vector| vector["kind"] == kind);
    let checked =
        vectors.map(|vector| check(vector["id"].as_str().unwrap(), &vector["input"], &vector["expect"])).count();
    assert_eq!(checked, count, "vectors of kind {kind}");
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().map(number).collect()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

fn assert_near(id: &str, what: &str, actual: &[f64], expected: &[f64]) {
    let near = actual.iter().zip(expected).all(|(a, b)| (a - b).abs() <= TOLERANCE * b.abs().max(1.0));
    assert!(near && actual.len() == expected.len(), "{id}: {what} is {actual:?}, not {expected:?}");
}

#[test]
fn t_1_weighted_round_robin() {
    each("weighted-round-robin", 4, |vector, input, expect| {
        let input = input["weights"].as_object().unwrap();
        let cluster = |name: &String| ClusterId::new(name).unwrap();
        let row = input.iter().map(|(name, weight)| (cluster(name), Weight::from(number(weight)))).collect();
        let row = WeightRow::new(None, row);
        if expect["error"].is_string() {
            assert!(row.is_err(), "{vector} was accepted");
            return;
        }
        let local_preference = Some(LocalPreference::Balance);
        let policy =
            Policy { mode: Mode::WeightedRoundRobin, local_preference, rows: vec![row.unwrap()], ..Policy::default() };
        let exports: ByCluster<Export> = input.keys().map(|name| (cluster(name), Export::default())).collect();
        let rule = weighted_rule(&policy, &cluster(&"source".to_owned()), &exports);
        let first = rule.candidates.iter().map(|candidate| candidate.priority).min();
        for candidate in rule.candidates {
            let is_first = Some(candidate.priority) == first;
            let part = if is_first { f64::from(candidate.nominal) / f64::from(NOMINAL_TOTAL) } else { 0.0 };
            let expected = number(&expect["p"][candidate.cluster.as_str()]);
            assert_near(vector, candidate.cluster.as_str(), &[part], &[expected]);
        }
    });
}

#[test]
fn t_1_largest_remainder() {
    each("largest-remainder", 2, |vector, input, expect| {
        let total = u32::try_from(input["W"].as_u64().unwrap()).unwrap();
        let weights: Vec<f64> = weights(&numbers(&input["p"]), total).into_iter().map(f64::from).collect();
        assert_near(vector, "w", &weights, &numbers(&expect["w"]));
    });
}

#[test]
fn t_1_water_filling() {
    each("waterfill", 2, |vector, input, expect| {
        let shape = Shape { target_utilization: number(&input["u"]), burstiness: number(&input["kappa"]) };
        let (costs, demand) = (numbers(&input["c"]), number(&input["lam"]));
        let curves = curves(&numbers(&input["C"]), shape, 120.0, 1.0);
        let bin = |(&cost_ms, curve)| Bin { cost_ms, curve, background_rps: 0.0, portion: 1.0 };
        let bins: Vec<Bin> = costs.iter().zip(curves).map(bin).collect();
        let filled = water_fill(&bins, demand);
        assert_near(vector, "x", &filled.loads_rps, &numbers(&expect["x"]));
        let shares: Vec<f64> = filled.loads_rps.iter().map(|load| load / demand).collect();
        assert_near(vector, "p", &shares, &numbers(&expect["p"]));
        assert_near(vector, "level", &[filled.level_ms], &[number(&expect["waterLevel"])]);
    });
}

#[test]
fn t_1_joint() {
    each("joint", 6, |vector, input, expect| {
        let fleet = Fleet {
            capacity: numbers(&input["C"]),
            residual: numbers(&input["b"]),
            demand: numbers(&input["lam"]),
            cost: rows(&input["c"]),
        };
        let epsilons = input["eps"].as_f64().map_or_else(|| vec![0.1, 0.5, 5.0], |epsilon| vec![epsilon]);
        for epsilon_ms in epsilons {
            let tuning = Tuning { epsilon_ms, ..Tuning::default() };
            let solution = solve_jointly(&fleet.facts(), &tuning, &ByCluster::new()).unwrap();
            for (row, expected) in solution.rows.iter().zip(rows(&expect["p"])) {
                assert_near(vector, row.source.as_str(), &row.shares, &expected);
            }
            let prices: Vec<f64> = solution.exporters.iter().map(|planned| planned.congestion_price_ms).collect();
            let loads: Vec<f64> = solution.exporters.iter().map(|planned| planned.load_rps).collect();
            if expect["phi"].is_array() {
                assert_near(vector, "phi", &prices, &numbers(&expect["phi"]));
            }
            if expect["load"].is_array() {
                assert_near(vector, "load", &loads, &numbers(&expect["load"]));
            }
            assert_near(vector, "servable", &[solution.servable], &[expect["servable"].as_f64().unwrap_or(1.0)]);
            if let Some(shed) = expect["shedToTarget"].as_f64() {
                assert_near(vector, "shed", &[solution.shed], &[shed]);
            }
        }
    });
}

#[test]
fn t_1_fallback() {
    each("hsw", 1, |vector, input, expect| {
        let demand = number(&input["lam"]);
        let fleet = Fleet {
            capacity: numbers(&input["C"]),
            residual: Vec::new(),
            demand: vec![demand],
            cost: vec![numbers(&input["c"])],
        };
        let mut facts = fleet.facts();
        for (exporter, measured) in
            facts.exporters.iter_mut().map(|(_, exporter)| exporter).zip(numbers(&input["yRef"]))
        {
            exporter.measured_rps = measured;
        }
        let sent = numbers(&input["xRef"]).into_iter().enumerate().map(|(j, sent)| (id(j), sent)).collect();
        let tuning = Tuning { fallback_theta: number(&input["theta"]), ..Tuning::default() };
        let shares: Vec<f64> = fallback_row(&facts, &id(0), &sent, &tuning).unwrap().values().copied().collect();
        assert_near(vector, "p", &shares, &numbers(&expect["p"]));
        let loads: Vec<f64> = shares.iter().map(|share| share * demand).collect();
        assert_near(vector, "x", &loads, &numbers(&expect["x"]));
    });
}

#[test]
fn t_1_trim() {
    each("trim", 2, |vector, input, expect| {
        let tuning = Tuning {
            trim_gain: number(&input["beta"]),
            trim_dead_band: number(&input["deadband"]),
            ..Tuning::default()
        };
        assert!(number(&input["bOld"]).abs() < 1e-300);
        let capacity_rps = number(&input["C"]);
        let window =
            Window { measured_rps: number(&input["measured"]), planned_rps: number(&input["planned"]), capacity_rps };
        let trim = Trim::default().step(window, &tuning);
        let actual = [trim.raw_rps(), trim.published_rps(capacity_rps, &tuning)];
        assert_near(vector, "b", &actual, &[number(&expect["bRaw"]), number(&expect["bPublished"])]);
    });
}

#[test]
fn t_1_unit_cost() {
    each("unit-cost", 1, |vector, input, expect| {
        let of = |name: &str| number(&input[name]);
        let path = Path {
            rtt_ms: Some(of("rttMs")),
            jitter_ms: of("jitterMs"),
            loss: of("loss"),
            round_trips: of("roundTrips"),
        };
        let tariff =
            Tariff { to_exporter_usd_per_gb: of("egressToUsdPerGb"), to_source_usd_per_gb: of("egressFromUsdPerGb") };
        let bytes = Bytes { per_request: of("requestBytes"), per_response: of("responseBytes") };
        let usd = tariff.usd_per_million(bytes);
        assert_near(vector, "usdPerMillion", &[usd], &[number(&expect["usdPerMillion"])]);
        let rate = ExchangeRate::usd_per_ms_per_million(of("usdPerMsPerMillion")).unwrap();
        assert_eq!(rate, ExchangeRate::MIXED);
        let cost = unit_cost(path, usd, rate);
        let all = cost.latency_ms + cost.price_ms + of("baseLatencyMs");
        assert_near(vector, "c", &[all], &[number(&expect["c"])]);
    });
}

/// V16, on a fleet of four sources and five exporters.
#[test]
fn t_1_invariances() {
    each("property", 1, |_, _, _| ());
    let mut rng = fleet::Rng(16);
    let fleet = Fleet {
        capacity: rng.many(5, |rng| rng.between(100.0, 300.0)),
        residual: vec![0.0, 20.0, 0.0, -10.0, 0.0],
        demand: rng.many(4, |rng| rng.between(10.0, 100.0)),
        cost: (0..4).map(|_| rng.many(5, |rng| rng.between(10.0, 60.0))).collect(),
    };
    let shares = |fleet: &Fleet, burstiness: f64| -> Vec<Vec<f64>> {
        let tuning = Tuning { burstiness, ..Tuning::default() };
        let solution = solve_jointly(&fleet.facts(), &tuning, &ByCluster::new()).unwrap();
        solution.rows.into_iter().map(|row| row.shares).collect()
    };
    let expected = shares(&fleet, 1.0);

    let mut farther = fleet.clone();
    farther.cost.iter_mut().enumerate().for_each(|(i, row)| row.iter_mut().for_each(|cost| *cost += 7.5 * i as f64));
    let scaled = |values: &[f64]| values.iter().map(|value| 3.0 * value).collect::<Vec<f64>>();
    let larger = Fleet {
        capacity: scaled(&fleet.capacity),
        residual: scaled(&fleet.residual),
        demand: scaled(&fleet.demand),
        cost: fleet.cost.clone(),
    };
    for (what, actual) in [("farther", shares(&farther, 1.0)), ("larger", shares(&larger, 3.0))] {
        for (actual, expected) in actual.iter().zip(&expected) {
            assert_near("V16", what, actual, expected);
        }
    }

    let order = [3, 0, 4, 1, 2];
    let reordered = |values: &[f64]| order.iter().map(|&j| values[j]).collect::<Vec<f64>>();
    let permuted = Fleet {
        capacity: reordered(&fleet.capacity),
        residual: reordered(&fleet.residual),
        demand: fleet.demand.clone(),
        cost: fleet.cost.iter().map(|row| reordered(row)).collect(),
    };
    for (actual, expected) in shares(&permuted, 1.0).iter().zip(&expected) {
        assert_near("V16", "permuted", actual, &reordered(expected));
    }
}
