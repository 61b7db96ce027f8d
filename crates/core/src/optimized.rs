//! The rule of the optimised mode: the own row of the plan of all, and what each share comes from.

use std::collections::BTreeMap;

use crate::name::ClusterId;
use crate::optimize::fill::fallback_row;
use crate::optimize::report::{Known, Method};
use crate::optimize::standby::{Turn, turns};
use crate::optimize::{Solution, Unsolved, optimize, weights};
use crate::policy::{LocalPreference, Mode, Policy};
use crate::rule::{Candidate, Fallback, NOMINAL_TOTAL, Reason, Rule};
use crate::snapshot::Export;

/// What a share comes from: the lower the sum of the three costs in ms, the more of its capacity a candidate gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// `None`: nobody knows a way there.
    pub latency_ms: Option<f64>,
    /// The price of a request, exchanged for time.
    pub price_ms: Option<f64>,
    pub usd_per_million: Option<f64>,
    pub service_ms: f64,
    /// What a request waits there on average, by the model.
    pub wait_ms: f64,
    /// What a request more costs those that are served there already.
    pub congestion_ms: f64,
    pub capacity_rps: f64,
    /// As all clusters together plan it; above 1 in an overload.
    pub utilisation: f64,
}

/// What `policy` gives each of `exports` for the clients of `local`. When nothing can be computed now, the nominal weights
/// of `previous` stay, and without any, all share equally.
pub fn optimized(
    policy: &Policy,
    known: &Known,
    (local, exports): (&ClusterId, &BTreeMap<ClusterId, Export>),
    previous: Option<&Rule>,
) -> Rule {
    let planned = match known.method {
        Method::Joint => optimize(&known.facts, &policy.objective.tuning, &BTreeMap::new())
            .map(|solution| Planned::joint(&solution, known, policy, local)),
        Method::Fallback => fallback_row(&known.facts, local, &BTreeMap::new(), &policy.objective.tuning)
            .map(|row| Planned { turns: first_turns(&row), terms: BTreeMap::new() }),
        Method::Keep => Ok(Planned::default()),
    };
    let kept = || previous.filter(|rule| rule.mode == Mode::Optimized).map(Planned::of).unwrap_or_default();
    let (planned, fallback) = match (planned, known.method) {
        (Err(Unsolved::NobodyEligible), _) => (kept(), Some(Fallback::NoCapacity)),
        (Err(Unsolved::Unbalanced { .. }), _) => (kept(), Some(Fallback::Unsolved)),
        (Ok(_), Method::Keep) => (kept(), Some(Fallback::NoFacts)),
        (Ok(planned), Method::Fallback) => (planned, Some(Fallback::DemandsUnexplained)),
        (Ok(planned), Method::Joint) => (planned, demand_unknown(known)),
    };
    let prefers_local = policy.local_preference() == LocalPreference::Prefer && exports.contains_key(local);
    let candidate = |cluster: &ClusterId| {
        let preferred = prefers_local && cluster == local;
        let (turn, basis) = match preferred {
            true => (Turn { tier: 0, nominal: NOMINAL_TOTAL }, Reason::Local),
            false => planned.turn(cluster),
        };
        Candidate {
            cluster: cluster.clone(),
            priority: turn.tier.saturating_add(u8::from(prefers_local && !preferred)),
            nominal: turn.nominal,
            floor: policy.min_shares.get(cluster),
            basis,
            terms: planned.terms.get(cluster).copied(),
        }
    };
    let mode = if planned.turns.is_empty() { Mode::RoundRobin } else { Mode::Optimized };
    Rule { mode, fallback, policy: policy.name.clone(), candidates: exports.keys().map(candidate).collect() }
}

fn demand_unknown(known: &Known) -> Option<Fallback> {
    known.facts.sources.values().all(|source| source.demand_rps <= 0.0).then_some(Fallback::DemandUnknown)
}

/// The turns of the eligible, and the terms that are known.
#[derive(Debug, Default)]
struct Planned {
    turns: BTreeMap<ClusterId, Turn>,
    terms: BTreeMap<ClusterId, Terms>,
}

impl Terms {
    /// Until a request is answered, as far as it is known.
    pub fn answered_ms(&self) -> Option<f64> {
        Some(self.latency_ms? + self.service_ms + self.wait_ms)
    }
}

