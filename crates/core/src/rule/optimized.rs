//! Turns the joint solution into this cluster's rule, with the cost terms of each share.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::export::Export;
use crate::name::{ByCluster, ClusterId};
use crate::optimize::agent::PlannedLoad;
use crate::optimize::facts::{Exporter, Facts, MIN_CAPACITY_RPS};
use crate::optimize::fill::fallback_row;
use crate::optimize::report::{Method, PlanningInput};
use crate::optimize::standby::{Priority, failover_order};
use crate::optimize::{Solution, SolveError, solve_jointly};
use crate::policy::{LocalPreference, Mode, Policy};
use crate::rule::{Candidate, CostTerms, Fallback, NOMINAL_TOTAL, Reason, Rule};

/// Returns the rule for the clients of `local` in optimized mode. The nominal weights of `previous` are kept if no plan
/// can be computed, or if the new ones differ by less than the hysteresis. Without a plan and without previous weights,
/// all exporters share equally. A hysteresis of 0 ignores `previous`.
pub fn optimized_rule(
    policy: &Policy,
    input: &PlanningInput,
    (local, exports): (&ClusterId, &ByCluster<Export>),
    previous: Option<&Rule>,
) -> Rule {
    let before = previous.filter(|rule| rule.mode == Mode::Optimized).map(OptimizedRow::of).unwrap_or_default();
    let (planned, fallback) = match plan(input, policy, local, &before.prices()) {
        Ok(planned) => {
            let preferred = Some(local).filter(|local| !before.priorities.contains_key(*local));
            (planned.with_hysteresis(&before, preferred, policy.objective.tuning.hysteresis), missing_input(input))
        }
        Err(why) => (before, Some(why)),
    };
    // A cluster that reports no capacity gets no minimum share, unless no cluster reports any.
    let has_capacity = |exporter: &Exporter| exporter.capacity_rps >= MIN_CAPACITY_RPS;
    let any_capacity = input.facts.exporters.values().any(has_capacity);
    let lacks_capacity = |cluster: &ClusterId| {
        any_capacity && input.facts.exporters.get(cluster).is_some_and(|exporter| !has_capacity(exporter))
    };
    let prefers = policy.local_preference() == LocalPreference::Prefer;
    let prefers_local = prefers && exports.contains_key(local) && !lacks_capacity(local);
    let candidate = |cluster: &ClusterId| {
        let preferred = prefers_local && cluster == local;
        let (priority, basis) = match preferred {
            true => (Priority { level: 0, nominal: NOMINAL_TOTAL }, Reason::Local),
            false => planned.priority_of(cluster),
        };
        let min_share = policy.min_shares.get(cluster);
        Candidate {
            cluster: cluster.clone(),
            priority: priority.level.saturating_add(u8::from(prefers_local && !preferred)),
            nominal: priority.nominal,
            floor: if lacks_capacity(cluster) { 0 } else { min_share },
            basis,
            terms: planned.terms.get(cluster).copied(),
        }
    };
    let mode = if planned.priorities.is_empty() { Mode::RoundRobin } else { Mode::Optimized };
    Rule {
        mode,
        fallback,
        method: Some(planned.method.unwrap_or(Method::Keep)),
        planned_load: planned.planned_load.clone(),
        policy: policy.name.clone(),
        candidates: exports.iter().map(|(cluster, _)| candidate(cluster)).collect(),
    }
}

/// Returns this cluster's row of the joint plan, or of the fallback plan. The error says why there is none.
fn plan(
    input: &PlanningInput,
    policy: &Policy,
    local: &ClusterId,
    prices: &ByCluster<f64>,
) -> Result<OptimizedRow, Fallback> {
    if input.method == Method::Keep {
        return Err(Fallback::NoFacts);
    }
    let solve = |facts: &Facts| solve_jointly(facts, &policy.objective.tuning, prices);
    let solution = solve(&input.facts).map_err(|unsolved| match unsolved {
        SolveError::NoCapacity => Fallback::NoCapacity,
        SolveError::Unbalanced { .. } => Fallback::Unsolved,
    })?;
    let mut planned = match (input.method, &input.own_traffic_rps) {
        (Method::Fallback, Some(sent)) => {
            let row = fallback_row(&input.facts, local, sent, &policy.objective.tuning);
            let solution = solution.with_row(local, &row.map_err(|_| Fallback::NoCapacity)?);
            OptimizedRow {
                method: Some(Method::Fallback),
                ..OptimizedRow::joint(&solution, &input.facts, policy, local)
            }
        }
        // Without counts of what was sent, the plan from the known demands is at least the same for all clusters.
        _ => OptimizedRow {
            method: Some(Method::Joint),
            planned_load: Some(Arc::new(PlannedLoad::new(&solution, local, input))),
            ..OptimizedRow::joint(&solution, &input.facts, policy, local)
        },
    };
    // A cluster that is not ready gets the priority it will have once it is.
    if let Some(facts) = &input.if_all_ready
        && let Ok(solution) = solve(facts)
    {
        for (cluster, priority) in OptimizedRow::joint(&solution, facts, policy, local).priorities {
            planned.priorities.entry(cluster).or_insert(priority);
        }
    }
    Ok(planned)
}

