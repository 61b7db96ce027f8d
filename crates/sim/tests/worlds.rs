//! Worlds of scenarios, and generated scenarios.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use landfall_sim::generate::generate;
use landfall_sim::matrix::Matrix;
use landfall_sim::scenario::{Noise, Scenario, ScenarioEvent, ScenarioMode, ScenarioObjective};
use landfall_sim::trace::Trace;
use landfall_sim::world::{Round, World, egress_usd_per_gb, rtt_ms};

/// Three clusters for a hundred rounds without events.
fn quiet() -> Scenario {
    let text = "
apiVersion: landfall.dev/v1alpha1
kind: Scenario
name: quiet
seed: 7
rounds: 100
clusters: [east, west, south]
rttMs: [[1, 20, 30], [20, 1, 40], [30, 40, 1]]
egressUsdPerGb: [[0, 0.1, 0.2], [0.3, 0, 0.4], [0.5, 0.6, 0]]
service: {capacityRps: [100, 200, 0], baseLatencyMs: [20, 20, 20]}
demandRps: [50, 60, 70]
objective: {mode: mixed}
";
    Scenario::read(text).unwrap()
}

fn with_events(events: Vec<ScenarioEvent>) -> Scenario {
    Scenario { events, ..quiet() }
}

fn with_noise(noise: Noise) -> World {
    World::expand(&Scenario { noise, ..quiet() })
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-9 * expected.abs().max(1.0)
}

fn assert_near(found: f64, expected: f64) {
    assert!(near(found, expected), "{found}, not {expected}");
}

#[test]
fn world_without_noise_equals_the_trace() {
    let names = [
        "A-sym-2",
        "B-ep-3",
        "C-hotspot-8",
        "D-price-6-cost",
        "D-price-6-mixed",
        "D-price-6-performance",
        "E-outage-8",
        "H-overload-6",
        "J-large-50",
        "K-tight-10",
    ];
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    for name in names {
        let scenario = std::fs::read_to_string(folder.join(name).with_extension("yaml")).unwrap();
        let trace = std::fs::read_to_string(folder.join("traces").join(name).with_extension("json")).unwrap();
        let scenario = Scenario::read(&scenario).unwrap();
        let replayed = World::replayed(&scenario, &Trace::read(&trace).unwrap()).unwrap();
        assert!(World::expand(&scenario) == replayed, "{name}");
    }
}

#[test]
fn seed_determines_the_world() {
    let scenario = generate(3, 6);
    let noise = Noise { demand_log_sigma: 0.05, rtt_log_sigma: 0.05, ..Noise::default() };
    let scenario = Scenario { noise, ..scenario };
    assert_eq!(World::expand(&scenario), World::expand(&scenario));
    assert_ne!(World::expand(&scenario).rounds, World::expand(&Scenario { seed: 4, ..scenario }).rounds);
}

/// Returns each kind of noise alone.
fn kinds_of_noise() -> [Noise; 6] {
    let none = Noise::default();
    [
        Noise { demand_log_sigma: 0.1, ..none.clone() },
        Noise { demand_walk_sigma: 0.02, ..none.clone() },
        Noise { demand_pareto_prob: 0.2, demand_pareto_alpha: 2.0, ..none.clone() },
        Noise { demand_exponential_part: 0.3, ..none.clone() },
        Noise { rtt_log_sigma: 0.1, ..none.clone() },
        Noise { rtt_spike_prob: 0.2, rtt_spike_alpha: 2.0, rtt_spike_ms: 10.0, ..none },
    ]
}

fn both(a: &Noise, b: &Noise) -> Noise {
    Noise {
        demand_log_sigma: a.demand_log_sigma + b.demand_log_sigma,
        demand_walk_sigma: a.demand_walk_sigma + b.demand_walk_sigma,
        demand_pareto_prob: a.demand_pareto_prob + b.demand_pareto_prob,
        demand_pareto_alpha: a.demand_pareto_alpha + b.demand_pareto_alpha,
        demand_exponential_part: a.demand_exponential_part + b.demand_exponential_part,
        rtt_log_sigma: a.rtt_log_sigma + b.rtt_log_sigma,
        rtt_spike_prob: a.rtt_spike_prob + b.rtt_spike_prob,
        rtt_spike_alpha: a.rtt_spike_alpha + b.rtt_spike_alpha,
        rtt_spike_ms: a.rtt_spike_ms + b.rtt_spike_ms,
    }
}

