//! Builds facts from matrices of numbers, and numbers from a seed.

#![allow(dead_code, unreachable_pub, reason = "each test and the benchmark use their part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::name::ClusterId;
use landfall_core::optimize::cost::UnitCost;
use landfall_core::optimize::facts::{Exporter, Facts, Source};

/// Returns an id; ids have the order of their numbers.
pub fn id(i: usize) -> ClusterId {
    ClusterId::new(&format!("c{i:03}")).unwrap()
}

/// One service: capacity and residual of each exporter, demand and costs of each source. Clusters are named by [`id`].
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    pub capacity: Vec<f64>,
    pub residual: Vec<f64>,
    pub demand: Vec<f64>,
    /// Costs by source; infinite without a path.
    pub cost: Vec<Vec<f64>>,
}

impl Fleet {
    pub fn facts(&self) -> Facts {
        self.facts_named(id, id)
    }

    pub fn facts_named(&self, exporter: impl Fn(usize) -> ClusterId, source: impl Fn(usize) -> ClusterId) -> Facts {
        let residual = |j| self.residual.get(j).copied().unwrap_or(0.0);
        let export = |(j, &capacity_rps)| {
            (exporter(j), Exporter { capacity_rps, residual_rps: residual(j), ..Exporter::default() })
        };
        let costs = |row: &[f64]| -> BTreeMap<ClusterId, UnitCost> {
            let paths = row.iter().enumerate().filter(|(_, cost)| **cost < f64::INFINITY);
            paths.map(|(j, &latency_ms)| (exporter(j), UnitCost { latency_ms, price_ms: 0.0 })).collect()
        };
        let source_facts =
            |(i, &demand_rps)| (source(i), Source { demand_rps, counted: true, costs: costs(&self.cost[i]).into() });
        Facts {
            exporters: self.capacity.iter().enumerate().map(export).collect(),
            sources: Arc::new(self.demand.iter().enumerate().map(source_facts).collect()),
            demand_unknown: true,
        }
    }
}

/// SplitMix64: the same numbers on every machine, without a dependency.
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    pub fn index(&mut self, below: usize) -> usize {
        usize::try_from(self.next() % below as u64).unwrap()
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    pub fn many(&mut self, n: usize, mut make: impl FnMut(&mut Self) -> f64) -> Vec<f64> {
        (0..n).map(|_| make(self)).collect()
    }
}

/// Returns a small and odd instance: 1–14 × 1–14, capacities 5…3·10⁴, load 0.05–100 ×, costs up to 3·10⁴ apart.
pub fn random_fleet(rng: &mut Rng) -> Fleet {
    let (n, m) = (1 + rng.index(14), 1 + rng.index(14));
    let capacity = rng.many(m, |rng| 10_f64.powf(rng.between(0.7, 4.5)));
    let demand = rng.many(n, |rng| if rng.chance(0.2) { 0.0 } else { 10_f64.powf(rng.between(-3.0, 4.0)) });
    let load = rng.pick(&[0.05, 0.5, 0.8, 0.89, 1.0, 3.0, 100.0]) * capacity.iter().sum::<f64>();
    let all = demand.iter().sum::<f64>().max(1e-6);
    let demand = demand.iter().map(|demand| demand / all * load).collect();
    let range = 10_f64.powf(rng.between(0.0, 4.5));
    let cost = (0..n).map(|_| rng.many(m, |rng| rng.between(0.0, range))).collect();
    let residual = capacity.iter().map(|c| if rng.chance(0.2) { c * rng.between(-0.5, 0.9) } else { 0.0 }).collect();
    Fleet { capacity, residual, demand, cost }
}

/// Returns clusters on a map: latency by distance, capacities of three sizes, a few large sources.
pub fn spread_fleet(n: usize, utilization: f64, rng: &mut Rng) -> Fleet {
    let place: Vec<(f64, f64)> = (0..n).map(|_| (rng.unit(), rng.unit())).collect();
    let distance = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).hypot(a.1 - b.1);
    let mut path = |i: usize, j: usize| {
        1.0 + 120.0 * distance(place[i], place[j]) + if i == j { 0.0 } else { rng.between(0.0, 4.0) }
    };
    let cost = (0..n).map(|i| (0..n).map(|j| path(i, j)).collect()).collect();
    let capacity = rng.many(n, |rng| 500.0 * rng.pick(&[1.0, 2.0, 4.0]));
    let demand = rng.many(n, |rng| (1.0 - rng.unit()).powf(-1.0 / 1.5) - 0.8);
    let (load, all) = (utilization * capacity.iter().sum::<f64>(), demand.iter().sum::<f64>());
    let demand = demand.iter().map(|demand| demand / all * load).collect();
    Fleet { capacity, residual: Vec::new(), demand, cost }
}