/// Returns which input the plan lacked.
fn missing_input(input: &PlanningInput) -> Option<Fallback> {
    match input.method {
        _ if input.facts.demand_unknown => Some(Fallback::DemandUnknown),
        Method::Fallback => Some(Fallback::DemandsUnexplained),
        Method::Joint | Method::Keep => None,
    }
}

/// This cluster's row of a plan: priorities of the eligible exporters, and their cost terms as far as known.
#[derive(Debug, Default)]
struct OptimizedRow {
    /// `None` if the row was not computed now.
    method: Option<Method>,
    planned_load: Option<Arc<PlannedLoad>>,
    priorities: BTreeMap<ClusterId, Priority>,
    terms: BTreeMap<ClusterId, CostTerms>,
}

impl OptimizedRow {
    fn joint(solution: &Solution, facts: &Facts, policy: &Policy, local: &ClusterId) -> Self {
        let explained = solution.explain(facts, local);
        let priorities = failover_order(&explained, policy.objective.tuning.epsilon_ms, NOMINAL_TOTAL);
        let clusters = explained.iter().map(|terms| terms.exporter.cluster.clone());
        let priorities = clusters.zip(priorities).collect();
        let terms = explained.iter().map(|terms| {
            let planned = terms.exporter;
            let load_rps = planned.load_rps + planned.residual_rps;
            let terms = CostTerms {
                latency_ms: terms.path_cost.map(|path| path.latency_ms),
                price_ms: terms.path_cost.map(|path| path.price_ms),
                usd_per_million: terms.path_cost.map(|path| policy.objective.rate.exchanged(path.price_ms)),
                service_ms: planned.service_ms,
                wait_ms: planned.wait_ms,
                congestion_ms: planned.congestion_price_ms,
                capacity_rps: planned.capacity_rps,
                utilization: load_rps / planned.capacity_rps,
            };
            (planned.cluster.clone(), terms)
        });
        Self { priorities, terms: terms.collect(), ..Self::default() }
    }

    /// Reads a rule back. The local cluster's entry is left out if it only stems from local preference.
    fn of(rule: &Rule) -> Self {
        let behind_local = u8::from(rule.candidates.iter().any(|candidate| candidate.basis == Reason::Local));
        let level = |candidate: &Candidate| candidate.priority.saturating_sub(behind_local);
        let priority = |candidate: &Candidate| Priority { level: level(candidate), nominal: candidate.nominal };
        let planned = rule.candidates.iter().filter(|candidate| candidate.basis != Reason::Local);
        let priorities = planned.map(|candidate| (candidate.cluster.clone(), priority(candidate)));
        let terms = rule.candidates.iter().filter_map(|candidate| Some((candidate.cluster.clone(), candidate.terms?)));
        Self { priorities: priorities.collect(), terms: terms.collect(), ..Self::default() }
    }

    /// Keeps the previous weights if they differ by less than the hysteresis and the same clusters have one.
    /// `preferred` is not compared: the previous rule has no weight for it.
    fn with_hysteresis(mut self, before: &Self, preferred: Option<&ClusterId>, hysteresis: f64) -> Self {
        let weighted = |planned: &Self| -> BTreeMap<ClusterId, Priority> {
            let weighted = planned
                .priorities
                .iter()
                .filter(|(cluster, priority)| priority.nominal > 0 && Some(*cluster) != preferred);
            weighted.map(|(cluster, priority)| (cluster.clone(), *priority)).collect()
        };
        let (old, new) = (weighted(before), weighted(&self));
        let first = |priority: &Priority| if priority.level == 0 { priority.nominal } else { 0 };
        let moved: u32 = old.values().zip(new.values()).map(|(old, new)| first(old).abs_diff(first(new))).sum();
        let same_first =
            old.values().map(|priority| priority.level == 0).eq(new.values().map(|priority| priority.level == 0));
        if same_first && old.keys().eq(new.keys()) && f64::from(moved) < hysteresis * f64::from(NOMINAL_TOTAL) {
            self.priorities.extend(old);
        }
        self
    }

