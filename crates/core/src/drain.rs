//! Whether the others can bear what a cluster serves.

use std::collections::BTreeSet;

use crate::name::ClusterId;
use crate::optimize::facts::{Exporter, Source};
use crate::optimize::objective::Objective;
use crate::optimize::report::Known;

/// By how much a service would have too little without a cluster. In requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Short {
    pub demand_rps: f64,
    /// Of the others, up to their target utilisation.
    pub left_rps: f64,
}

impl Short {
    pub fn missing_rps(&self) -> f64 {
        self.demand_rps - self.left_rps
    }
}

/// `None`: the others can bear it, or the cluster exports nothing of it that could be missed. While demands are not known,
/// nobody can tell, and what the exporters measured counts in their place. Who is `drained` already bears nothing for long, and
/// whom nobody who asks can reach bears nothing at all.
pub fn short_without(
    known: &Known,
    objective: &Objective,
    cluster: &ClusterId,
    drained: &BTreeSet<ClusterId>,
) -> Option<Short> {
    let (exporters, sources) = (&known.facts.exporters, &known.facts.sources);
    let serves = exporters.get(cluster).is_some_and(|exporter| exporter.capacity_rps > 0.0);
    let asks = |source: &&Source| known.facts.demand_unknown || source.demand_rps > 0.0;
    let reached: BTreeSet<&ClusterId> = sources.values().filter(asks).flat_map(|source| source.costs.keys()).collect();
    let others = exporters.iter().filter(|(other, _)| *other != cluster && !drained.contains(*other));
    let others = others.filter(|(other, _)| reached.contains(other));
    let left: f64 = others.map(|(_, exporter)| exporter.capacity_rps - exporter.residual_rps.max(0.0)).sum();
    let left_rps = left.max(0.0) * objective.tuning.within_limits().target_utilisation;
    let demands: f64 = sources.values().map(|source| source.demand_rps).sum();
    // Load that no plan explains stays where it is, and is already missing from what is left there.
    let planned = |exporter: &Exporter| (exporter.measured_rps - exporter.residual_rps.max(0.0)).max(0.0);
    let measured: f64 = exporters.values().map(planned).sum();
    let demand_rps = if known.facts.demand_unknown { measured } else { demands.max(measured) };
    let nobody_left = left_rps <= 0.0 && serves;
    (serves && (demand_rps > left_rps || nobody_left)).then_some(Short { demand_rps, left_rps })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::optimize::cost::UnitCost;
    use crate::optimize::report::{Costs, Report, facts};

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    /// Between `a` and `b`, but for those that are cut.
    fn ways(cut: &[(&str, &str)]) -> Costs {
        let row = |from: &str| {
            let there = ["a", "b"].into_iter().filter(|to| !cut.contains(&(from, *to)));
            Arc::new(there.map(|to| (id(to), UnitCost { latency_ms: 1.0, price_ms: 0.0 })).collect())
        };
        ["a", "b"].into_iter().map(|from| (id(from), row(from))).collect()
    }

    fn short(demands: [f64; 2], capacities: [f64; 2]) -> Option<Short> {
        short_beside(demands, capacities, &[])
    }

    fn short_beside(demands: [f64; 2], capacities: [f64; 2], drained: &[&str]) -> Option<Short> {
        let report =
            |i: usize| Report { demand_rps: Some(demands[i]), capacity_rps: Some(capacities[i]), ..Report::default() };
        let reports = BTreeMap::from([(id("a"), report(0)), (id("b"), report(1))]);
        let known = facts(&reports, &ways(&[]), |_| Some(0.0), (&Objective::default(), 0));
        short_without(&known, &Objective::default(), &id("a"), &drained.iter().map(|name| id(name)).collect())
    }

    #[test]
    fn the_others_can_bear_what_fits_below_their_target_and_the_rest_is_missing() {
        assert_eq!(short([500.0, 300.0], [1000.0, 1000.0]), None);
        let beside = short_beside([500.0, 300.0], [1000.0, 1000.0], &["b"]);
        assert_eq!(beside, Some(Short { demand_rps: 800.0, left_rps: 0.0 }), "b goes too");
        let missing = short([500.0, 500.0], [1000.0, 1000.0]).unwrap();
        assert!((missing.missing_rps() - 100.0).abs() < 1e-9, "{missing:?}");
    }

    #[test]
    fn what_clients_ask_for_that_landfall_does_not_answer_stays_where_it_is_and_counts_once() {
        let report = |demand, load, residual_rps| Report {
            demand_rps: Some(demand),
            load_rps: Some(load),
            residual_rps,
            capacity_rps: Some(1000.0),
            ..Report::default()
        };
        let reports = BTreeMap::from([(id("a"), report(400.0, 400.0, 0.0)), (id("b"), report(0.0, 400.0, 400.0))]);
        let known = facts(&reports, &ways(&[]), |_| Some(0.0), (&Objective::default(), 0));
        assert_eq!(short_without(&known, &Objective::default(), &id("a"), &BTreeSet::new()), None, "400 of 540");
    }

    #[test]
    fn whom_nobody_reaches_who_asks_can_bear_nothing() {
        let report = |demand| Report { demand_rps: Some(demand), capacity_rps: Some(1000.0), ..Report::default() };
        let reports = BTreeMap::from([(id("a"), report(400.0)), (id("b"), report(0.0))]);
        let known = facts(&reports, &ways(&[("a", "b")]), |_| Some(0.0), (&Objective::default(), 0));
        let short = short_without(&known, &Objective::default(), &id("a"), &BTreeSet::new());
        assert_eq!(short, Some(Short { demand_rps: 400.0, left_rps: 0.0 }), "b reaches itself, and asks for nothing");
    }

    #[test]
    fn who_exports_nothing_is_not_missed_and_the_last_one_always_is() {
        assert_eq!(short([500.0, 900.0], [0.0, 100.0]), None);
        assert!(short([0.0, 0.0], [100.0, 0.0]).is_some(), "nobody would be left");
    }
}
