//! What-if: shares and costs after hypothetical changes of the present fleet. Pure.
//!
//! Edits change the facts as if the clusters had reported them. The rows of all clusters are then planned by the same
//! code as always. Previous plans count neither before nor after the change, so every difference comes from the change.

mod edit;
mod trial;
pub mod comparison;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use landfall_core::export::{Endpoint, Export};
use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
use landfall_core::optimize::facts::MIN_CAPACITY_RPS;
use landfall_core::optimize::report::{Method, PlanningInput, Report};
use landfall_core::optimize::solve_jointly;
use landfall_core::plan::ServicePlan;
use landfall_core::policy::{Mode, Policy};
use landfall_core::resolve::{Share, resolve};
use landfall_core::rule::Fallback;
use landfall_core::rule::optimized::optimized_rule;
use landfall_core::rule::weighted::weighted_rule;
use landfall_core::savings::{Bill, CostModel, Split, split};
use landfall_core::snapshot::{Health, Link, NetworkView, RuleSource};

pub use self::edit::{Amount, AppliedTrial, Edit};
pub use self::trial::{TrialError, TrialPolicy, apply_trials};
use self::trial::{original_name, plan_with};
use crate::facts::ClusterFacts;
use crate::observe::fleet::Fleet;
use crate::observe::path_costs::PathCosts;
use crate::pipeline::Pipeline;

/// Plan of one service for the clients of all clusters, with its costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub mode: Mode,
    /// `namespace/name` of the policy in force. `None` if the default of the cluster applies.
    pub policy: Option<String>,
    /// Shares by source cluster.
    pub shares: BTreeMap<ClusterId, Vec<Share>>,
    /// Fallback of the first source cluster that has one.
    pub fallback: Option<Fallback>,
    /// `None` if a demand is unknown, no cluster has a weight, or a used path has no known cost.
    pub bill: Option<Bill>,
    /// Overloaded clusters, with their utilization.
    pub overloaded: Vec<(ClusterId, f64)>,
    /// True if a source cluster has no eligible exporter.
    pub unanswered: bool,
    /// Clusters whose demand was to be multiplied and is unknown.
    pub unmultiplied: BTreeSet<ClusterId>,
}

/// Returns all clusters that appear in objects or facts.
pub fn clusters(pipelines: &[Pipeline]) -> BTreeSet<ClusterId> {
    let path_costs = PathCosts::default();
    let of = |pipeline: &Pipeline| -> Vec<ClusterId> {
        Fleet::new(pipeline.stores(), pipeline.view(), (None, pipeline.hearing()), &path_costs)
            .clusters()
            .keys()
            .cloned()
            .collect()
    };
    pipelines.iter().flat_map(of).collect()
}

/// Returns the services that are optimized in at least one cluster. Services with a clusterset IP are left out: the
/// network chooses the cluster.
pub fn optimized_services(pipelines: &[Pipeline]) -> BTreeSet<ServiceKey> {
    let is_optimized = |planned: &ServicePlan| {
        matches!(planned.service.rule_source.served(), RuleSource::Optimized(..)) && planned.clusterset_ips().is_empty()
    };
    let plans = pipelines.iter().filter_map(Pipeline::plan);
    plans
        .flat_map(|plan| plan.services().filter(|(_, planned)| is_optimized(planned)).map(|(key, _)| key.clone()))
        .collect()
}

/// Plans a service with all `edits`. Returns `None` if no pipeline imports the service.
///
/// Each pipeline plans the row of its own cluster; the first one also plans the rows of clusters without a pipeline.
/// `now` is in seconds since 1970; if it is `None`, facts do not age.
pub fn outcome(pipelines: &[Pipeline], key: &ServiceKey, edits: &[Edit], now: Option<u64>) -> Option<Outcome> {
    let services: Vec<EditedService> =
        pipelines.iter().filter_map(|pipeline| EditedService::new(pipeline, key, edits, now)).collect();
    let first = services.first()?;
    let mut shares = BTreeMap::new();
    let mut fallback = None;
    for source in first.input.facts.sources.keys() {
        let service = services.iter().find(|service| service.view.local == *source).unwrap_or(first);
        let (row, row_fallback) = service.row(source);
        shares.insert(source.clone(), row);
        fallback = fallback.or(row_fallback);
    }
    let (bill, overloaded) = first.bill(&shares);
    let unanswered = shares.values().any(|row| row.iter().all(|share| !share.eligible));
    let policy = first.policy.name.as_deref().map(original_name);
    let unmultiplied = first.unmultiplied.clone();
    Some(Outcome { mode: first.policy.mode, policy, shares, fallback, bill, overloaded, unanswered, unmultiplied })
}

