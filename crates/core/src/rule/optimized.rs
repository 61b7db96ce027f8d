//! The rule of the optimised mode: the own row of the plan of all, and what each share comes from.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::export::Export;
use crate::name::{ByCluster, ClusterId};
use crate::optimize::agent::Expected;
use crate::optimize::facts::{Exporter, Facts, LEAST_CAPACITY_RPS};
use crate::optimize::fill::fallback_row;
use crate::optimize::report::{Known, Method};
use crate::optimize::standby::{Turn, turns};
use crate::optimize::{Solution, Unsolved, optimize};
use crate::policy::{LocalPreference, Mode, Policy};
use crate::rule::{Candidate, Fallback, NOMINAL_TOTAL, Reason, Rule, Terms};

/// What `policy` gives each of `exports` for the clients of `local`. When nothing can be computed now, the nominal weights
/// of `previous` stay, and without any, all share equally. They stay too while the new ones hardly differ. With a hysteresis of
/// 0 nothing stays: each plan stands for itself.
pub fn optimized(
    policy: &Policy,
    known: &Known,
    (local, exports): (&ClusterId, &ByCluster<Export>),
    previous: Option<&Rule>,
) -> Rule {
    let goes_on = policy.objective.tuning.hysteresis > 0.0;
    let before = previous.filter(|rule| goes_on && rule.mode == Mode::Optimized).map(Planned::of).unwrap_or_default();
    let (planned, fallback) = match plan(known, policy, local, &before.prices()) {
        Ok(planned) => {
            let aside = Some(local).filter(|local| !before.turns.contains_key(*local));
            (planned.steadied(&before, aside, policy.objective.tuning.hysteresis), caveat(known))
        }
        Err(why) => (before, Some(why)),
    };
    // Who says that it can serve nothing is promised nothing, unless they all say so.
    let can = |exporter: &Exporter| exporter.capacity_rps >= LEAST_CAPACITY_RPS;
    let anybody = known.facts.exporters.values().any(can);
    let cannot = |cluster: &ClusterId| anybody && known.facts.exporters.get(cluster).is_some_and(|known| !can(known));
    let prefers = policy.local_preference() == LocalPreference::Prefer;
    let prefers_local = prefers && exports.contains_key(local) && !cannot(local);
    let candidate = |cluster: &ClusterId| {
        let preferred = prefers_local && cluster == local;
        let (turn, basis) = match preferred {
            true => (Turn { tier: 0, nominal: NOMINAL_TOTAL }, Reason::Local),
            false => planned.turn(cluster),
        };
        let promised = policy.min_shares.get(cluster);
        Candidate {
            cluster: cluster.clone(),
            priority: turn.tier.saturating_add(u8::from(prefers_local && !preferred)),
            nominal: turn.nominal,
            floor: if cannot(cluster) { 0 } else { promised },
            basis,
            terms: planned.terms.get(cluster).copied(),
        }
    };
    let mode = if planned.turns.is_empty() { Mode::RoundRobin } else { Mode::Optimized };
    Rule {
        mode,
        fallback,
        method: Some(planned.method.unwrap_or(Method::Keep)),
        expected: planned.expected.clone(),
        policy: policy.name.clone(),
        candidates: exports.iter().map(|(cluster, _)| candidate(cluster)).collect(),
    }
}

/// The error: why there is none.
fn plan(known: &Known, policy: &Policy, local: &ClusterId, prices: &ByCluster<f64>) -> Result<Planned, Fallback> {
    if known.method == Method::Keep {
        return Err(Fallback::NoFacts);
    }
    let solve = |facts: &Facts| optimize(facts, &policy.objective.tuning, prices);
    let solution = solve(&known.facts).map_err(|unsolved| match unsolved {
        Unsolved::NobodyEligible => Fallback::NoCapacity,
        Unsolved::Unbalanced { .. } => Fallback::Unsolved,
    })?;
    let mut planned = match (known.method, &known.sent) {
        (Method::Fallback, Some(sent)) => {
            let row = fallback_row(&known.facts, local, sent, &policy.objective.tuning);
            let solution = solution.with_row(local, &row.map_err(|_| Fallback::NoCapacity)?);
            Planned { method: Some(Method::Fallback), ..Planned::joint(&solution, &known.facts, policy, local) }
        }
        // Where nobody counts what was sent, the plan from the demands that are known is at least the same for all.
        _ => Planned {
            method: Some(Method::Joint),
            expected: Some(Arc::new(Expected::new(&solution, local, known))),
            ..Planned::joint(&solution, &known.facts, policy, local)
        },
    };
    // Who cannot answer now has the turn that it will have when it can.
    if let Some(facts) = &known.whole
        && let Ok(solution) = solve(facts)
    {
        for (cluster, turn) in Planned::joint(&solution, facts, policy, local).turns {
            planned.turns.entry(cluster).or_insert(turn);
        }
    }
    Ok(planned)
}

/// What the plan had to do without.
fn caveat(known: &Known) -> Option<Fallback> {
    match known.method {
        _ if known.facts.demand_unknown => Some(Fallback::DemandUnknown),
        Method::Fallback => Some(Fallback::DemandsUnexplained),
        Method::Joint | Method::Keep => None,
    }
}

/// The turns of the eligible, and the terms that are known.
#[derive(Debug, Default)]
struct Planned {
    /// `None`: it was not computed now.
    method: Option<Method>,
    expected: Option<Arc<Expected>>,
    turns: BTreeMap<ClusterId, Turn>,
    terms: BTreeMap<ClusterId, Terms>,
}

impl Planned {
    fn joint(solution: &Solution, facts: &Facts, policy: &Policy, local: &ClusterId) -> Self {
        let explained = solution.explain(facts, local);
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
        Self { turns, terms: terms.collect(), ..Self::default() }
    }

