//! What a cluster tells the others about a service, and what that is worth as it ages.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::name::{ByCluster, ClusterId};
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
    /// When the window ended, in seconds since 1970. 0: it does not say, and counts as new.
    pub at: u64,
    /// What its clients are expected to ask for next. `None`: nobody counts there.
    pub demand_rps: Option<f64>,
    /// By how much that grows per round after the next.
    pub trend_rps: f64,
    /// What they asked for in the window.
    pub measured_demand_rps: Option<f64>,
    /// What its export can sustain; `None`: not known.
    pub capacity_rps: Option<f64>,
    /// What one pod of it can sustain, where that was learnt. Of use for the cluster itself alone, when it begins again.
    pub pod_capacity_rps: Option<f64>,
    /// What its export was asked for in the window, by whomever.
    pub load_rps: Option<f64>,
    /// Nobody measured that: it is what the answers of all clusters amount to, those of the others in their last windows.
    pub load_from_answers: bool,
    /// See [`Trim`](crate::optimize::filter::Trim).
    pub residual_rps: f64,
    /// See [`Deviation`](crate::optimize::filter::Deviation).
    pub deviation: f64,
    /// 0: not known.
    pub service_ms: f64,
    /// Of the [`Objective`] that the cluster plans the service with.
    pub parameter_hash: Option<u64>,
}

impl Report {
    /// What its export was asked for in the last window, where somebody measured that.
    pub fn measured_load_rps(&self) -> Option<f64> {
        self.load_rps.filter(|_| !self.load_from_answers)
    }

    /// What its clients asked for in the last window, as far as it says: what was measured is not said twice when it is what
    /// was expected.
    pub fn measured_or_expected_rps(&self) -> Option<f64> {
        self.measured_demand_rps.or(self.demand_rps)
    }

    /// What it is worth at `now`, as a report that is new and does not grow. `None`: it says nothing, because it is too old or
    /// of the future.
    #[must_use]
    pub fn counting_now(&self, objective: &Objective, now: u64) -> Option<Self> {
        let age = age_rounds(self, objective, now).filter(|age| *age < LAST_ROUNDS)?;
        Some(Self { at: 0, trend_rps: 0.0, ..aged(self, age, objective.tuning.trend_damping) })
    }
}

/// What the cost of each way is, by source and exporter. Kept as the sources of a service of which nobody says anything: services
/// are many, and those that nobody knows share them.
#[derive(Debug, Clone, Default)]
pub struct Costs(Arc<ByCluster<Source>>);

impl FromIterator<(ClusterId, Arc<BTreeMap<ClusterId, UnitCost>>)> for Costs {
    fn from_iter<I: IntoIterator<Item = (ClusterId, Arc<BTreeMap<ClusterId, UnitCost>>)>>(costs: I) -> Self {
        let source = |(cluster, costs)| (cluster, Source { costs, ..Source::default() });
        Self(Arc::new(costs.into_iter().map(source).collect()))
    }
}

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
    /// The facts as they would be if all exporters could answer, when some cannot.
    pub whole: Option<Facts>,
    /// What the local cluster sent to each exporter in the window of its load: what the fallback needs. `None`: nobody counts.
    pub sent: Option<ByCluster<f64>>,
}

