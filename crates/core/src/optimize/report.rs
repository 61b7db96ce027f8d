//! What a cluster tells the others about a service, and what that is worth as it ages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::name::ClusterId;
use crate::optimize::cost::UnitCost;
use crate::optimize::facts::{Exporter, Facts, Source};
use crate::optimize::objective::Objective;

/// Up to this age, in rounds, a report counts as it is. Plans from facts of another age than the others' differ from
/// theirs, so an age that is usual must not change a fact.
pub const FRESH_ROUNDS: f64 = 6.0;

/// From this age on a report says nothing any more: its demand is nobody's, and its exporter gets nothing.
pub const LAST_ROUNDS: f64 = 12.0;

/// What is left of a capacity when its report is about to say nothing.
const LEAST_CAPACITY: f64 = 0.5;

/// The part of the exporters' loads that fresh demands must explain for a plan to be made from them.
const EXPLAINED: f64 = 0.5;

/// Of one cluster about one service, at the end of a window.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Report {
    /// When the window ended, in seconds since 1970.
    pub at: u64,
    /// What its clients are expected to ask for next. `None`: nobody counts there.
    pub demand_rps: Option<f64>,
    /// By how much that grows per round after the next.
    pub trend_rps: f64,
    /// What they asked for in the window.
    pub measured_demand_rps: Option<f64>,
    /// What its export can sustain; `None`: not known, and so nothing.
    pub capacity_rps: Option<f64>,
    /// What its export was asked for in the window, by whomever.
    pub load_rps: Option<f64>,
    /// See [`Trim`](crate::optimize::filter::Trim).
    pub residual_rps: f64,
    /// See [`Deviation`](crate::optimize::filter::Deviation).
    pub deviation: f64,
    /// 0: not known.
    pub service_ms: f64,
    /// Of the [`Objective`] that the cluster plans the service with.
    pub parameter_hash: Option<u64>,
}

/// What the cost of each way is, by source and exporter.
pub type Costs = BTreeMap<ClusterId, Arc<BTreeMap<ClusterId, UnitCost>>>;

/// How a row can be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// All sources at once: demands are known, or nobody knows anything yet.
    Joint,
    /// Each for itself: the demands that are known do not explain the loads, or somebody plans with other settings.
    Fallback,
    /// Not at all: every report is too old. The row stays.
    Keep,
}

/// What there is to decide from.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    pub facts: Facts,
    pub method: Method,
    /// When the window ended in which each exporter's load was measured.
    pub windows: BTreeMap<ClusterId, u64>,
    /// Whose demand is known.
    pub counted: BTreeSet<ClusterId>,
}

/// The facts that follow from what was published. `costs` names the sources; an exporter that is not in `eligible` gets
/// nothing, whatever its report says. `now` is in seconds since 1970.
pub fn facts(
    reports: &BTreeMap<ClusterId, Report>,
    costs: &Costs,
    eligible: impl Fn(&ClusterId) -> bool,
    (objective, now): (&Objective, u64),
) -> Known {
    let known = |(cluster, report): (&ClusterId, &Report)| {
        let age = now.saturating_sub(report.at) as f64 / objective.round_seconds;
        (age < LAST_ROUNDS).then(|| (cluster.clone(), aged(report, age)))
    };
    let known: BTreeMap<ClusterId, Report> = reports.iter().filter_map(known).collect();
    let exporter =
        |(cluster, report): (&ClusterId, &Report)| eligible(cluster).then(|| (cluster.clone(), exporter(report)));
    let exporters: BTreeMap<ClusterId, Exporter> = known.iter().filter_map(exporter).collect();
    let count = everybody_counts(&known, costs);
    let source = |(cluster, costs): (&ClusterId, &Arc<_>)| {
        let demand_rps = known.get(cluster).and_then(|report| report.demand_rps).filter(|_| count).unwrap_or(0.0);
        (cluster.clone(), Source { demand_rps, costs: Arc::clone(costs) })
    };
    let facts = Facts { exporters, sources: costs.iter().map(source).collect() };
    let method = if known.is_empty() && !reports.is_empty() { Method::Keep } else { method(&known, objective) };
    let counted = known.iter().filter(|(_, report)| report.demand_rps.is_some());
    let measured = known.iter().filter(|(_, report)| report.load_rps.is_some());
    Known {
        facts,
        method,
        counted: counted.map(|(cluster, _)| cluster.clone()).collect(),
        windows: measured.map(|(cluster, report)| (cluster.clone(), report.at)).collect(),
    }
}

/// A source that says nothing is a part of the loads, and so of the residuals. Before any load was measured, demands count
/// when all are known: those that come first would make as many plans as there are agents.
fn everybody_counts(known: &BTreeMap<ClusterId, Report>, costs: &Costs) -> bool {
    let counts = |cluster: &ClusterId| known.get(cluster).is_some_and(|report| report.demand_rps.is_some());
    known.values().any(|report| report.load_rps.is_some()) || costs.keys().all(counts)
}

