//! The report of one cluster about a service, how it ages, and the input of a plan that follows from all reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::name::{ByCluster, ClusterId};
use crate::optimize::cost::UnitCost;
use crate::optimize::facts::{Exporter, Facts, Source};
use crate::optimize::objective::Objective;

/// Age in rounds up to which a report is used unchanged. Agents see a report at different ages, and their plans must
/// not differ for that: so a usual age must not change a fact.
pub const FRESH_ROUNDS: f64 = 6.0;

/// Age in rounds from which a report is ignored: its demand is unknown, and its exporter gets no share.
pub const MAX_AGE_ROUNDS: f64 = 12.0;

/// Fraction of a reported capacity that is left just before the report is ignored.
const MIN_CAPACITY: f64 = 0.5;

/// Fraction of the loads of the exporters that the known demands must explain for a joint plan.
const EXPLAINED: f64 = 0.5;

/// Report of one cluster about one service, at the end of a window.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Report {
    /// End of the window, in seconds since 1970; 0 if absent: the report then never ages.
    pub at: u64,
    /// Demand expected in the next round; `None` if it is not measured.
    pub demand_rps: Option<f64>,
    /// Growth of the demand per round, after the next round.
    pub trend_rps: f64,
    /// Demand measured in the window.
    pub measured_demand_rps: Option<f64>,
    /// Capacity of its export; `None` if unknown.
    pub capacity_rps: Option<f64>,
    /// Learned capacity of one pod. Only the cluster itself reads it, after a restart.
    pub pod_capacity_rps: Option<f64>,
    /// Load of its export in the window, from all sources.
    pub load_rps: Option<f64>,
    /// True if the load was not measured, but derived from the answers of all clusters, each in its last window.
    pub load_from_answers: bool,
    /// Load that the plan does not explain; see [`Trim`](crate::optimize::filter::Trim).
    pub residual_rps: f64,
    /// Relative deviation of the load from the plan; see [`Deviation`](crate::optimize::filter::Deviation).
    pub deviation: f64,
    /// Service time at low load; 0 if unknown.
    pub service_ms: f64,
    /// Hash of the [`Objective`] that the cluster uses for the service.
    pub parameter_hash: Option<u64>,
}

impl Report {
    /// Returns the load of its export in the last window, if it was measured.
    pub fn measured_load_rps(&self) -> Option<f64> {
        self.load_rps.filter(|_| !self.load_from_answers)
    }

    /// Returns the demand of the last window. A measured demand that equals the expected one is not published twice.
    pub fn measured_or_expected_rps(&self) -> Option<f64> {
        self.measured_demand_rps.or(self.demand_rps)
    }

    /// Returns this report aged to `now`, with the trend folded into the demand. `None` if it is too old or dated in
    /// the future.
    #[must_use]
    pub fn aged_to(&self, objective: &Objective, now: u64) -> Option<Self> {
        let age = age_rounds(self, objective, now).filter(|age| *age < MAX_AGE_ROUNDS)?;
        Some(Self { at: 0, trend_rps: 0.0, ..aged(self, age, objective.tuning.trend_damping) })
    }
}

/// Cost of each path, by source and exporter. Stored as the sources of a service without reports: there are many
/// services, and all without reports share it.
#[derive(Debug, Clone, Default)]
pub struct CostMatrix(Arc<ByCluster<Source>>);

impl FromIterator<(ClusterId, Arc<BTreeMap<ClusterId, UnitCost>>)> for CostMatrix {
    fn from_iter<I: IntoIterator<Item = (ClusterId, Arc<BTreeMap<ClusterId, UnitCost>>)>>(costs: I) -> Self {
        let source = |(cluster, costs)| (cluster, Source { costs, ..Source::default() });
        Self(Arc::new(costs.into_iter().map(source).collect()))
    }
}

/// Method by which a row is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// All sources at once: demands are known, or there is no report yet.
    Joint,
    /// Each source for itself: the known demands do not explain the loads, or a cluster uses other settings.
    Fallback,
    /// Not at all: every report is too old. The previous row stays.
    Keep,
}