/// The facts that follow from what was published. `costs` names the sources. `eligible` tells who can answer at all, and what
/// capacity to assume where nobody says; who is not eligible gets nothing, whatever its report says. A cluster without a report
/// says nothing. `now` is in seconds since 1970.
pub fn facts(
    reports: &BTreeMap<ClusterId, Report>,
    costs: &Costs,
    eligible: impl Fn(&ClusterId) -> Option<f64>,
    (objective, now): (&Objective, u64),
) -> Known {
    let age = |report: &Report| age_rounds(report, objective, now);
    let said: BTreeMap<&ClusterId, (&Report, f64)> =
        reports.iter().filter_map(|(cluster, report)| Some((cluster, (report, age(report)?)))).collect();
    let known: BTreeMap<&ClusterId, Report> = said
        .iter()
        .filter(|(_, (_, age))| *age < LAST_ROUNDS)
        .map(|(&cluster, (report, age))| (cluster, aged(report, *age, objective.tuning.trend_damping)))
        .collect();
    let exporter = |cluster: &ClusterId| {
        let assumed_rps = eligible(cluster)?;
        let exporter = match (known.get(cluster), said.contains_key(cluster)) {
            (Some(report), _) => exporter(report, assumed_rps),
            (None, false) => Exporter { capacity_rps: assumed_rps, ..Exporter::default() },
            (None, true) => return None,
        };
        Some((cluster.clone(), exporter))
    };
    let count = everybody_counts(&known);
    let Costs(silent) = costs;
    let source = |(cluster, silent): (&ClusterId, &Source)| {
        let said = known.get(cluster).and_then(|report| report.demand_rps);
        let source = Source { demand_rps: said.unwrap_or(0.0), counted: said.is_some(), ..silent.clone() };
        (cluster.clone(), source)
    };
    let facts = Facts {
        exporters: silent.keys().filter_map(exporter).collect(),
        sources: if count { Arc::new(silent.iter().map(source).collect()) } else { Arc::clone(silent) },
        demand_unknown: !count,
    };
    let method = if known.is_empty() && !reports.is_empty() { Method::Keep } else { method(&known, objective) };
    Known { facts, method, whole: None, sent: None }
}

/// Whole rounds, so that facts do not change with every second. `None`: it is from the future, and nothing is believed of it.
fn age_rounds(report: &Report, objective: &Objective, now: u64) -> Option<f64> {
    if report.at == 0 {
        return Some(0.0);
    }
    let from_now = report.at.saturating_sub(now) as f64;
    (from_now <= objective.round_seconds)
        .then(|| (now.saturating_sub(report.at) as f64 / objective.round_seconds).floor())
}

/// A source that says nothing is a part of the loads, and so of the residuals. Before any load was measured, demands count
/// when all who speak tell theirs: those that come first would make as many plans as there are agents.
fn everybody_counts(known: &BTreeMap<&ClusterId, Report>) -> bool {
    let any = |said: fn(&Report) -> bool| known.values().any(said);
    any(|report| report.load_rps.is_some()) && any(|report| report.demand_rps.is_some())
        || !known.is_empty() && !any(|report| report.demand_rps.is_none())
}

/// A trend fades as the [`Demand`](crate::optimize::filter::Demand) that it comes from has it: T·(1 + φ + φ² + …).
fn aged(report: &Report, age: f64, damping: f64) -> Report {
    let stale = ((age - FRESH_ROUNDS) / (LAST_ROUNDS - FRESH_ROUNDS)).max(0.0);
    let rounds = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].into_iter().take_while(|round| *round < age);
    let (growth, _) = rounds.fold((0.0, report.trend_rps), |(sum, trend), _| (sum + trend, trend * damping));
    let demand = |demand: f64| (demand + growth).max(0.0);
    Report {
        capacity_rps: report.capacity_rps.map(|capacity| capacity * (1.0 - (1.0 - LEAST_CAPACITY) * stale)),
        demand_rps: report.demand_rps.map(demand),
        ..*report
    }
}

fn exporter(report: &Report, assumed_rps: f64) -> Exporter {
    Exporter {
        capacity_rps: report.capacity_rps.unwrap_or(assumed_rps),
        residual_rps: report.residual_rps,
        service_ms: report.service_ms,
        measured_rps: report.load_rps.unwrap_or(0.0),
        measured_at: if report.load_rps.is_some() { report.at } else { 0 },
        deviation: report.deviation,
    }
}