impl Planned {
    fn joint(solution: &Solution, known: &Known, policy: &Policy, local: &ClusterId) -> Self {
        let explained = solution.explain(&known.facts, local);
        let turns = turns(&explained, policy.objective.tuning.epsilon_ms, NOMINAL_TOTAL);
        let clusters = explained.iter().map(|terms| terms.exporter.cluster.clone());
        let turns = clusters.zip(turns).collect();
        let terms = explained.iter().map(|terms| {
            let planned = terms.exporter;
            let load_rps = planned.load_rps + planned.residual_rps;
            let terms = Terms {
                latency_ms: terms.way.map(|way| way.latency_ms),
                price_ms: terms.way.map(|way| way.price_ms),
                usd_per_million: terms.way.map(|way| policy.objective.rate.exchanged(way.price_ms)),
                service_ms: planned.service_ms,
                wait_ms: planned.wait_ms,
                congestion_ms: planned.congestion_price_ms,
                capacity_rps: planned.capacity_rps,
                utilisation: load_rps / planned.capacity_rps,
            };
            (planned.cluster.clone(), terms)
        });
        Self { turns, terms: terms.collect() }
    }

    fn of(rule: &Rule) -> Self {
        let behind_local = u8::from(rule.candidates.iter().any(|known| known.basis == Reason::Local));
        let tier = |known: &Candidate| known.priority.saturating_sub(behind_local);
        let turn = |known: &Candidate| Turn { tier: tier(known), nominal: known.nominal };
        let turns = rule.candidates.iter().map(|known| (known.cluster.clone(), turn(known)));
        let terms = rule.candidates.iter().filter_map(|known| Some((known.cluster.clone(), known.terms?)));
        Self { turns: turns.collect(), terms: terms.collect() }
    }

    fn turn(&self, cluster: &ClusterId) -> (Turn, Reason) {
        match self.turns.get(cluster) {
            Some(&turn) => (turn, Reason::Optimized),
            None if self.turns.is_empty() => (Turn { tier: 0, nominal: 1 }, Reason::Equal),
            None => (Turn::default(), Reason::NoCapacity),
        }
    }
}