    /// Returns the congestion prices, to start the next solution from.
    fn prices(&self) -> ByCluster<f64> {
        self.terms.iter().map(|(cluster, terms)| (cluster.clone(), terms.congestion_ms)).collect()
    }

    fn priority_of(&self, cluster: &ClusterId) -> (Priority, Reason) {
        match self.priorities.get(cluster) {
            Some(priority) if priority.nominal == 0 => (*priority, Reason::NoCapacity),
            Some(&priority) => (priority, Reason::Optimized),
            None if self.priorities.is_empty() => (Priority { level: 0, nominal: 1 }, Reason::Equal),
            None => (Priority::default(), Reason::NoCapacity),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::optimize::cost::UnitCost;
    use crate::optimize::objective::Objective;
    use crate::optimize::report::{Report, planning_input};
    use crate::policy::MinShares;
    use crate::resolve::resolve;
    use crate::snapshot::Health;

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    /// Returns the input of three clusters in a line, 10 ms from one to the next.
    fn input(reports: [Report; 3]) -> PlanningInput {
        let names = ["a", "b", "c"];
        let path = |i: usize, j: usize| UnitCost { latency_ms: 10.0 * i.abs_diff(j) as f64, price_ms: 0.0 };
        let row = |i| (0..3).map(|j| (id(names[j]), path(i, j))).collect::<BTreeMap<_, _>>();
        let costs = (0..3).map(|i| (id(names[i]), Arc::new(row(i)))).collect();
        let reports = names.into_iter().map(id).zip(reports).collect();
        planning_input(&reports, &costs, |_| Some(0.0), (&Objective::default(), 0))
    }

    fn report(demand_rps: f64, capacity_rps: f64) -> Report {
        Report { demand_rps: Some(demand_rps), capacity_rps: Some(capacity_rps), ..Report::default() }
    }

    fn exports() -> ByCluster<Export> {
        ["a", "b", "c"].map(|name| (id(name), Export::default())).into_iter().collect()
    }

    fn rule(policy: &Policy, reports: [Report; 3], previous: Option<&Rule>) -> Rule {
        optimized_rule(policy, &input(reports), (&id("a"), &exports()), previous)
    }

    fn policy() -> Policy {
        Policy { mode: Mode::Optimized, ..Policy::default() }
    }

    /// Returns the weights while all clusters but `dead` are healthy.
    fn weights_without(rule: &Rule, dead: &[&str]) -> Vec<u32> {
        let health =
            |cluster: &ClusterId| if dead.contains(&cluster.as_str()) { Health::NotReady } else { Health::Ready };
        resolve(rule, health).into_iter().map(|share| share.weight).collect()
    }

    #[test]
    fn clients_stay_near_while_capacity_lasts_and_the_next_nearest_takes_over() {
        let rule = rule(&policy(), [report(100.0, 1000.0); 3], None);
        assert_eq!((rule.mode, rule.fallback), (Mode::Optimized, None));
        assert_eq!(weights_without(&rule, &[]), [1000, 0, 0]);
        assert_eq!(weights_without(&rule, &["a"]), [0, 1000, 0], "without a new plan");
        assert_eq!(weights_without(&rule, &["a", "b"]), [0, 0, 1000]);
    }

    #[test]
    fn excess_demand_spills_over_and_every_share_has_its_terms() {
        let rule = rule(&policy(), [report(1500.0, 1000.0), report(0.0, 1000.0), report(0.0, 1000.0)], None);
        let weights = weights_without(&rule, &[]);
        assert!(weights[0] > weights[1] && weights[1] > 10 * weights[2] && weights[2] > 0, "{weights:?}");
        let terms: Vec<CostTerms> = rule.candidates.iter().map(|candidate| candidate.terms.unwrap()).collect();
        assert!(terms[0].congestion_ms > terms[1].congestion_ms, "the near exporter is fuller");
        let cost = |terms: &CostTerms| terms.latency_ms.unwrap() + terms.congestion_ms;
        assert!((cost(&terms[0]) - cost(&terms[1])).abs() < 1.0, "both cost the same in the end");
        assert!(terms[0].utilization < 0.95 && terms[0].utilization > terms[1].utilization);
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
    fn cluster_without_capacity_gets_no_share() {
        let rule = rule(&policy(), [report(100.0, 0.0), report(100.0, 1000.0), report(100.0, 1000.0)], None);
        assert_eq!(weights_without(&rule, &[]), [0, 1000, 0]);
        assert_eq!(rule.candidates[0].basis, Reason::NoCapacity);
    }

    #[test]
    fn neither_local_preference_nor_a_minimum_share_applies_without_capacity() {
        let min_shares = MinShares::new(BTreeMap::from([(id("c"), 100)])).unwrap();
        let local_preference = Some(LocalPreference::Prefer);
        let policy = Policy { min_shares, local_preference, ..policy() };
        let reports = [report(100.0, 0.0), report(100.0, 1000.0), report(100.0, 0.0)];
        assert_eq!(weights_without(&rule(&policy, reports, None), &[]), [0, 1000, 0]);
    }

    #[test]
    fn weights_stay_while_new_ones_differ_by_less_than_the_hysteresis() {
        let at = |demand| [report(demand, 1000.0), report(0.0, 1000.0), report(0.0, 1000.0)];
        let before = rule(&policy(), at(1500.0), None);
        let priorities =
            |rule: &Rule| -> Vec<u32> { rule.candidates.iter().map(|candidate| candidate.nominal).collect() };
        assert_eq!(priorities(&rule(&policy(), at(1501.0), Some(&before))), priorities(&before));
        assert_ne!(priorities(&rule(&policy(), at(1700.0), Some(&before))), priorities(&before));
        assert_ne!(priorities(&rule(&policy(), at(1501.0), None)), priorities(&before), "they do differ");
        let local = Policy { local_preference: Some(LocalPreference::Prefer), ..policy() };
        let before = rule(&local, at(1500.0), None);
        assert_eq!(priorities(&rule(&local, at(1501.0), Some(&before))), priorities(&before));
    }

    #[test]
    fn unready_exporter_keeps_its_failover_priority() {
        let mut input = input([report(1500.0, 1000.0), report(0.0, 1000.0), report(0.0, 1000.0)]);
        input.if_all_ready = Some(input.facts.clone());
        input.facts.exporters.remove(&id("b"));
        let rule = optimized_rule(&policy(), &input, (&id("a"), &exports()), None);
        let without = weights_without(&rule, &["b"]);
        assert!(without[1] == 0 && without[2] > 300, "{without:?}");
        let back = weights_without(&rule, &[]);
        assert!(back[1] > 200, "before there is a new plan: {back:?}");
    }

    #[test]
    fn without_any_capacity_previous_weights_stay_and_without_those_all_share_equally() {
        let local = Policy { local_preference: Some(LocalPreference::Prefer), ..policy() };
        for policy in [policy(), local] {
            let before = rule(&policy, [report(1500.0, 1000.0), report(0.0, 1000.0), report(0.0, 1000.0)], None);
            let no_capacity = [report(1500.0, 0.0); 3];
            let once = rule(&policy, no_capacity, Some(&before));
            let twice = rule(&policy, no_capacity, Some(&once));
            for kept in [&once, &twice] {
                assert_eq!((kept.mode, kept.fallback), (Mode::Optimized, Some(Fallback::NoCapacity)));
                let priorities = |rule: &Rule| -> Vec<(u8, u32)> {
                    rule.candidates.iter().map(|candidate| (candidate.priority, candidate.nominal)).collect()
                };
                assert_eq!(priorities(kept), priorities(&before));
            }
            let alike = rule(&policy, no_capacity, None);
            assert_eq!((alike.mode, alike.fallback), (Mode::RoundRobin, Some(Fallback::NoCapacity)));
        }
        assert_eq!(weights_without(&rule(&policy(), [report(1.0, 0.0); 3], None), &[]), [334, 333, 333]);
    }

    #[test]
    fn unknown_demand_is_assumed_and_named_as_fallback() {
        let silent = Report { demand_rps: None, ..report(0.0, 1000.0) };
        let rule = rule(&policy(), [silent; 3], None);
        assert_eq!((rule.mode, rule.fallback), (Mode::Optimized, Some(Fallback::DemandUnknown)));
        assert_eq!(weights_without(&rule, &[]), [1000, 0, 0]);
    }
}
