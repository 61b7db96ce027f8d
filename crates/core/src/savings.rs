//! What the shares in force cost, and what simpler policies would cost with the same facts.
//!
//! All are judged by the optimiser's own model: the way, the service time, and the wait at the load that follows when every
//! source does alike. A queue that is asked for more than it can bear has no mean, so there is no mean time then.

use std::collections::BTreeMap;

use crate::name::{ByCluster, ClusterId};
use crate::optimize::congestion::{Curve, Shape, curves};
use crate::optimize::facts::{Facts, Tuning};
use crate::optimize::objective::Objective;
use crate::optimize::report::Known;
use crate::optimize::{Planned, Solution, optimize};
use crate::resolve::Share;

const MILLIONS_IN_30_DAYS: f64 = 30.0 * 86_400.0 / 1e6;

/// Beyond rounding.
const FULL: f64 = 1.0 + 1e-9;

/// What one source sends where: parts of 1, by exporter.
pub type Split = ByCluster<f64>;

/// What the requests of some sources cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bill {
    /// Of those sources.
    pub demand_rps: f64,
    pub usd_per_million: f64,
    /// Until an answer, on average. `None`: some exporter of the fleet is asked for more than it can bear.
    pub ms: Option<f64>,
    /// Of the fullest exporter, with all sources together.
    pub utilisation: f64,
}

impl Bill {
    /// For 30 days.
    pub fn usd_per_month(&self) -> f64 {
        self.usd_per_million * self.demand_rps * MILLIONS_IN_30_DAYS
    }
}

/// For the clients of one cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Savings {
    pub in_force: Bill,
    /// If every source shared its requests equally among those it reaches.
    pub round_robin: Bill,
    /// If every source kept to its own export while that is ready, and else did as in round-robin.
    pub local_first: Bill,
}

/// How much less one costs than another. Below 0: it costs more, or takes longer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Saved {
    pub usd_per_million: f64,
    pub usd_per_month: f64,
    pub ms: Option<f64>,
}

impl Savings {
    pub fn against(&self, simpler: &Bill) -> Saved {
        Saved {
            usd_per_million: simpler.usd_per_million - self.in_force.usd_per_million,
            usd_per_month: simpler.usd_per_month() - self.in_force.usd_per_month(),
            ms: simpler.ms.zip(self.in_force.ms).map(|(simpler, ours)| simpler - ours),
        }
    }
}

/// Of `shares`, for the clients of `local`. `None`: nobody knows what they ask for, nobody answers, or no way is known to
/// somebody who does.
pub fn savings(known: &Known, objective: &Objective, local: &ClusterId, shares: &[Share]) -> Option<Savings> {
    let solution = optimize(&known.facts, &objective.tuning, &ByCluster::new()).ok()?;
    savings_beside(&solution, known, objective, (local, shares))
}

/// The same, where the plan of all has been computed already.
pub fn savings_beside(
    solution: &Solution,
    known: &Known,
    objective: &Objective,
    (local, shares): (&ClusterId, &[Share]),
) -> Option<Savings> {
    if known.facts.demand_unknown || !known.facts.sources.get(local).is_some_and(|source| source.counted) {
        return None;
    }
    let judge = Judge::new(&known.facts, objective, solution);
    let sources = || known.facts.sources.keys();
    let mut planned: BTreeMap<ClusterId, Split> =
        sources().filter_map(|source| Some((source.clone(), solution.shares(source)?))).collect();
    planned.insert(local.clone(), split(shares)?);
    let alike = |split: &dyn Fn(&ClusterId) -> Split| sources().map(|source| (source.clone(), split(source))).collect();
    let bill = |splits: &BTreeMap<ClusterId, Split>| judge.bill(splits, |source| source == local);
    Some(Savings {
        in_force: bill(&planned)?,
        round_robin: bill(&alike(&|source| round_robin(&known.facts, source)))?,
        local_first: bill(&alike(&|source| local_first(&known.facts, source)))?,
    })
}

/// `None`: nobody has a weight.
pub fn split(shares: &[Share]) -> Option<Split> {
    let whole: u32 = shares.iter().map(|share| share.weight).sum();
    let part = |share: &Share| (share.cluster.clone(), f64::from(share.weight) / f64::from(whole));
    (whole > 0).then(|| shares.iter().filter(|share| share.weight > 0).map(part).collect())
}