/// Asserts that two kinds of noise together have the effect of both: factors multiply, added times add up.
fn assert_independent(first: &Noise, second: &Noise) {
    let [none, one, other, all] =
        [Noise::default(), first.clone(), second.clone(), both(first, second)].map(with_noise);
    for t in 0..none.rounds.len() {
        let [none, one, other, all] = [&none, &one, &other, &all].map(|world| &world.rounds[t]);
        for i in 0..none.demand_rps.len() {
            let [none, one, other, all] = [none, one, other, all].map(|round| round.demand_rps[i]);
            assert_near(all * none, one * other);
        }
        for (i, j) in [(0, 1), (1, 2), (2, 2)] {
            let [none, one, other, all] = [none, one, other, all].map(|round| round.measured_rtt_ms[(i, j)]);
            assert!(near(all * none, one * other) || near(all + none, one + other), "{one}, {other}: {all}");
        }
    }
}

#[test]
fn kinds_of_noise_are_independent() {
    let kinds = kinds_of_noise();
    for (k, first) in kinds.iter().enumerate() {
        for second in &kinds[..k] {
            assert_independent(first, second);
        }
    }
    let mut scenario = quiet();
    (scenario.staleness.rounds, scenario.staleness.per_pair) = (5, true);
    scenario.model_error.demand_report_sigma = 0.1;
    let before = World::expand(&scenario);
    scenario.noise = kinds.iter().fold(Noise::default(), |sum, noise| both(&sum, noise));
    let after = World::expand(&scenario);
    assert_eq!(before.report_factor, after.report_factor);
    assert!(before.rounds.iter().zip(&after.rounds).all(|(before, after)| before.age == after.age));
}

#[test]
fn each_kind_of_noise_has_the_configured_size() {
    let long = |noise: Noise| World::expand(&Scenario { noise, rounds: 5000, ..quiet() });
    let mean = |values: &[f64]| values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap());
    let factors = |world: &World| -> Vec<f64> { world.rounds.iter().map(|round| round.demand_rps[1] / 60.0).collect() };
    let [log, walk, pareto, exponential, rtt, spike] = kinds_of_noise().map(long);

    let logs: Vec<f64> = factors(&log).iter().map(|factor| factor.ln()).collect();
    assert!(mean(&logs).abs() < 0.01);
    let squares: Vec<f64> = logs.iter().map(|log| log * log).collect();
    assert!((mean(&squares).sqrt() - 0.1).abs() < 0.01);

    assert!(factors(&walk).iter().all(|factor| (0.6..=1.6).contains(factor)));
    assert!((factors(&walk)[0] - 1.0).abs() < 0.2, "the walk starts at the demand of the scenario");

    let bursts: Vec<f64> = factors(&pareto).into_iter().filter(|factor| *factor > 1.0).collect();
    assert!((900..1100).contains(&bursts.len()), "a fifth of 5000: {}", bursts.len());
    assert!(bursts.iter().all(|factor| *factor <= 3.0));

    assert!((mean(&factors(&exponential)) - 1.0).abs() < 0.02);
    assert!(factors(&exponential).iter().all(|factor| *factor >= 0.7));

    let measured =
        |world: &World| -> Vec<f64> { world.rounds.iter().map(|round| round.measured_rtt_ms[(0, 1)]).collect() };
    assert!((mean(&measured(&rtt)) - 20.0).abs() < 0.5);
    let spikes = measured(&spike).into_iter().filter(|ms| *ms > 20.0).count();
    assert!((900..1100).contains(&spikes), "a fifth of 5000: {spikes}");
    assert!(measured(&spike).iter().all(|ms| *ms < 20.0 + 1e-9 || *ms > 21.0 - 1e-9), "a spike has a minimum size");
    let steady = |world: &World| world.rounds.iter().all(|round| round.rtt_ms == log.rounds[0].rtt_ms);
    assert!(steady(&rtt) && steady(&spike), "noise changes only measured times");
}