fn aged(report: &Report, age: f64) -> Report {
    let stale = ((age - FRESH_ROUNDS) / (LAST_ROUNDS - FRESH_ROUNDS)).max(0.0);
    let demand = |demand: f64| (demand + report.trend_rps * age.min(FRESH_ROUNDS)).max(0.0);
    Report {
        capacity_rps: report.capacity_rps.map(|capacity| capacity * (1.0 - (1.0 - LEAST_CAPACITY) * stale)),
        demand_rps: report.demand_rps.map(demand),
        ..*report
    }
}

fn exporter(report: &Report) -> Exporter {
    Exporter {
        capacity_rps: report.capacity_rps.unwrap_or(0.0),
        residual_rps: report.residual_rps,
        service_ms: report.service_ms,
        measured_rps: report.load_rps.unwrap_or(0.0),
        deviation: report.deviation,
    }
}

fn method(known: &BTreeMap<ClusterId, Report>, objective: &Objective) -> Method {
    let hash = objective.parameter_hash();
    let plans_otherwise =
        |report: &Report| report.demand_rps.is_some() && report.parameter_hash.is_some_and(|of| of != hash);
    let load: f64 = known.values().filter_map(|report| report.load_rps).sum();
    let explained: f64 = known.values().filter_map(|report| report.demand_rps).sum();
    let alike = !known.values().any(plans_otherwise);
    if alike && explained >= EXPLAINED * load { Method::Joint } else { Method::Fallback }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    fn report(age_rounds: u64) -> Report {
        let load_rps = Some(100.0);
        Report {
            at: NOW - age_rounds * 300,
            demand_rps: Some(100.0),
            trend_rps: 5.0,
            capacity_rps: Some(200.0),
            load_rps,
            ..Report::default()
        }
    }

    fn known(reports: &[(&str, Report)]) -> Known {
        let reports: BTreeMap<_, _> = reports.iter().map(|(name, report)| (id(name), *report)).collect();
        let costs = reports.keys().map(|id| (id.clone(), Arc::default())).collect();
        facts(&reports, &costs, |_| true, (&Objective::default(), NOW))
    }

    fn capacity(known: &Known, name: &str) -> f64 {
        known.facts.exporters.get(&id(name)).map_or(0.0, |exporter| exporter.capacity_rps)
    }

    #[test]
    fn a_report_counts_as_it_is_then_with_less_and_less_capacity_and_then_not_at_all() {
        let known = known(&[("a", report(0)), ("b", report(6)), ("c", report(9)), ("d", report(12))]);
        assert!((capacity(&known, "a") - 200.0).abs() < 1e-9);
        assert!((capacity(&known, "b") - 200.0).abs() < 1e-9);
        assert!((capacity(&known, "c") - 150.0).abs() < 1e-9);
        assert!(!known.facts.exporters.contains_key(&id("d")));
        assert!(known.facts.sources[&id("d")].demand_rps.abs() < 1e-9, "and its demand is a residual now");
    }

    #[test]
    fn a_demand_goes_on_growing_as_it_did_when_it_was_reported() {
        let known = known(&[("a", report(0)), ("b", report(2)), ("c", report(10))]);
        let demand = |name: &str| known.facts.sources[&id(name)].demand_rps;
        assert!((demand("a") - 100.0).abs() < 1e-9);
        assert!((demand("b") - 110.0).abs() < 1e-9);
        assert!((demand("c") - 130.0).abs() < 1e-9, "not for ever");
    }

    #[test]
    fn how_a_row_is_computed_follows_from_what_is_known() {
        assert_eq!(known(&[]).method, Method::Joint, "nobody knows anything yet");
        assert_eq!(known(&[("a", report(0))]).method, Method::Joint);
        let silent = Report { demand_rps: None, ..report(0) };
        assert_eq!(known(&[("a", report(0)), ("b", silent)]).method, Method::Joint, "half is explained");
        assert_eq!(known(&[("a", report(0)), ("b", silent), ("c", silent)]).method, Method::Fallback);
        assert_eq!(known(&[("a", report(12)), ("b", report(20))]).method, Method::Keep);
        let with = |hash| Report { parameter_hash: Some(hash), ..report(0) };
        let own = Objective::default().parameter_hash();
        assert_eq!(known(&[("a", with(own)), ("b", with(own))]).method, Method::Joint);
        assert_eq!(known(&[("a", with(own)), ("b", with(own ^ 1))]).method, Method::Fallback, "b plans something else");
    }

    #[test]
    fn who_is_not_eligible_gets_nothing_and_asks_all_the_same() {
        let reports = BTreeMap::from([(id("a"), report(0)), (id("b"), report(0))]);
        let costs = reports.keys().map(|id| (id.clone(), Arc::default())).collect();
        let known = facts(&reports, &costs, |cluster| *cluster == id("a"), (&Objective::default(), NOW));
        assert_eq!(known.facts.exporters.keys().collect::<Vec<_>>(), [&id("a")]);
        assert_eq!(known.facts.sources.len(), 2);
    }
}
