//! Cost of the shares in force, and of simpler policies with the same facts.
//!
//! All are estimated with the model of the optimizer: path, service time, and the wait at the load that follows if
//! every source uses the same policy. A queue in overload has no mean, so there is no mean time then.

use std::collections::BTreeMap;

use crate::name::{ByCluster, ClusterId};
use crate::optimize::congestion::{Curve, Shape, curves};
use crate::optimize::facts::{Facts, Tuning};
use crate::optimize::objective::Objective;
use crate::optimize::report::PlanningInput;
use crate::optimize::{PlannedExporter, Solution, solve_jointly};
use crate::resolve::Share;

/// Requests of 30 days at one request per second, in millions.
const MILLIONS_IN_30_DAYS: f64 = 30.0 * 86_400.0 / 1e6;

/// Utilization above which an exporter is overloaded, beyond rounding.
const FULL: f64 = 1.0 + 1e-9;

/// Split of the requests of one source by exporter, as fractions of 1.
pub type Split = ByCluster<f64>;

/// Cost of the requests of some sources.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bill {
    /// Demand of those sources.
    pub demand_rps: f64,
    pub usd_per_million: f64,
    /// Mean time until a response; `None` if some exporter of the fleet is overloaded.
    pub ms: Option<f64>,
    /// Utilization of the fullest exporter, with the load of all sources.
    pub utilization: f64,
}

impl Bill {
    /// Returns the price of 30 days.
    pub fn usd_per_month(&self) -> f64 {
        self.usd_per_million * self.demand_rps * MILLIONS_IN_30_DAYS
    }
}

/// Costs of the clients of one cluster, under three policies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Savings {
    pub in_force: Bill,
    /// Cost if every source shared its requests equally among the exporters it reaches.
    pub round_robin: Bill,
    /// Cost if every source used its own export while that is ready, and otherwise round robin.
    pub local_first: Bill,
}

/// Difference between two costs. Negative if the policy in force costs more, or takes longer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Saved {
    pub usd_per_million: f64,
    pub usd_per_month: f64,
    pub ms: Option<f64>,
}

impl Savings {
    /// Returns the savings against a simpler policy.
    pub fn against(&self, simpler: &Bill) -> Saved {
        Saved {
            usd_per_million: simpler.usd_per_million - self.in_force.usd_per_million,
            usd_per_month: simpler.usd_per_month() - self.in_force.usd_per_month(),
            ms: simpler.ms.zip(self.in_force.ms).map(|(simpler, ours)| simpler - ours),
        }
    }
}

/// Returns the costs of the clients of `local` under `shares` and under simpler policies. Returns `None` if the demand
/// is unknown, no cluster has a weight, or a used path has no known cost.
pub fn savings(input: &PlanningInput, objective: &Objective, local: &ClusterId, shares: &[Share]) -> Option<Savings> {
    let solution = solve_jointly(&input.facts, &objective.tuning, &ByCluster::new()).ok()?;
    savings_with_solution(&solution, input, objective, (local, shares))
}

/// Returns the same as [`savings`], from a joint solution that has been computed already.
pub fn savings_with_solution(
    solution: &Solution,
    input: &PlanningInput,
    objective: &Objective,
    (local, shares): (&ClusterId, &[Share]),
) -> Option<Savings> {
    if input.facts.demand_unknown || !input.facts.sources.get(local).is_some_and(|source| source.counted) {
        return None;
    }
    let model = CostModel::new(&input.facts, objective, solution);
    let sources = || input.facts.sources.keys();
    let mut planned: BTreeMap<ClusterId, Split> =
        sources().filter_map(|source| Some((source.clone(), solution.shares(source)?))).collect();
    planned.insert(local.clone(), split(shares)?);
    let same_policy =
        |split: &dyn Fn(&ClusterId) -> Split| sources().map(|source| (source.clone(), split(source))).collect();
    let bill = |splits: &BTreeMap<ClusterId, Split>| model.bill(splits, |source| source == local);
    Some(Savings {
        in_force: bill(&planned)?,
        round_robin: bill(&same_policy(&|source| round_robin(&input.facts, source)))?,
        local_first: bill(&same_policy(&|source| local_first(&input.facts, source)))?,
    })
}

/// Returns the weights as fractions of 1, or `None` if no cluster has a weight.
pub fn split(shares: &[Share]) -> Option<Split> {
    let total: u32 = shares.iter().map(|share| share.weight).sum();
    let part = |share: &Share| (share.cluster.clone(), f64::from(share.weight) / f64::from(total));
    (total > 0).then(|| shares.iter().filter(|share| share.weight > 0).map(part).collect())
}