    /// Of a rule: what local preference put into the place of a turn is none.
    fn of(rule: &Rule) -> Self {
        let behind_local = u8::from(rule.candidates.iter().any(|known| known.basis == Reason::Local));
        let tier = |known: &Candidate| known.priority.saturating_sub(behind_local);
        let turn = |known: &Candidate| Turn { tier: tier(known), nominal: known.nominal };
        let planned = rule.candidates.iter().filter(|known| known.basis != Reason::Local);
        let turns = planned.map(|known| (known.cluster.clone(), turn(known)));
        let terms = rule.candidates.iter().filter_map(|known| Some((known.cluster.clone(), known.terms?)));
        Self { turns: turns.collect(), terms: terms.collect(), ..Self::default() }
    }

    /// With the turns of `before`, unless they differ by as much as the hysteresis, or by who has a turn. The cluster that is
    /// `aside`, because it is preferred, had none.
    fn steadied(mut self, before: &Self, aside: Option<&ClusterId>, hysteresis: f64) -> Self {
        let having = |planned: &Self| -> BTreeMap<ClusterId, Turn> {
            let having = planned.turns.iter().filter(|(cluster, turn)| turn.nominal > 0 && Some(*cluster) != aside);
            having.map(|(cluster, turn)| (cluster.clone(), *turn)).collect()
        };
        let (old, new) = (having(before), having(&self));
        let first = |turn: &Turn| if turn.tier == 0 { turn.nominal } else { 0 };
        let moved: u32 = old.values().zip(new.values()).map(|(old, new)| first(old).abs_diff(first(new))).sum();
        let alike = old.values().map(|turn| turn.tier == 0).eq(new.values().map(|turn| turn.tier == 0));
        if alike && old.keys().eq(new.keys()) && f64::from(moved) < hysteresis * f64::from(NOMINAL_TOTAL) {
            self.turns.extend(old);
        }
        self
    }

    /// To start the next solution from.
    fn prices(&self) -> ByCluster<f64> {
        self.terms.iter().map(|(cluster, terms)| (cluster.clone(), terms.congestion_ms)).collect()
    }

    fn turn(&self, cluster: &ClusterId) -> (Turn, Reason) {
        match self.turns.get(cluster) {
            Some(turn) if turn.nominal == 0 => (*turn, Reason::NoCapacity),
            Some(&turn) => (turn, Reason::Optimized),
            None if self.turns.is_empty() => (Turn { tier: 0, nominal: 1 }, Reason::Equal),
            None => (Turn::default(), Reason::NoCapacity),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::optimize::cost::UnitCost;
    use crate::optimize::facts::Tuning;
    use crate::optimize::objective::Objective;
    use crate::optimize::report::{Report, facts};
    use crate::policy::MinShares;
    use crate::resolve::resolve;
    use crate::snapshot::Health;

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
        facts(&reports, &costs, |_| Some(0.0), (&Objective::default(), 0))
    }

    fn report(demand_rps: f64, capacity_rps: f64) -> Report {
        Report { demand_rps: Some(demand_rps), capacity_rps: Some(capacity_rps), ..Report::default() }
    }

    fn exports() -> ByCluster<Export> {
        ["a", "b", "c"].map(|name| (id(name), Export::default())).into_iter().collect()
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
    fn neither_preference_nor_promise_sends_anybody_to_a_capacity_of_nothing() {
        let min_shares = MinShares::new(BTreeMap::from([(id("c"), 100)])).unwrap();
        let local_preference = Some(LocalPreference::Prefer);
        let policy = Policy { min_shares, local_preference, ..policy() };
        let reports = [report(100.0, 0.0), report(100.0, 1000.0), report(100.0, 0.0)];
        assert_eq!(weights_without(&rule(&policy, reports, None), &[]), [0, 1000, 0]);
    }

    #[test]
    fn weights_stay_while_new_ones_hardly_differ() {
        let at = |demand| [report(demand, 1000.0), report(0.0, 1000.0), report(0.0, 1000.0)];
        let before = rule(&policy(), at(1500.0), None);
        let turns = |rule: &Rule| -> Vec<u32> { rule.candidates.iter().map(|candidate| candidate.nominal).collect() };
        assert_eq!(turns(&rule(&policy(), at(1501.0), Some(&before))), turns(&before));
        assert_ne!(turns(&rule(&policy(), at(1700.0), Some(&before))), turns(&before));
        assert_ne!(turns(&rule(&policy(), at(1501.0), None)), turns(&before), "they do differ");
        let local = Policy { local_preference: Some(LocalPreference::Prefer), ..policy() };
        let before = rule(&local, at(1500.0), None);
        assert_eq!(turns(&rule(&local, at(1501.0), Some(&before))), turns(&before));
    }

    #[test]
    fn who_cannot_answer_now_has_its_turn_when_it_comes_back() {
        let mut known = known([report(1500.0, 1000.0), report(0.0, 1000.0), report(0.0, 1000.0)]);
        known.whole = Some(known.facts.clone());
        known.facts.exporters.remove(&id("b"));
        let rule = optimized(&policy(), &known, (&id("a"), &exports()), None);
        let without = weights_without(&rule, &["b"]);
        assert!(without[1] == 0 && without[2] > 300, "{without:?}");
        let back = weights_without(&rule, &[]);
        assert!(back[1] > 200, "before there is a new plan: {back:?}");
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
            let alone = Tuning { hysteresis: 0.0, ..Tuning::default() };
            let alone = Policy { objective: Objective { tuning: alone, ..Objective::default() }, ..policy.clone() };
            assert_eq!(
                rule(&alone, nobody, Some(&before)),
                rule(&alone, nobody, None),
                "what was before does not count"
            );
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