#[test]
fn ages_are_equal_or_random_per_pair() {
    let mut scenario = quiet();
    scenario.staleness.rounds = 3;
    assert!(World::expand(&scenario).rounds.iter().all(|round| round.age == Matrix::filled(3, 3)));
    scenario.staleness.per_pair = true;
    let world = World::expand(&scenario);
    let seen: BTreeSet<usize> =
        world.rounds.iter().flat_map(|round| round.age.rows().flatten().copied().collect::<Vec<_>>()).collect();
    assert_eq!(seen, BTreeSet::from([0, 1, 2, 3]));
    assert!(world.per_pair && world.staleness == 3);
}

fn demand(events: Vec<ScenarioEvent>) -> impl Fn(usize, usize) -> f64 {
    let world = World::expand(&with_events(events));
    move |t, i| world.rounds[t].demand_rps[i]
}

#[test]
fn burst_ramps_up_stays_and_drops_back() {
    let burst = |ramp_rounds| {
        demand(vec![ScenarioEvent::DemandScale {
            cluster: "west".into(),
            factor: 3.0,
            from_round: 10,
            to_round: 20,
            ramp_rounds,
        }])
    };
    let west = burst(4);
    for (t, factor) in [(9, 1.0), (10, 1.5), (11, 2.0), (13, 3.0), (19, 3.0), (20, 1.0)] {
        assert_near(west(t, 1), 60.0 * factor);
        assert_near(west(t, 0), 50.0);
    }
    assert_near(burst(1)(10, 1), 180.0);
    assert_near(burst(0)(10, 1), 180.0);
}

#[test]
fn peak_is_a_bell_curve_around_its_round() {
    let peak = |width_rounds| {
        demand(vec![ScenarioEvent::Peak { cluster: "west".into(), factor: 2.0, at_round: 50.0, width_rounds }])
    };
    let west = peak(5.0);
    assert_near(west(50, 1), 120.0);
    assert_near(west(55, 1), 60.0 * (1.0 + (-0.5_f64).exp()));
    assert_near(west(45, 1), west(55, 1));
    assert!(west(0, 1) < 60.0 + 1e-9);
    assert_near(west(50, 0), 50.0);
    let needle = peak(0.0);
    assert_near(needle(50, 1), 60.0);
    assert_near(needle(49, 1), 60.0);
}

#[test]
fn diurnal_peak_moves_from_east_to_west() {
    let longitude = vec![0.0, 90.0, -90.0];
    let sun = demand(vec![ScenarioEvent::Diurnal { amplitude: 0.5, period_rounds: 80.0, longitude }]);
    for (i, base, noon) in [(0, 50.0, 20), (1, 60.0, 0), (2, 70.0, 40)] {
        assert_near(sun(noon, i), base * 1.5);
        assert_near(sun(noon + 40, i), base * 0.5);
    }
}

#[test]
fn cluster_in_an_outage_has_no_capacity_and_is_not_alive() {
    let scenario = with_events(vec![ScenarioEvent::Outage { cluster: "west".into(), from_round: 3, to_round: 5 }]);
    let world = World::expand(&scenario);
    let of = |t: usize| (world.rounds[t].alive.clone(), world.rounds[t].advertised_rps.clone());
    assert_eq!(of(2), (vec![true, true, false], vec![100.0, 200.0, 0.0]));
    assert_eq!(of(3), (vec![true, false, false], vec![100.0, 0.0, 0.0]));
    assert_eq!(of(4), of(3));
    assert_eq!(of(5), of(2));
}

fn changed(before: &Matrix<f64>, after: &Matrix<f64>) -> Vec<(usize, usize)> {
    let cells = (0..before.size()).flat_map(|i| (0..before.size()).map(move |j| (i, j)));
    cells.filter(|&cell| !near(before[cell], after[cell])).collect()
}

#[test]
fn price_changes_for_the_named_clusters_and_rounds() {
    let change = |from: Option<&str>, to: Option<&str>| {
        let (from, to) = (from.map(str::to_owned), to.map(str::to_owned));
        let event = ScenarioEvent::PriceChange { from, to, usd_per_gb: 9.0, from_round: 10, to_round: 20 };
        let scenario = with_events(vec![event]);
        let before = egress_usd_per_gb(&scenario, 9);
        let after = egress_usd_per_gb(&scenario, 10);
        assert_eq!(before, egress_usd_per_gb(&scenario, 20));
        let changed = changed(&before, &after);
        assert!(changed.iter().all(|&cell| near(after[cell], 9.0)));
        changed
    };
    assert_eq!(change(Some("east"), Some("west")), [(0, 1)]);
    assert_eq!(change(Some("east"), None), [(0, 1), (0, 2)]);
    assert_eq!(change(None, Some("east")), [(1, 0), (2, 0)]);
    assert_eq!(change(None, None).len(), 6, "traffic within a cluster is free");
}