/// Returns equal parts for all exporters that the source reaches. A source that reaches none counts as reaching all, as
/// in the solver.
fn round_robin(facts: &Facts, source: &ClusterId) -> Split {
    let costs = facts.sources.get(source).map(|source| &source.costs);
    let reached = |exporter: &&ClusterId| costs.is_some_and(|costs| costs.contains_key(*exporter));
    let mut reachable: Vec<&ClusterId> = facts.exporters.keys().filter(reached).collect();
    if reachable.is_empty() {
        reachable = facts.exporters.keys().collect();
    }
    let part = 1.0 / reachable.len() as f64;
    reachable.into_iter().map(|exporter| (exporter.clone(), part)).collect()
}

fn local_first(facts: &Facts, source: &ClusterId) -> Split {
    match facts.exporters.contains_key(source) {
        true => Split::from_iter([(source.clone(), 1.0)]),
        false => round_robin(facts, source),
    }
}

/// Cost model: estimates the cost of any shares in the fleet of a solution.
#[derive(Debug)]
pub struct CostModel<'a> {
    facts: &'a Facts,
    objective: &'a Objective,
    exporters: BTreeMap<&'a ClusterId, (&'a PlannedExporter, Curve)>,
}

impl<'a> CostModel<'a> {
    /// Returns the model of a solution and its facts.
    pub fn new(facts: &'a Facts, objective: &'a Objective, solution: &'a Solution) -> Self {
        let Tuning { target_utilization, burstiness, .. } = objective.tuning.within_limits();
        let shape = Shape { target_utilization, burstiness };
        let usable: Vec<f64> = solution.exporters.iter().map(|planned| planned.usable_rps).collect();
        // The ramp is not part of a wait, so path costs do not matter here.
        let curves = curves(&usable, shape, 0.0, 1.0);
        let exporters = solution.exporters.iter().zip(curves);
        let exporters = exporters.map(|(planned, curve)| (&planned.cluster, (planned, curve))).collect();
        Self { facts, objective, exporters }
    }

    /// Returns the cost of the sources that are `counted`, while all of `splits` are in force. Returns `None` if a used
    /// path has no known cost, or if there is no such source.
    pub fn bill(&self, splits: &BTreeMap<ClusterId, Split>, counted: impl Fn(&ClusterId) -> bool) -> Option<Bill> {
        let loads = self.loads(splits);
        let (mut weights, mut demand_rps, mut usd, mut ms) = (0.0, 0.0, 0.0, 0.0);
        let counted: Vec<&ClusterId> = splits.keys().filter(|source| counted(source)).collect();
        let any = counted.iter().any(|source| self.demand_rps(source) > 0.0);
        for source in counted {
            // Sources without demand count with the cost of their first requests.
            let weight = if any { self.demand_rps(source) } else { 1.0 };
            if weight > 0.0 {
                let cost = self.cost(source, &splits[source], &loads)?;
                demand_rps += self.demand_rps(source);
                weights += weight;
                usd += weight * cost.usd_per_million;
                ms += weight * cost.ms;
            }
        }
        let utilization = loads.iter().map(|(exporter, load)| self.utilization(exporter, *load)).fold(0.0, f64::max);
        (weights > 0.0).then(|| Bill {
            demand_rps,
            usd_per_million: usd / weights,
            ms: (utilization <= FULL).then(|| ms / weights),
            utilization,
        })
    }

    /// Returns the load of each exporter, without its residual; it may exceed the capacity.
    pub fn loads(&self, splits: &BTreeMap<ClusterId, Split>) -> ByCluster<f64> {
        let mut loads = ByCluster::new();
        for (source, split) in splits {
            let demand_rps = self.demand_rps(source);
            for (exporter, part) in split {
                *loads.entry(exporter.clone()).or_insert(0.0) += demand_rps * part;
            }
        }
        loads
    }

    /// Returns the utilization of an exporter at a load; infinite if it has no capacity.
    pub fn utilization(&self, exporter: &ClusterId, load_rps: f64) -> f64 {
        match self.exporters.get(exporter) {
            Some((planned, _)) => (load_rps + planned.residual_rps) / planned.capacity_rps,
            None if load_rps > 0.0 => f64::INFINITY,
            None => 0.0,
        }
    }

    fn demand_rps(&self, source: &ClusterId) -> f64 {
        self.facts.sources.get(source).map_or(0.0, |source| source.demand_rps.max(0.0))
    }

    fn cost(&self, source: &ClusterId, split: &Split, loads: &ByCluster<f64>) -> Option<Cost> {
        let costs = &self.facts.sources.get(source)?.costs;
        let mut sum = Cost::default();
        for (exporter, part) in split {
            let path = costs.get(exporter)?;
            let load_rps = loads.get(exporter).copied().unwrap_or(0.0);
            let planned = self.exporters.get(exporter);
            let served_ms = planned
                .map_or(0.0, |(planned, curve)| planned.service_ms + curve.wait_ms(load_rps + planned.residual_rps));
            sum.usd_per_million += part * self.objective.rate.exchanged(path.price_ms);
            sum.ms += part * (path.latency_ms + served_ms);
        }
        Some(sum)
    }
}