impl Method {
    /// Returns the name that users read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joint => "Joint",
            Self::Fallback => "Fallback",
            Self::Keep => "Keep",
        }
    }
}

/// Input of the plan of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanningInput {
    pub facts: Facts,
    pub method: Method,
    /// Facts if every exporter were ready; `None` if all are.
    pub if_all_ready: Option<Facts>,
    /// Traffic of the local cluster to each exporter, in the window of the exporter's load. The fallback needs it.
    /// `None` if answers are not counted.
    pub own_traffic_rps: Option<ByCluster<f64>>,
}

/// Returns the input of a plan from the reports of all clusters. `costs` lists the sources. `eligible` returns the
/// capacity to assume for an exporter that does not report one, or `None` if it is not eligible: it then gets no share,
/// whatever it reports. `now` is in seconds since 1970.
pub fn planning_input(
    reports: &BTreeMap<ClusterId, Report>,
    costs: &CostMatrix,
    eligible: impl Fn(&ClusterId) -> Option<f64>,
    (objective, now): (&Objective, u64),
) -> PlanningInput {
    let age = |report: &Report| age_rounds(report, objective, now);
    let dated: BTreeMap<&ClusterId, (&Report, f64)> =
        reports.iter().filter_map(|(cluster, report)| Some((cluster, (report, age(report)?)))).collect();
    let usable: BTreeMap<&ClusterId, Report> = dated
        .iter()
        .filter(|(_, (_, age))| *age < MAX_AGE_ROUNDS)
        .map(|(&cluster, (report, age))| (cluster, aged(report, *age, objective.tuning.trend_damping)))
        .collect();
    let exporter = |cluster: &ClusterId| {
        let assumed_rps = eligible(cluster)?;
        let exporter = match (usable.get(cluster), dated.contains_key(cluster)) {
            (Some(report), _) => exporter(report, assumed_rps),
            (None, false) => Exporter { capacity_rps: assumed_rps, ..Exporter::default() },
            (None, true) => return None,
        };
        Some((cluster.clone(), exporter))
    };
    let demands_usable = demands_usable(&usable);
    let CostMatrix(silent) = costs;
    let source = |(cluster, silent): (&ClusterId, &Source)| {
        let demand_rps = usable.get(cluster).and_then(|report| report.demand_rps);
        let source = Source { demand_rps: demand_rps.unwrap_or(0.0), counted: demand_rps.is_some(), ..silent.clone() };
        (cluster.clone(), source)
    };
    let facts = Facts {
        exporters: silent.keys().filter_map(exporter).collect(),
        sources: if demands_usable { Arc::new(silent.iter().map(source).collect()) } else { Arc::clone(silent) },
        demand_unknown: !demands_usable,
    };
    let method = if usable.is_empty() && !reports.is_empty() { Method::Keep } else { method(&usable, objective) };
    PlanningInput { facts, method, if_all_ready: None, own_traffic_rps: None }
}

/// Returns the age in whole rounds, so that facts do not change every second. Returns `None` if the report is dated in
/// the future.
fn age_rounds(report: &Report, objective: &Objective, now: u64) -> Option<f64> {
    if report.at == 0 {
        return Some(0.0);
    }
    let from_now = report.at.saturating_sub(now) as f64;
    (from_now <= objective.round_seconds)
        .then(|| (now.saturating_sub(report.at) as f64 / objective.round_seconds).floor())
}

/// Returns true if demands can be used. A source without a report shows up in the residuals once loads are measured;
/// until then all reporting clusters must report a demand, or each agent would plan from a different subset.
fn demands_usable(reports: &BTreeMap<&ClusterId, Report>) -> bool {
    let any = |has: fn(&Report) -> bool| reports.values().any(has);
    any(|report| report.load_rps.is_some()) && any(|report| report.demand_rps.is_some())
        || !reports.is_empty() && !any(|report| report.demand_rps.is_none())
}