#[test]
fn disruption_affects_both_directions() {
    let disrupt = |to: Option<&str>| {
        let (from, to) = ("east".to_owned(), to.map(str::to_owned));
        let event = ScenarioEvent::RttDisruption { from, to, factor: 2.0, add_ms: 5.0, from_round: 10, to_round: 20 };
        let scenario = with_events(vec![event]);
        let (before, after) = (rtt_ms(&scenario, 9), rtt_ms(&scenario, 10));
        assert_eq!(before, rtt_ms(&scenario, 20));
        let changed = changed(&before, &after);
        assert!(changed.iter().all(|&cell| near(after[cell], 2.0 * before[cell] + 5.0)), "once each");
        assert_eq!(World::expand(&scenario).rounds[10].measured_rtt_ms, after, "the probes see it");
        changed
    };
    assert_eq!(disrupt(Some("west")), [(0, 1), (1, 0)]);
    assert_eq!(disrupt(None), [(0, 1), (0, 2), (1, 0), (2, 0)]);
    assert_eq!(disrupt(Some("east")), [], "there is no path from a cluster to itself");
}

#[test]
fn published_values_differ_from_true_values() {
    let mut scenario = quiet();
    let error = &mut scenario.model_error;
    error.true_capacity_factor.insert("west".into(), 0.75);
    error.background_rps.insert("east".into(), 12.0);
    error.legacy_nearest = vec!["south".into()];
    let world = World::expand(&scenario);
    assert_eq!(world.rounds[0].advertised_rps, [100.0, 200.0, 0.0]);
    assert_eq!(world.rounds[0].capacity_rps, [100.0, 150.0, 0.0]);
    assert_eq!(world.background_rps, [12.0, 0.0, 0.0]);
    assert_eq!(world.legacy, [false, false, true]);
    assert_eq!(world.report_factor, [1.0, 1.0, 1.0]);
    assert_near(world.usd_per_ms_per_million, 0.01);
}

fn is_finite(round: &Round) -> bool {
    let lists = [&round.demand_rps, &round.advertised_rps, &round.capacity_rps];
    let matrices = [&round.rtt_ms, &round.measured_rtt_ms, &round.egress_usd_per_gb];
    let mut values = lists.into_iter().flatten().chain(matrices.into_iter().flat_map(Matrix::rows).flatten());
    values.all(|value| value.is_finite() && *value >= 0.0)
}

#[test]
fn invalid_scenario_expands_to_a_finite_world() {
    let mut scenario = quiet();
    scenario.demand_rps.truncate(1);
    scenario.service.capacity_rps.clear();
    scenario.service.base_latency_ms.clear();
    scenario.rtt_ms = vec![vec![1.0]];
    scenario.egress_usd_per_gb.clear();
    scenario.events = vec![
        ScenarioEvent::Outage { cluster: "nowhere".into(), from_round: 9, to_round: 3 },
        ScenarioEvent::DemandScale { cluster: "east".into(), factor: -5.0, from_round: 0, to_round: 9, ramp_rounds: 0 },
        ScenarioEvent::Peak { cluster: "east".into(), factor: 2.0, at_round: 0.0, width_rounds: 0.0 },
        ScenarioEvent::Diurnal { amplitude: 9.0, period_rounds: 0.0, longitude: vec![] },
        ScenarioEvent::Diurnal { amplitude: 9.0, period_rounds: 9.0, longitude: vec![1.0] },
    ];
    scenario.noise = kinds_of_noise().iter().fold(Noise::default(), both_of);
    scenario.noise.demand_log_sigma = 1e9;
    scenario.noise.rtt_log_sigma = 1e9;
    scenario.noise.rtt_spike_alpha = 0.0;
    scenario.noise.demand_pareto_alpha = 0.0;
    let world = World::expand(&scenario);
    assert_eq!(world.rounds.len(), 100);
    assert!(world.rounds.iter().all(is_finite));
    assert!(
        World::expand(&Scenario { clusters: vec![], ..scenario }).rounds.iter().all(|round| round.alive.is_empty())
    );
}