/// Who reaches nobody is taken to reach all, as everywhere.
fn round_robin(facts: &Facts, source: &ClusterId) -> Split {
    let costs = facts.sources.get(source).map(|source| &source.costs);
    let reached = |exporter: &&ClusterId| costs.is_some_and(|costs| costs.contains_key(*exporter));
    let mut among: Vec<&ClusterId> = facts.exporters.keys().filter(reached).collect();
    if among.is_empty() {
        among = facts.exporters.keys().collect();
    }
    let part = 1.0 / among.len() as f64;
    among.into_iter().map(|exporter| (exporter.clone(), part)).collect()
}

fn local_first(facts: &Facts, source: &ClusterId) -> Split {
    match facts.exporters.contains_key(source) {
        true => Split::from_iter([(source.clone(), 1.0)]),
        false => round_robin(facts, source),
    }
}

/// Tells what any shares would cost in the fleet of a plan.
#[derive(Debug)]
pub struct Judge<'a> {
    facts: &'a Facts,
    objective: &'a Objective,
    exporters: BTreeMap<&'a ClusterId, (&'a Planned, Curve)>,
}

impl<'a> Judge<'a> {
    /// `facts` are those of the solution.
    pub fn new(facts: &'a Facts, objective: &'a Objective, solution: &'a Solution) -> Self {
        let Tuning { target_utilisation, burstiness, .. } = objective.tuning.within_limits();
        let shape = Shape { target_utilisation, burstiness };
        let usable: Vec<f64> = solution.exporters.iter().map(|planned| planned.usable_rps).collect();
        // The ramp is no part of a wait, so the costs of the ways do not matter here.
        let curves = curves(&usable, shape, 0.0, 1.0);
        let exporters = solution.exporters.iter().zip(curves);
        let exporters = exporters.map(|(planned, curve)| (&planned.cluster, (planned, curve))).collect();
        Self { facts, objective, exporters }
    }

    /// What the requests of the sources cost that are `counted`, while all of `splits` are in force. `None`: no way is known
    /// to somebody who answers them, or there is no such source.
    pub fn bill(&self, splits: &BTreeMap<ClusterId, Split>, counted: impl Fn(&ClusterId) -> bool) -> Option<Bill> {
        let loads = self.loads(splits);
        let (mut weights, mut demand_rps, mut usd, mut ms) = (0.0, 0.0, 0.0, 0.0);
        let counted: Vec<&ClusterId> = splits.keys().filter(|source| counted(source)).collect();
        let any = counted.iter().any(|source| self.demand_rps(source) > 0.0);
        for source in counted {
            // Of sources that ask for nothing, what their first requests would cost.
            let weight = if any { self.demand_rps(source) } else { 1.0 };
            if weight > 0.0 {
                let cost = self.cost(source, &splits[source], &loads)?;
                demand_rps += self.demand_rps(source);
                weights += weight;
                usd += weight * cost.usd_per_million;
                ms += weight * cost.ms;
            }
        }
        let utilisation = loads.iter().map(|(exporter, load)| self.utilisation(exporter, *load)).fold(0.0, f64::max);
        (weights > 0.0).then(|| Bill {
            demand_rps,
            usd_per_million: usd / weights,
            ms: (utilisation <= FULL).then(|| ms / weights),
            utilisation,
        })
    }

    /// What each exporter is asked for, whatever it can bear; without what no plan explains.
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