fn method(known: &BTreeMap<&ClusterId, Report>, objective: &Objective) -> Method {
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
        facts(&reports, &costs, |_| Some(0.0), (&Objective::default(), NOW))
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
        assert!((demand("b") - 109.0).abs() < 1e-9, "5 and, because trends fade, 4");
        let most = 5.0 * (1.0 - 0.8_f64.powi(6)) / (1.0 - 0.8);
        assert!((demand("c") - 100.0 - most).abs() < 1e-9, "not for ever");
    }

    #[test]
    fn a_report_that_is_said_again_counts_for_ever_as_it_does_now() {
        let objective = Objective::default();
        for age in [0, 2, 9] {
            let again = report(age).counting_now(&objective, NOW).unwrap();
            let later = BTreeMap::from([(id("a"), again)]);
            let costs = Costs::from_iter([(id("a"), Arc::default())]);
            let later = facts(&later, &costs, |_| Some(0.0), (&objective, NOW + 1_000_000)).facts;
            let (now, id) = (known(&[("a", report(age))]).facts, id("a"));
            assert_eq!(later.sources[&id], now.sources[&id]);
            assert!((later.exporters[&id].capacity_rps - now.exporters[&id].capacity_rps).abs() < 1e-9);
        }
        assert_eq!(report(12).counting_now(&objective, NOW), None);
        assert_eq!(Report { at: NOW + 301, ..report(0) }.counting_now(&objective, NOW), None);
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
    fn what_was_not_said_is_assumed_and_what_was_said_of_the_future_is_not_believed() {
        let silent = Report { capacity_rps: None, ..report(0) };
        let future = Report { at: NOW + 301, ..report(0) };
        let reports = BTreeMap::from([(id("a"), silent), (id("b"), future), (id("c"), report(13))]);
        let costs = Costs::from_iter(["a", "b", "c", "d"].map(|name| (id(name), Arc::default())));
        let known = facts(&reports, &costs, |_| Some(70.0), (&Objective::default(), NOW));
        let assumed = ["a", "b", "c", "d"].map(|name| (capacity(&known, name) - 70.0).abs() < 1e-9);
        assert_eq!(assumed, [true, true, false, true], "who said something too long ago is out, who never did is not");
        assert!(!known.facts.exporters.contains_key(&id("c")));
        let counted = |name: &str| known.facts.sources[&id(name)].counted;
        assert!(!known.facts.demand_unknown);
        assert_eq!(["a", "b", "c", "d"].map(counted), [true, false, false, false]);
    }

    #[test]
    fn seconds_change_nothing_and_a_demand_of_nothing_is_known() {
        let at = |now| {
            let idle = Report { demand_rps: Some(0.0), ..report(2) };
            let reports = BTreeMap::from([(id("a"), idle), (id("b"), report(8))]);
            let costs = reports.keys().map(|id| (id.clone(), Arc::default())).collect();
            facts(&reports, &costs, |_| Some(0.0), (&Objective::default(), now))
        };
        assert_eq!(at(NOW), at(NOW + 299));
        assert_ne!(at(NOW), at(NOW + 300));
        assert!(!at(NOW).facts.demand_unknown);
        assert!(known(&[]).facts.demand_unknown);
    }

    #[test]
    fn services_of_which_nobody_knows_what_is_asked_for_share_their_sources() {
        let costs = ["a", "b"].map(|name| (id(name), Arc::default())).into_iter().collect();
        let of = |reports| facts(&reports, &costs, |_| Some(70.0), (&Objective::default(), NOW)).facts;
        let (first, second) = (of(BTreeMap::new()), of(BTreeMap::from([(id("a"), Report::default())])));
        assert!(first.demand_unknown && Arc::ptr_eq(&first.sources, &second.sources));
    }

    #[test]
    fn who_is_not_eligible_gets_nothing_and_asks_all_the_same() {
        let reports = BTreeMap::from([(id("a"), report(0)), (id("b"), report(0))]);
        let costs = reports.keys().map(|id| (id.clone(), Arc::default())).collect();
        let known =
            facts(&reports, &costs, |cluster| (*cluster == id("a")).then_some(0.0), (&Objective::default(), NOW));
        assert_eq!(known.facts.exporters.keys().collect::<Vec<_>>(), [&id("a")]);
        assert_eq!(known.facts.sources.len(), 2);
    }
}