fn both_of(a: Noise, b: &Noise) -> Noise {
    both(&a, b)
}

#[test]
fn generated_scenarios_are_valid_finite_and_survive_yaml() {
    for seed in 0..200 {
        for size in 1..=30 {
            let scenario = generate(seed, size);
            assert_eq!(scenario.validate(), Ok(()), "seed {seed}, {size} clusters");
            assert_eq!(scenario.clusters.len(), size);
        }
        let scenario = generate(seed, 1 + usize::try_from(seed).unwrap() % 30);
        let yaml = serde_saphyr::to_string(&scenario).unwrap();
        assert_eq!(Scenario::read(&yaml).unwrap(), scenario, "seed {seed}");
        assert!(World::expand(&scenario).rounds.iter().all(is_finite), "seed {seed}");
    }
}

#[test]
fn generated_size_is_clamped() {
    assert_eq!(generate(1, 0).clusters.len(), 1);
    let largest = generate(1, usize::MAX);
    assert_eq!((largest.clusters.len(), largest.validate()), (200, Ok(())));
}

#[test]
fn seed_determines_the_generated_scenario() {
    assert_eq!(generate(5, 9), generate(5, 9));
    assert_ne!(generate(5, 9), Scenario { seed: 5, name: generate(5, 9).name, ..generate(6, 9) });
}

/// Returns the kinds of disturbance in a scenario.
fn kinds(scenario: &Scenario) -> BTreeSet<&'static str> {
    let Scenario { noise, model_error: error, service, .. } = scenario;
    let event = |event: &ScenarioEvent| match event {
        ScenarioEvent::Outage { .. } => "outage",
        ScenarioEvent::DemandScale { to_round, .. } if *to_round == scenario.rounds => "ramp",
        ScenarioEvent::DemandScale { .. } => "burst",
        ScenarioEvent::Peak { .. } => "peak",
        ScenarioEvent::Diurnal { .. } => "diurnal",
        ScenarioEvent::PriceChange { .. } => "price change",
        ScenarioEvent::RttDisruption { .. } => "disruption",
    };
    let mode = |ScenarioObjective { mode, .. }: &ScenarioObjective| match mode {
        ScenarioMode::Performance => "performance",
        ScenarioMode::Mixed => "mixed",
        ScenarioMode::Cost => "cost",
    };
    let flags = [
        ("log noise", noise.demand_log_sigma > 0.0),
        ("walk", noise.demand_walk_sigma > 0.0),
        ("Pareto", noise.demand_pareto_prob > 0.0),
        ("exponential", noise.demand_exponential_part > 0.0),
        ("RTT noise", noise.rtt_log_sigma > 0.0),
        ("RTT spikes", noise.rtt_spike_prob > 0.0),
        ("stale", scenario.staleness.rounds > 0),
        ("wrong capacity", !error.true_capacity_factor.is_empty()),
        ("background", !error.background_rps.is_empty()),
        ("wrong reports", error.demand_report_sigma > 0.0),
        ("legacy", !error.legacy_nearest.is_empty()),
        ("clients only", service.capacity_rps.contains(&0.0)),
    ];
    let flagged = flags.into_iter().filter(|(_, has)| *has).map(|(kind, _)| kind);
    scenario.events.iter().map(event).chain(flagged).chain([mode(&scenario.objective)]).collect()
}

#[test]
fn few_seeds_cover_most_kinds_of_disturbance() {
    let shown = |seeds: u64| -> BTreeSet<&str> { (0..seeds).flat_map(|seed| kinds(&generate(seed, 8))).collect() };
    assert!(shown(10).len() >= 18, "{:?}", shown(10));
    assert_eq!(shown(100).len(), 22, "{:?}", shown(100));
}

#[test]
fn description_names_the_kinds_of_disturbance() {
    for seed in 0..50 {
        let scenario = generate(seed, 8);
        let says = |word: &str| scenario.description.contains(word);
        assert!(scenario.description.starts_with("8 clusters of "), "{}", scenario.description);
        let kinds = kinds(&scenario);
        for (kind, word) in [("outage", " is out "), ("peak", "a peak "), ("burst", "a burst "), ("legacy", "no agent")]
        {
            assert_eq!(kinds.contains(kind), says(word), "{kind}: {}", scenario.description);
        }
    }
}