/// Returns the report at an age in rounds. The trend fades as in [`Demand`](crate::optimize::filter::Demand): T·(1 + φ
/// + φ² + …).
fn aged(report: &Report, age: f64, damping: f64) -> Report {
    let stale = ((age - FRESH_ROUNDS) / (MAX_AGE_ROUNDS - FRESH_ROUNDS)).max(0.0);
    let rounds = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].into_iter().take_while(|round| *round < age);
    let (growth, _) = rounds.fold((0.0, report.trend_rps), |(sum, trend), _| (sum + trend, trend * damping));
    let demand = |demand: f64| (demand + growth).max(0.0);
    Report {
        capacity_rps: report.capacity_rps.map(|capacity| capacity * (1.0 - (1.0 - MIN_CAPACITY) * stale)),
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

fn method(reports: &BTreeMap<&ClusterId, Report>, objective: &Objective) -> Method {
    let hash = objective.parameter_hash();
    let other_settings =
        |report: &Report| report.demand_rps.is_some() && report.parameter_hash.is_some_and(|of| of != hash);
    let load: f64 = reports.values().filter_map(|report| report.load_rps).sum();
    let explained: f64 = reports.values().filter_map(|report| report.demand_rps).sum();
    let same_settings = !reports.values().any(other_settings);
    if same_settings && explained >= EXPLAINED * load { Method::Joint } else { Method::Fallback }
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

    fn input(reports: &[(&str, Report)]) -> PlanningInput {
        let reports: BTreeMap<_, _> = reports.iter().map(|(name, report)| (id(name), *report)).collect();
        let costs = reports.keys().map(|id| (id.clone(), Arc::default())).collect();
        planning_input(&reports, &costs, |_| Some(0.0), (&Objective::default(), NOW))
    }

    fn capacity(input: &PlanningInput, name: &str) -> f64 {
        input.facts.exporters.get(&id(name)).map_or(0.0, |exporter| exporter.capacity_rps)
    }

    #[test]
    fn report_is_used_unchanged_then_with_less_and_less_capacity_and_then_ignored() {
        let input = input(&[("a", report(0)), ("b", report(6)), ("c", report(9)), ("d", report(12))]);
        assert!((capacity(&input, "a") - 200.0).abs() < 1e-9);
        assert!((capacity(&input, "b") - 200.0).abs() < 1e-9);
        assert!((capacity(&input, "c") - 150.0).abs() < 1e-9);
        assert!(!input.facts.exporters.contains_key(&id("d")));
        assert!(input.facts.sources[&id("d")].demand_rps.abs() < 1e-9, "and its demand is a residual now");
    }

    #[test]
    fn demand_keeps_the_trend_that_was_reported() {
        let input = input(&[("a", report(0)), ("b", report(2)), ("c", report(10))]);
        let demand = |name: &str| input.facts.sources[&id(name)].demand_rps;
        assert!((demand("a") - 100.0).abs() < 1e-9);
        assert!((demand("b") - 109.0).abs() < 1e-9, "5 and, because trends fade, 4");
        let most = 5.0 * (1.0 - 0.8_f64.powi(6)) / (1.0 - 0.8);
        assert!((demand("c") - 100.0 - most).abs() < 1e-9, "not forever");
    }

    #[test]
    fn report_aged_to_now_does_not_age_any_further() {
        let objective = Objective::default();
        for age in [0, 2, 9] {
            let again = report(age).aged_to(&objective, NOW).unwrap();
            let later = BTreeMap::from([(id("a"), again)]);
            let costs = CostMatrix::from_iter([(id("a"), Arc::default())]);
            let later = planning_input(&later, &costs, |_| Some(0.0), (&objective, NOW + 1_000_000)).facts;
            let (now, id) = (input(&[("a", report(age))]).facts, id("a"));
            assert_eq!(later.sources[&id], now.sources[&id]);
            assert!((later.exporters[&id].capacity_rps - now.exporters[&id].capacity_rps).abs() < 1e-9);
        }
        assert_eq!(report(12).aged_to(&objective, NOW), None);
        assert_eq!(Report { at: NOW + 301, ..report(0) }.aged_to(&objective, NOW), None);
    }

    #[test]
    fn method_follows_from_the_known_reports() {
        assert_eq!(input(&[]).method, Method::Joint, "no report yet");
        assert_eq!(input(&[("a", report(0))]).method, Method::Joint);
        let silent = Report { demand_rps: None, ..report(0) };
        assert_eq!(input(&[("a", report(0)), ("b", silent)]).method, Method::Joint, "half is explained");
        assert_eq!(input(&[("a", report(0)), ("b", silent), ("c", silent)]).method, Method::Fallback);
        assert_eq!(input(&[("a", report(12)), ("b", report(20))]).method, Method::Keep);
        let with = |hash| Report { parameter_hash: Some(hash), ..report(0) };
        let own = Objective::default().parameter_hash();
        assert_eq!(input(&[("a", with(own)), ("b", with(own))]).method, Method::Joint);
        assert_eq!(
            input(&[("a", with(own)), ("b", with(own ^ 1))]).method,
            Method::Fallback,
            "b plans with other settings"
        );
    }

    #[test]
    fn missing_capacity_is_assumed_and_a_report_from_the_future_is_ignored() {
        let silent = Report { capacity_rps: None, ..report(0) };
        let future = Report { at: NOW + 301, ..report(0) };
        let reports = BTreeMap::from([(id("a"), silent), (id("b"), future), (id("c"), report(13))]);
        let costs = CostMatrix::from_iter(["a", "b", "c", "d"].map(|name| (id(name), Arc::default())));
        let input = planning_input(&reports, &costs, |_| Some(70.0), (&Objective::default(), NOW));
        let assumed = ["a", "b", "c", "d"].map(|name| (capacity(&input, name) - 70.0).abs() < 1e-9);
        assert_eq!(
            assumed,
            [true, true, false, true],
            "a cluster whose report is too old is out, one that never reported is not"
        );
        assert!(!input.facts.exporters.contains_key(&id("c")));
        let counted = |name: &str| input.facts.sources[&id(name)].counted;
        assert!(!input.facts.demand_unknown);
        assert_eq!(["a", "b", "c", "d"].map(counted), [true, false, false, false]);
    }

    #[test]
    fn facts_change_once_a_round_and_a_demand_of_zero_is_known() {
        let at = |now| {
            let idle = Report { demand_rps: Some(0.0), ..report(2) };
            let reports = BTreeMap::from([(id("a"), idle), (id("b"), report(8))]);
            let costs = reports.keys().map(|id| (id.clone(), Arc::default())).collect();
            planning_input(&reports, &costs, |_| Some(0.0), (&Objective::default(), now))
        };
        assert_eq!(at(NOW), at(NOW + 299));
        assert_ne!(at(NOW), at(NOW + 300));
        assert!(!at(NOW).facts.demand_unknown);
        assert!(input(&[]).facts.demand_unknown);
    }

    #[test]
    fn services_with_unknown_demand_share_their_sources() {
        let costs = ["a", "b"].map(|name| (id(name), Arc::default())).into_iter().collect();
        let of = |reports| planning_input(&reports, &costs, |_| Some(70.0), (&Objective::default(), NOW)).facts;
        let (first, second) = (of(BTreeMap::new()), of(BTreeMap::from([(id("a"), Report::default())])));
        assert!(first.demand_unknown && Arc::ptr_eq(&first.sources, &second.sources));
    }

    #[test]
    fn ineligible_exporter_gets_no_share_and_stays_a_source() {
        let reports = BTreeMap::from([(id("a"), report(0)), (id("b"), report(0))]);
        let costs = reports.keys().map(|id| (id.clone(), Arc::default())).collect();
        let input = planning_input(
            &reports,
            &costs,
            |cluster| (*cluster == id("a")).then_some(0.0),
            (&Objective::default(), NOW),
        );
        assert_eq!(input.facts.exporters.keys().collect::<Vec<_>>(), [&id("a")]);
        assert_eq!(input.facts.sources.len(), 2);
    }
}