/// Inputs of one service in one cluster, after the edits.
struct EditedService {
    view: NetworkView,
    policy: Arc<Policy>,
    exports: ByCluster<Export>,
    input: PlanningInput,
    unmultiplied: BTreeSet<ClusterId>,
}

impl EditedService {
    fn new(pipeline: &Pipeline, key: &ServiceKey, edits: &[Edit], now: Option<u64>) -> Option<Self> {
        let planned = pipeline.plan()?.get(key.as_str())?;
        let policy = match planned.service.rule_source.served() {
            RuleSource::Policy(policy) | RuleSource::Optimized(policy, _, _) => Arc::clone(policy),
            RuleSource::Published(_) | RuleSource::Shadowed { .. } => return None,
        };
        let view = view(pipeline.view(), edits);
        let exports = exports(&planned.service.exports, key, edits);
        let path_costs = PathCosts::default();
        let fleet = Fleet::new(pipeline.stores(), &view, (now, pipeline.hearing()), &path_costs);
        let mut clusters = fleet.clusters().clone();
        let trial_objective =
            edits.iter().filter_map(Edit::applied_trial).find_map(|trial| trial.objective(key, &policy));
        if let Some(objective) = &trial_objective {
            clusters.values_mut().for_each(|facts| plan_with(facts, key, objective));
        }
        let objective = trial_objective.unwrap_or(policy.objective);
        let fleet = fleet.with_facts(clusters.clone());
        let before = fleet.planning_input(key, &objective, &planned.service.exports);
        let aged_to_now = |reported: &Report| {
            let at = now.map_or(0, |now| pipeline.hearing().effective_time(reported.at, now));
            Report { at, ..*reported }.aged_to(&objective, now.unwrap_or_default())
        };
        for cluster in edits.iter().filter_map(Edit::edited_report) {
            as_reported_now(clusters.get_mut(cluster), key, &before, aged_to_now);
        }
        edits.iter().for_each(|edit| apply(edit, &mut clusters, key, &before));
        let demand = |cluster: &ClusterId| clusters.get(cluster).and_then(|facts| facts.services.get(key)?.demand_rps);
        let multiplied = edits.iter().filter_map(Edit::multiplied);
        let unmultiplied = multiplied.filter(|cluster| demand(cluster).is_none()).cloned().collect();
        let mut input = fleet.with_facts(clusters).planning_input(key, &objective, &exports);
        if before.method != Method::Fallback {
            // Measured loads predate the edits, so they cannot contradict edited demands. And editing one report does
            // not make up for missing facts of the rest of the fleet.
            input.method = before.method;
        }
        Some(Self { view, policy, exports, input, unmultiplied })
    }

    fn row(&self, source: &ClusterId) -> (Vec<Share>, Option<Fallback>) {
        let rule = match self.policy.mode {
            Mode::Optimized => optimized_rule(&self.policy, &self.input, (source, &self.exports), None),
            Mode::RoundRobin | Mode::WeightedRoundRobin => weighted_rule(&self.policy, source, &self.exports),
        };
        let paths = self.input.facts.sources.get(source).map(|source| &source.costs);
        let health = |cluster: &ClusterId| match self.exports.get(cluster) {
            Some(export) if export.ready.is_empty() => Health::NotReady,
            Some(_) if paths.is_some_and(|paths| paths.contains_key(cluster)) => Health::Ready,
            Some(_) => Health::Unreachable,
            None => Health::NotReady,
        };
        (resolve(&rule, health), rule.fallback)
    }

    fn bill(&self, shares: &BTreeMap<ClusterId, Vec<Share>>) -> (Option<Bill>, Vec<(ClusterId, f64)>) {
        let (facts, objective) = (&self.input.facts, &self.policy.objective);
        let Ok(solution) = solve_jointly(facts, &objective.tuning, &ByCluster::new()) else {
            return (None, self.without_capacity(shares));
        };
        if facts.demand_unknown {
            return (None, Vec::new());
        }
        let model = CostModel::new(facts, objective, &solution);
        let splits: BTreeMap<ClusterId, Split> =
            shares.iter().filter_map(|(source, row)| Some((source.clone(), split(row)?))).collect();
        // Weights are rounded to thousandths, so a full cluster can get that much more.
        const MAX_UTILIZATION: f64 = 1.001;
        let overload = |(exporter, load)| {
            let utilization = model.utilization(&exporter, load);
            (utilization > MAX_UTILIZATION).then_some((exporter, utilization))
        };
        let overloaded = model.loads(&splits).into_iter().filter_map(overload).collect();
        (model.bill(&splits, |_| true), overloaded)
    }

