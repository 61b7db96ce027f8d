//! Fuzzes the optimizer with arbitrary reports of a fleet of any size, through all steps of an agent: facts, joint
//! plan, fallback and filters. Rows must be finite and add up to 1, or there must be an error. Another starting point
//! of the solver must give the same weights.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::name::{ByCluster, ClusterId};
use landfall_core::optimize::agent::{Agent, ExportMeasurement, Load};
use landfall_core::optimize::cost::UnitCost;
use landfall_core::optimize::facts::Tuning;
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::{CostMatrix, Method, Report, planning_input};
use landfall_core::optimize::{solve_jointly, weights};
use libfuzzer_sys::fuzz_target;

/// Source of numbers. Returns zeros after the end of the input.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// Returns a number that is plausible in most cases and arbitrary in some.
    fn number(&mut self) -> f64 {
        match self.byte() {
            255 => f64::from_bits(u64::from_le_bytes(std::array::from_fn(|_| self.byte()))),
            254 => [f64::NAN, f64::INFINITY, -1.0, 1e300, 1e-300, -0.0][usize::from(self.byte() % 6)],
            exponent => 10_f64.powi(i32::from(exponent % 16) - 4) * f64::from(self.byte()),
        }
    }

    fn flag(&mut self) -> bool {
        self.byte() % 2 == 0
    }

    fn maybe(&mut self) -> Option<f64> {
        if self.byte() % 4 == 0 { None } else { Some(self.number()) }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let tuning = match input.byte() % 4 {
        0 => Tuning {
            target_utilization: input.number(),
            burstiness: input.number(),
            epsilon_ms: input.number(),
            trim_gain: input.number(),
            trend_gain: input.number(),
            headroom_deviations: input.number(),
            ..Tuning::default()
        },
        _ => Tuning::default(),
    };
    let size = usize::from(input.byte() % 10) + 1;
    let ids: Vec<ClusterId> = (0..size).map(|i| ClusterId::new(&format!("c{i}")).unwrap()).collect();
    let costs: CostMatrix = ids.iter().map(|id| (id.clone(), Arc::new(row(&ids, &mut input)))).collect();
    let mut agents: Vec<Agent> = ids.iter().cloned().map(Agent::new).collect();
    let mut prices = ByCluster::new();
    let mut reports: BTreeMap<ClusterId, Report> = BTreeMap::new();
    for round in 0..3_u64 {
        let now = round * 300 + 1_000_000;
        for (id, agent) in ids.iter().zip(&mut agents) {
            let load_rps = input.number();
            let export = ExportMeasurement {
                load: if input.flag() { Load::Measured(load_rps) } else { Load::Answers(load_rps) },
                nominal_rps: input.number(),
                limit_rps: input.maybe(),
            };
            agent.record_demand(input.number(), now, &tuning);
            agent.compare(export, &ids.iter().map(|id| (id.clone(), input.number())).collect(), now, &tuning);
            let own = agent.report(Some(export), now - u64::from(input.byte()) * 20, &tuning);
            let report = if input.flag() { own } else { any_report(now, &mut input) };
            reports.insert(id.clone(), report);
        }
        let known = planning_input(
            &reports,
            &costs,
            |id| (*id != ids[0] || round != 1).then_some(50.0),
            (&Objective::default(), now),
        );
        let cold = solve_jointly(&known.facts, &tuning, &ByCluster::new());
        let warm = solve_jointly(&known.facts, &tuning, &prices);
        if let (Ok(cold), Ok(warm)) = (&cold, &warm) {
            for (cold, warm) in cold.rows.iter().zip(&warm.rows) {
                let (cold, warm) = (weights(&cold.shares, 1000), weights(&warm.shares, 1000));
                let apart = cold.iter().zip(&warm).map(|(cold, warm)| cold.abs_diff(*warm)).max();
                assert!(apart <= Some(1), "{cold:?} and {warm:?} of {known:?}");
            }
        }
        prices = warm.as_ref().map(|solution| solution.prices()).unwrap_or_default();
        let joint = cold.ok().filter(|_| known.method == Method::Joint);
        for agent in &mut agents {
            let Ok(shares) = agent.decide(&known, joint.as_ref(), now, &tuning) else { continue };
            let sum: f64 = shares.values().sum();
            assert!(shares.values().all(|share| (0.0..=1.0 + 1e-9).contains(share)), "{shares:?}");
            assert!(shares.is_empty() || (sum - 1.0).abs() < 1e-9, "{sum}: {shares:?}");
        }
    }
});

fn row(ids: &[ClusterId], input: &mut Input<'_>) -> BTreeMap<ClusterId, UnitCost> {
    let mut cost =
        |id: &ClusterId| Some((id.clone(), UnitCost { latency_ms: input.maybe()?, price_ms: input.number() }));
    ids.iter().filter_map(&mut cost).collect()
}

fn any_report(now: u64, input: &mut Input<'_>) -> Report {
    Report {
        at: now.wrapping_add(u64::from(input.byte())),
        demand_rps: input.maybe(),
        trend_rps: input.number(),
        measured_demand_rps: input.maybe(),
        capacity_rps: input.maybe(),
        pod_capacity_rps: input.maybe(),
        load_rps: input.maybe(),
        load_from_answers: input.flag(),
        residual_rps: input.number(),
        deviation: input.number(),
        service_ms: input.number(),
        parameter_hash: None,
    }
}