/// Of a row whose tail says nothing: at least 1, so that a candidate with a share can be told from one without.
fn first_turns(row: &BTreeMap<ClusterId, f64>) -> BTreeMap<ClusterId, Turn> {
    let shares: Vec<f64> = row.values().copied().collect();
    let turn = |nominal: u32| Turn { tier: 0, nominal: nominal.max(1) };
    row.keys().cloned().zip(weights(&shares, NOMINAL_TOTAL).into_iter().map(turn)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::optimize::cost::UnitCost;
    use crate::optimize::objective::Objective;
    use crate::optimize::report::{Report, facts};
    use crate::policy::MinShares;
    use crate::resolve::{Health, resolve};

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    /// Three clusters in a line, 10 ms from one to the next.
    fn known(reports: [Report; 3]) -> Known {
        let names = ["a", "b", "c"];
        let way = |i: usize, j: usize| UnitCost { latency_ms: 10.0 * i.abs_diff(j) as f64, price_ms: 0.0 };
        let row = |i| (0..3).map(|j| (id(names[j]), way(i, j))).collect::<BTreeMap<_, _>>();
        let costs = (0..3).map(|i| (id(names[i]), Arc::new(row(i)))).collect();
        let reports = names.into_iter().map(id).zip(reports).collect();
        facts(&reports, &costs, |_| true, (&Objective::default(), 0))
    }

    fn report(demand_rps: f64, capacity_rps: f64) -> Report {
        Report { demand_rps: Some(demand_rps), capacity_rps: Some(capacity_rps), ..Report::default() }
    }

    fn exports() -> BTreeMap<ClusterId, Export> {
        ["a", "b", "c"].map(|name| (id(name), Export::default())).into()
    }

    fn rule(policy: &Policy, reports: [Report; 3], previous: Option<&Rule>) -> Rule {
        optimized(policy, &known(reports), (&id("a"), &exports()), previous)
    }

    fn policy() -> Policy {
        Policy { mode: Mode::Optimized, ..Policy::default() }
    }

    /// The weights while all are healthy but those.
    fn weights_without(rule: &Rule, dead: &[&str]) -> Vec<u32> {
        let health =
            |cluster: &ClusterId| if dead.contains(&cluster.as_str()) { Health::NotReady } else { Health::Ready };
        resolve(rule, health).into_iter().map(|share| share.weight).collect()
    }

    #[test]
    fn clients_stay_near_while_there_is_room_and_the_next_nearest_takes_over() {
        let rule = rule(&policy(), [report(100.0, 1000.0); 3], None);
        assert_eq!((rule.mode, rule.fallback), (Mode::Optimized, None));
        assert_eq!(weights_without(&rule, &[]), [1000, 0, 0]);
        assert_eq!(weights_without(&rule, &["a"]), [0, 1000, 0], "without a new plan");
        assert_eq!(weights_without(&rule, &["a", "b"]), [0, 0, 1000]);
    }

    #[test]
    fn what_does_not_fit_spills_over_and_every_share_says_why() {
        let rule = rule(&policy(), [report(1500.0, 1000.0), report(0.0, 1000.0), report(0.0, 1000.0)], None);
        let weights = weights_without(&rule, &[]);
        assert!(weights[0] > weights[1] && weights[1] > 10 * weights[2] && weights[2] > 0, "{weights:?}");
        let terms: Vec<Terms> = rule.candidates.iter().map(|candidate| candidate.terms.unwrap()).collect();
        assert!(terms[0].congestion_ms > terms[1].congestion_ms, "the near one is the fuller");
        let cost = |terms: &Terms| terms.latency_ms.unwrap() + terms.congestion_ms;
        assert!((cost(&terms[0]) - cost(&terms[1])).abs() < 1.0, "both cost the same in the end");
        assert!(terms[0].utilisation < 0.95 && terms[0].utilisation > terms[1].utilisation);
    }

    #[test]
    fn a_minimum_share_and_local_preference_hold_here_too() {
        let min_shares = MinShares::new(BTreeMap::from([(id("c"), 100)])).unwrap();
        let kept = rule(&Policy { min_shares, ..policy() }, [report(100.0, 1000.0); 3], None);
        assert_eq!(weights_without(&kept, &[]), [900, 0, 100]);
        let local = Policy { local_preference: Some(LocalPreference::Prefer), ..policy() };
        let full = [report(1500.0, 1000.0), report(0.0, 1000.0), report(0.0, 1000.0)];
        let preferred = rule(&local, full, None);
        assert_eq!(weights_without(&preferred, &[]), [1000, 0, 0]);
        let spilled = weights_without(&preferred, &["a"]);
        assert!(spilled[0] == 0 && spilled[1] > 900, "the others as they would be without the preference: {spilled:?}");
    }

    #[test]
    fn who_has_no_capacity_gets_nothing() {
        let rule = rule(&policy(), [report(100.0, 0.0), report(100.0, 1000.0), report(100.0, 1000.0)], None);
        assert_eq!(weights_without(&rule, &[]), [0, 1000, 0]);
        assert_eq!(rule.candidates[0].basis, Reason::NoCapacity);
    }

    #[test]
    fn without_any_capacity_the_weights_from_before_stay_and_without_those_all_share_alike() {
        let local = Policy { local_preference: Some(LocalPreference::Prefer), ..policy() };
        for policy in [policy(), local] {
            let before = rule(&policy, [report(1500.0, 1000.0), report(0.0, 1000.0), report(0.0, 1000.0)], None);
            let nobody = [report(1500.0, 0.0); 3];
            let once = rule(&policy, nobody, Some(&before));
            let twice = rule(&policy, nobody, Some(&once));
            for kept in [&once, &twice] {
                assert_eq!((kept.mode, kept.fallback), (Mode::Optimized, Some(Fallback::NoCapacity)));
                let turns = |rule: &Rule| -> Vec<(u8, u32)> {
                    rule.candidates.iter().map(|candidate| (candidate.priority, candidate.nominal)).collect()
                };
                assert_eq!(turns(kept), turns(&before));
            }
            let alike = rule(&policy, nobody, None);
            assert_eq!((alike.mode, alike.fallback), (Mode::RoundRobin, Some(Fallback::NoCapacity)));
        }
        assert_eq!(weights_without(&rule(&policy(), [report(1.0, 0.0); 3], None), &[]), [334, 333, 333]);
    }

    #[test]
    fn an_unknown_demand_is_assumed_and_said_to_be() {
        let silent = Report { demand_rps: None, ..report(0.0, 1000.0) };
        let rule = rule(&policy(), [silent; 3], None);
        assert_eq!((rule.mode, rule.fallback), (Mode::Optimized, Some(Fallback::DemandUnknown)));
        assert_eq!(weights_without(&rule, &[]), [1000, 0, 0]);
    }
}