    /// Returns the clusters with a weight and without capacity. Any load overloads them.
    fn without_capacity(&self, shares: &BTreeMap<ClusterId, Vec<Share>>) -> Vec<(ClusterId, f64)> {
        let weighted = shares.values().flatten().filter(|share| share.weight > 0);
        let has_capacity = |cluster: &ClusterId| {
            let exporter = self.input.facts.exporters.get(cluster);
            exporter.is_some_and(|exporter| exporter.capacity_rps >= MIN_CAPACITY_RPS)
        };
        let overloaded: BTreeSet<&ClusterId> =
            weighted.map(|share| &share.cluster).filter(|cluster| !has_capacity(cluster)).collect();
        overloaded.into_iter().map(|cluster| (cluster.clone(), f64::INFINITY)).collect()
    }
}

/// Returns the view with connections to added clusters.
fn view(view: &NetworkView, edits: &[Edit]) -> NetworkView {
    let mut view = view.clone();
    for facts in edits.iter().filter_map(Edit::added).filter(|_| view.links_complete) {
        view.links.insert(facts.cluster.clone(), Link { reachable: true, rtt: None });
    }
    view
}

fn exports(now: &ByCluster<Export>, key: &ServiceKey, edits: &[Edit]) -> ByCluster<Export> {
    // A placeholder for one or many pods. No client gets this address.
    let endpoint = Endpoint::new([192, 0, 2, 1].into(), None);
    let mut exports = now.clone();
    for facts in edits.iter().filter_map(Edit::added) {
        if facts.services.get(key).is_some_and(|report| report.capacity_rps.is_some()) {
            exports.insert(facts.cluster.clone(), Export { ready: [endpoint.clone()].into() });
        }
    }
    for (cluster, export) in &mut exports {
        if edits.iter().any(|edit| edit.is_outage_of(cluster)) {
            export.ready = Arc::default();
        }
    }
    exports
}

/// Replaces a cluster's report with its present value, so that an edit neither grows nor ages.
///
/// A cluster without a report has no demand. A cluster whose report is too old has no capacity either.
fn as_reported_now(
    cluster: Option<&mut Arc<ClusterFacts>>,
    key: &ServiceKey,
    before: &PlanningInput,
    aged_to_now: impl Fn(&Report) -> Option<Report>,
) {
    let Some(facts) = cluster.map(Arc::make_mut) else { return };
    let demand_rps = (!before.facts.demand_unknown).then_some(0.0);
    let present = match facts.services.get(key) {
        None => Report { demand_rps, ..Report::default() },
        Some(reported) => {
            let expired = Report { demand_rps, capacity_rps: Some(0.0), ..Report::default() };
            aged_to_now(reported).unwrap_or(expired)
        }
    };
    *report(facts, key) = present;
}

/// Applies one edit. `before` is the planning input without edits, for multiplying its values.
fn apply(edit: &Edit, clusters: &mut BTreeMap<ClusterId, Arc<ClusterFacts>>, key: &ServiceKey, before: &PlanningInput) {
    let mut change = |cluster: &ClusterId, change: &dyn Fn(&mut ClusterFacts)| {
        clusters.get_mut(cluster).map(Arc::make_mut).into_iter().for_each(change);
    };
    match edit {
        Edit::Outage(_) | Edit::Policy(_) => {}
        Edit::Demand(cluster, amount) => change(cluster, &|facts| {
            // Twice an unknown demand is unknown.
            let report = report(facts, key);
            report.demand_rps = match (amount, report.demand_rps) {
                (Amount::Times(_), None) => None,
                (amount, now) => Some(amount.of(now.unwrap_or(0.0))),
            };
        }),
        Edit::Capacity(cluster, amount) => change(cluster, &|facts| {
            let exporters = &before.if_all_ready.as_ref().unwrap_or(&before.facts).exporters;
            let now = exporters.get(cluster).map_or(0.0, |exporter| exporter.capacity_rps);
            let report = report(facts, key);
            report.capacity_rps = Some(amount.of(report.capacity_rps.unwrap_or(now)));
        }),
        Edit::Price(from, to, usd_per_gb) => change(from, &|facts| {
            facts.egress_usd_per_gb.insert(to.clone(), *usd_per_gb);
        }),
        Edit::Rtt(a, b, ms) => {
            change(a, &|facts| facts.links.entry(b.clone()).or_default().rtt_ms = Some(*ms));
            change(b, &|facts| facts.links.entry(a.clone()).or_default().rtt_ms = Some(*ms));
        }
        Edit::Add(facts) => {
            // Dated now, because the file may have any date.
            let mut facts = ClusterFacts::clone(facts);
            Arc::make_mut(&mut facts.services).values_mut().for_each(|report| report.at = 0);
            clusters.insert(facts.cluster.clone(), Arc::new(facts));
        }
    }
}

fn report<'a>(facts: &'a mut ClusterFacts, key: &ServiceKey) -> &'a mut Report {
    Arc::make_mut(&mut facts.services).entry(key.clone()).or_default()
}