    /// What of its capacity an exporter needs for such a load; infinite when it has none.
    pub fn utilisation(&self, exporter: &ClusterId, load_rps: f64) -> f64 {
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
            let way = costs.get(exporter)?;
            let load_rps = loads.get(exporter).copied().unwrap_or(0.0);
            let there = self.exporters.get(exporter);
            let there_ms = there
                .map_or(0.0, |(planned, curve)| planned.service_ms + curve.wait_ms(load_rps + planned.residual_rps));
            sum.usd_per_million += part * self.objective.rate.exchanged(way.price_ms);
            sum.ms += part * (way.latency_ms + there_ms);
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
    use crate::optimize::report::{Costs, Report, facts};
    use crate::rule::Reason;

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    /// `a` and `b`, 10 ms and 0.5 USD per million requests apart; each can bear 100 requests/s.
    fn known(demands: [Option<f64>; 2], ready: &[&str]) -> Known {
        let there = UnitCost { latency_ms: 10.0, price_ms: 50.0 };
        let row =
            |own: &str, other: &str| Arc::new(BTreeMap::from([(id(own), UnitCost::default()), (id(other), there)]));
        let costs = Costs::from_iter([(id("a"), row("a", "b")), (id("b"), row("b", "a"))]);
        let report = |demand_rps| Report { demand_rps, capacity_rps: Some(100.0), ..Report::default() };
        let reports = [(id("a"), report(demands[0])), (id("b"), report(demands[1]))].into();
        let ready = |cluster: &ClusterId| ready.contains(&cluster.as_str()).then_some(0.0);
        facts(&reports, &costs, ready, (&Objective::default(), 0))
    }

    fn shares(weights: [u32; 2]) -> Vec<Share> {
        let share =
            |(cluster, weight)| Share { cluster: id(cluster), weight, eligible: true, reason: Reason::Optimized };
        ["a", "b"].into_iter().zip(weights).map(share).collect()
    }

    fn of(known: &Known, weights: [u32; 2]) -> Option<Savings> {
        savings(known, &Objective::default(), &id("a"), &shares(weights))
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn half_full_a_request_waits_for_one_other_and_in_turn_it_pays_half_of_the_way() {
        let savings = of(&known([Some(50.0), Some(0.0)], &["a", "b"]), [1000, 0]).unwrap();
        // 10 ms · 0.5/0.5; of 25 requests/s at each 10 ms · 0.25/0.75, and 5 ms of way.
        assert!(near(savings.in_force.ms.unwrap(), 10.0) && near(savings.round_robin.ms.unwrap(), 5.0 + 10.0 / 3.0));
        let saved = savings.against(&savings.round_robin);
        assert!(near(saved.usd_per_million, 0.25) && near(saved.usd_per_month, 0.25 * 50.0 * 2.592), "{saved:?}");
        assert!(near(saved.ms.unwrap(), 10.0 / 3.0 - 5.0), "it takes longer, and says so: {saved:?}");
        assert_eq!(
            savings.against(&savings.local_first),
            Saved { usd_per_million: 0.0, usd_per_month: 0.0, ms: Some(0.0) }
        );
    }

    #[test]
    fn the_requests_of_others_fill_the_queues_and_are_not_on_the_bill() {
        let savings = of(&known([Some(10.0), Some(60.0)], &["a", "b"]), [0, 1000]).unwrap();
        // b keeps its 60 and gets the 10: 10 ms · 0.7/0.3, and 10 ms of way. In turn: 35 each, 10 ms · 0.35/0.65.
        assert!((savings.in_force.ms.unwrap() - 10.0 - 70.0 / 3.0).abs() < 1e-3, "{savings:?}");
        assert!(near(savings.in_force.usd_per_million, 0.5) && near(savings.in_force.demand_rps, 10.0));
        assert!(near(savings.round_robin.ms.unwrap(), 5.0 + 3.5 / 0.65));
        assert!(near(savings.local_first.ms.unwrap(), 10.0 / 9.0) && near(savings.local_first.utilisation, 0.6));
    }

    #[test]
    fn where_somebody_is_asked_for_more_than_it_can_bear_there_is_no_mean_time() {
        let savings = of(&known([Some(50.0), Some(120.0)], &["a", "b"]), [1000, 0]).unwrap();
        assert!(savings.local_first.ms.is_none() && near(savings.local_first.utilisation, 1.2));
        let saved = savings.against(&savings.local_first);
        assert!(saved.ms.is_none() && near(saved.usd_per_million, 0.0), "what it costs is known all the same");
        assert!(savings.round_robin.ms.is_some());
    }

    #[test]
    fn without_an_export_of_its_own_local_first_is_round_robin() {
        let savings = of(&known([Some(50.0), Some(0.0)], &["b"]), [0, 1000]).unwrap();
        assert_eq!(savings.local_first, savings.round_robin);
        assert_eq!(savings.in_force, savings.round_robin);
    }

    #[test]
    fn nothing_is_estimated_of_an_unknown_demand_or_when_nobody_answers() {
        assert_eq!(of(&known([None, Some(1.0)], &["a", "b"]), [1000, 0]), None);
        assert_eq!(of(&known([Some(1.0), Some(1.0)], &["a", "b"]), [0, 0]), None);
        assert_eq!(of(&known([Some(1.0), Some(1.0)], &[]), [1000, 0]), None);
    }
}