#[derive(Debug, Default)]
struct Cost {
    usd_per_million: f64,
    ms: f64,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::optimize::cost::UnitCost;
    use crate::optimize::report::{CostMatrix, Report, planning_input};
    use crate::rule::Reason;

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    /// Returns the input of `a` and `b`, 10 ms and 0.5 USD per million requests apart, each with a capacity of 100
    /// requests/s.
    fn input(demands: [Option<f64>; 2], ready: &[&str]) -> PlanningInput {
        let there = UnitCost { latency_ms: 10.0, price_ms: 50.0 };
        let row =
            |own: &str, other: &str| Arc::new(BTreeMap::from([(id(own), UnitCost::default()), (id(other), there)]));
        let costs = CostMatrix::from_iter([(id("a"), row("a", "b")), (id("b"), row("b", "a"))]);
        let report = |demand_rps| Report { demand_rps, capacity_rps: Some(100.0), ..Report::default() };
        let reports = [(id("a"), report(demands[0])), (id("b"), report(demands[1]))].into();
        let ready = |cluster: &ClusterId| ready.contains(&cluster.as_str()).then_some(0.0);
        planning_input(&reports, &costs, ready, (&Objective::default(), 0))
    }

    fn shares(weights: [u32; 2]) -> Vec<Share> {
        let share =
            |(cluster, weight)| Share { cluster: id(cluster), weight, eligible: true, reason: Reason::Optimized };
        ["a", "b"].into_iter().zip(weights).map(share).collect()
    }

    fn of(input: &PlanningInput, weights: [u32; 2]) -> Option<Savings> {
        savings(input, &Objective::default(), &id("a"), &shares(weights))
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn half_full_exporter_has_a_mean_wait_of_one_request_and_round_robin_pays_half_of_the_path() {
        let savings = of(&input([Some(50.0), Some(0.0)], &["a", "b"]), [1000, 0]).unwrap();
        // 10 ms · 0.5/0.5; with 25 requests/s at each 10 ms · 0.25/0.75, and 5 ms of path.
        assert!(near(savings.in_force.ms.unwrap(), 10.0) && near(savings.round_robin.ms.unwrap(), 5.0 + 10.0 / 3.0));
        let saved = savings.against(&savings.round_robin);
        assert!(near(saved.usd_per_million, 0.25) && near(saved.usd_per_month, 0.25 * 50.0 * 2.592), "{saved:?}");
        assert!(near(saved.ms.unwrap(), 10.0 / 3.0 - 5.0), "requests take longer, and the savings say so: {saved:?}");
        assert_eq!(
            savings.against(&savings.local_first),
            Saved { usd_per_million: 0.0, usd_per_month: 0.0, ms: Some(0.0) }
        );
    }

    #[test]
    fn requests_of_other_sources_fill_the_queues_and_are_not_in_the_cost() {
        let savings = of(&input([Some(10.0), Some(60.0)], &["a", "b"]), [0, 1000]).unwrap();
        // b keeps its 60 and gets the 10: 10 ms · 0.7/0.3, and 10 ms of path. Round robin: 35 each, 10 ms · 0.35/0.65.
        assert!((savings.in_force.ms.unwrap() - 10.0 - 70.0 / 3.0).abs() < 1e-3, "{savings:?}");
        assert!(near(savings.in_force.usd_per_million, 0.5) && near(savings.in_force.demand_rps, 10.0));
        assert!(near(savings.round_robin.ms.unwrap(), 5.0 + 3.5 / 0.65));
        assert!(near(savings.local_first.ms.unwrap(), 10.0 / 9.0) && near(savings.local_first.utilization, 0.6));
    }

    #[test]
    fn overloaded_exporter_has_no_mean_time() {
        let savings = of(&input([Some(50.0), Some(120.0)], &["a", "b"]), [1000, 0]).unwrap();
        assert!(savings.local_first.ms.is_none() && near(savings.local_first.utilization, 1.2));
        let saved = savings.against(&savings.local_first);
        assert!(saved.ms.is_none() && near(saved.usd_per_million, 0.0), "the price is known all the same");
        assert!(savings.round_robin.ms.is_some());
    }

    #[test]
    fn without_an_export_of_its_own_local_first_is_round_robin() {
        let savings = of(&input([Some(50.0), Some(0.0)], &["b"]), [0, 1000]).unwrap();
        assert_eq!(savings.local_first, savings.round_robin);
        assert_eq!(savings.in_force, savings.round_robin);
    }

    #[test]
    fn nothing_is_estimated_without_a_known_demand_or_an_exporter() {
        assert_eq!(of(&input([None, Some(1.0)], &["a", "b"]), [1000, 0]), None);
        assert_eq!(of(&input([Some(1.0), Some(1.0)], &["a", "b"]), [0, 0]), None);
        assert_eq!(of(&input([Some(1.0), Some(1.0)], &[]), [1000, 0]), None);
    }
}
