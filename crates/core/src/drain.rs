//! Decides whether the other clusters have the capacity to replace one that is drained.

use std::collections::BTreeSet;

use crate::name::ClusterId;
use crate::optimize::facts::{Exporter, Source};
use crate::optimize::objective::Objective;
use crate::optimize::report::PlanningInput;

/// Capacity deficit of a service without a cluster, in requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deficit {
    pub demand_rps: f64,
    /// Capacity of the other clusters, up to their target utilization.
    pub left_rps: f64,
}

impl Deficit {
    /// Returns the capacity that is missing.
    pub fn missing_rps(&self) -> f64 {
        self.demand_rps - self.left_rps
    }
}

/// Returns the deficit without `cluster`, or `None` if the others have enough capacity or the cluster has none. While
/// demands are unknown, the measured loads of the exporters count instead. Clusters in `drained` and clusters that no
/// source with demand can reach count as having no capacity.
pub fn deficit_without(
    input: &PlanningInput,
    objective: &Objective,
    cluster: &ClusterId,
    drained: &BTreeSet<ClusterId>,
) -> Option<Deficit> {
    let (exporters, sources) = (&input.facts.exporters, &input.facts.sources);
    let serves = exporters.get(cluster).is_some_and(|exporter| exporter.capacity_rps > 0.0);
    let has_demand = |source: &&Source| input.facts.demand_unknown || source.demand_rps > 0.0;
    let reached: BTreeSet<&ClusterId> =
        sources.values().filter(has_demand).flat_map(|source| source.costs.keys()).collect();
    let others = exporters.iter().filter(|(other, _)| *other != cluster && !drained.contains(*other));
    let others = others.filter(|(other, _)| reached.contains(other));
    let left: f64 = others.map(|(_, exporter)| exporter.capacity_rps - exporter.residual_rps.max(0.0)).sum();
    let left_rps = left.max(0.0) * objective.tuning.within_limits().target_utilization;
    let demands: f64 = sources.values().map(|source| source.demand_rps).sum();
    // Load that no plan explains stays where it is, and is already subtracted from the capacity there.
    let planned = |exporter: &Exporter| (exporter.measured_rps - exporter.residual_rps.max(0.0)).max(0.0);
    let measured: f64 = exporters.values().map(planned).sum();
    let demand_rps = if input.facts.demand_unknown { measured } else { demands.max(measured) };
    let none_left = left_rps <= 0.0 && serves;
    (serves && (demand_rps > left_rps || none_left)).then_some(Deficit { demand_rps, left_rps })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::optimize::cost::UnitCost;
    use crate::optimize::report::{CostMatrix, Report, planning_input};

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    /// Returns the paths between `a` and `b`, without those in `cut`.
    fn paths(cut: &[(&str, &str)]) -> CostMatrix {
        let row = |from: &str| {
            let there = ["a", "b"].into_iter().filter(|to| !cut.contains(&(from, *to)));
            Arc::new(there.map(|to| (id(to), UnitCost { latency_ms: 1.0, price_ms: 0.0 })).collect())
        };
        ["a", "b"].into_iter().map(|from| (id(from), row(from))).collect()
    }

    fn deficit(demands: [f64; 2], capacities: [f64; 2]) -> Option<Deficit> {
        deficit_beside(demands, capacities, &[])
    }

    fn deficit_beside(demands: [f64; 2], capacities: [f64; 2], drained: &[&str]) -> Option<Deficit> {
        let report =
            |i: usize| Report { demand_rps: Some(demands[i]), capacity_rps: Some(capacities[i]), ..Report::default() };
        let reports = BTreeMap::from([(id("a"), report(0)), (id("b"), report(1))]);
        let input = planning_input(&reports, &paths(&[]), |_| Some(0.0), (&Objective::default(), 0));
        deficit_without(&input, &Objective::default(), &id("a"), &drained.iter().map(|name| id(name)).collect())
    }

    #[test]
    fn deficit_is_the_demand_beyond_the_target_utilization_of_the_others() {
        assert_eq!(deficit([500.0, 300.0], [1000.0, 1000.0]), None);
        let beside = deficit_beside([500.0, 300.0], [1000.0, 1000.0], &["b"]);
        assert_eq!(beside, Some(Deficit { demand_rps: 800.0, left_rps: 0.0 }), "b goes too");
        let missing = deficit([500.0, 500.0], [1000.0, 1000.0]).unwrap();
        assert!((missing.missing_rps() - 100.0).abs() < 1e-9, "{missing:?}");
    }

    #[test]
    fn residual_load_stays_where_it_is_and_counts_once() {
        let report = |demand, load, residual_rps| Report {
            demand_rps: Some(demand),
            load_rps: Some(load),
            residual_rps,
            capacity_rps: Some(1000.0),
            ..Report::default()
        };
        let reports = BTreeMap::from([(id("a"), report(400.0, 400.0, 0.0)), (id("b"), report(0.0, 400.0, 400.0))]);
        let input = planning_input(&reports, &paths(&[]), |_| Some(0.0), (&Objective::default(), 0));
        assert_eq!(deficit_without(&input, &Objective::default(), &id("a"), &BTreeSet::new()), None, "400 of 540");
    }

    #[test]
    fn exporter_that_no_source_with_demand_reaches_has_no_capacity() {
        let report = |demand| Report { demand_rps: Some(demand), capacity_rps: Some(1000.0), ..Report::default() };
        let reports = BTreeMap::from([(id("a"), report(400.0)), (id("b"), report(0.0))]);
        let input = planning_input(&reports, &paths(&[("a", "b")]), |_| Some(0.0), (&Objective::default(), 0));
        let deficit = deficit_without(&input, &Objective::default(), &id("a"), &BTreeSet::new());
        assert_eq!(deficit, Some(Deficit { demand_rps: 400.0, left_rps: 0.0 }), "b reaches itself, and has no demand");
    }

    #[test]
    fn cluster_without_capacity_is_no_deficit_and_the_last_exporter_always_is() {
        assert_eq!(deficit([500.0, 900.0], [0.0, 100.0]), None);
        assert!(deficit([0.0, 0.0], [100.0, 0.0]).is_some(), "no exporter would be left");
    }
}
