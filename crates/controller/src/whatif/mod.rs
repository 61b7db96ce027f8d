//! The present fleet, if something in it were otherwise: who would be sent where, and what that would cost. Pure.
//!
//! What the clusters say is changed as if they said it, and then everybody's row is planned by the code that plans for them.
//! Nothing that was planned before counts, on neither side, so that every difference comes from the change.

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
use landfall_core::snapshot::Health;
use landfall_core::snapshot::{Link, NetworkView, RuleSource};

pub use self::edit::{Amount, Edit, Taken};
pub use self::trial::{NoTrial, Trial, put_in_force};
use self::trial::{plan_with, written};
use crate::facts::Facts;
use crate::observe::fleet::Fleet;
use crate::observe::path_costs::PathCosts;
use crate::pipeline::Pipeline;

/// One service, for the clients of all clusters.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub mode: Mode,
    /// `namespace/name` of the one in force. `None`: the cluster's default.
    pub policy: Option<String>,
    /// By source.
    pub shares: BTreeMap<ClusterId, Vec<Share>>,
    /// Of any source.
    pub fallback: Option<Fallback>,
    /// `None`: somebody's demand is not known, nobody can answer, or no way is known to who does.
    pub bill: Option<Bill>,
    /// Who would be asked for more than it can bear, and the part of its capacity that is.
    pub overfull: Vec<(ClusterId, f64)>,
    pub nobody_answers: bool,
    /// Whose demand was to be multiplied, and is not known.
    pub unmultiplied: BTreeSet<ClusterId>,
}

/// All clusters that somebody mentions.
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

/// The services that something is optimised for, in at least one of the clusters. Behind a clusterset IP the network decides.
pub fn optimised(pipelines: &[Pipeline]) -> BTreeSet<ServiceKey> {
    let is = |planned: &ServicePlan| {
        matches!(planned.service.rule_source.served(), RuleSource::Optimized(..)) && planned.clusterset_ips().is_empty()
    };
    let plans = pipelines.iter().filter_map(Pipeline::plan);
    plans.flat_map(|plan| plan.services().filter(|(_, planned)| is(planned)).map(|(key, _)| key.clone())).collect()
}

/// With all `edits`. One pipeline per cluster that is seen from inside; the rows of the others are planned with what the
/// first of them knows. `now` is in seconds since 1970; without it ages are not judged. `None`: nobody imports the service.
pub fn outcome(pipelines: &[Pipeline], key: &ServiceKey, edits: &[Edit], now: Option<u64>) -> Option<Outcome> {
    let worlds: Vec<World> = pipelines.iter().filter_map(|pipeline| World::new(pipeline, key, edits, now)).collect();
    let first = worlds.first()?;
    let mut shares = BTreeMap::new();
    let mut fallback = None;
    for source in first.known.facts.sources.keys() {
        let world = worlds.iter().find(|world| world.view.local == *source).unwrap_or(first);
        let (row, caveat) = world.row(source);
        shares.insert(source.clone(), row);
        fallback = fallback.or(caveat);
    }
    let (bill, overfull) = first.bill(&shares);
    let nobody_answers = shares.values().any(|row| row.iter().all(|share| !share.eligible));
    let policy = first.policy.name.as_deref().map(written);
    let unmultiplied = first.unmultiplied.clone();
    Some(Outcome { mode: first.policy.mode, policy, shares, fallback, bill, overfull, nobody_answers, unmultiplied })
}

/// One service as one cluster sees it, after the edits.
struct World {
    view: NetworkView,
    policy: Arc<Policy>,
    exports: ByCluster<Export>,
    known: PlanningInput,
    unmultiplied: BTreeSet<ClusterId>,
}

impl World {
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
        let tried = edits.iter().filter_map(Edit::taken).find_map(|taken| taken.objective(key, &policy));
        if let Some(objective) = &tried {
            clusters.values_mut().for_each(|facts| plan_with(facts, key, objective));
        }
        let objective = tried.unwrap_or(policy.objective);
        let fleet = fleet.with_facts(clusters.clone());
        let before = fleet.planning_input(key, &objective, &planned.service.exports);
        let counts_now = |said: &Report| {
            let at = now.map_or(0, |now| pipeline.hearing().counts_as_of(said.at, now));
            Report { at, ..*said }.aged_to(&objective, now.unwrap_or_default())
        };
        for cluster in edits.iter().filter_map(Edit::said_of) {
            say_again(clusters.get_mut(cluster), key, &before, counts_now);
        }
        edits.iter().for_each(|edit| apply(edit, &mut clusters, key, &before));
        let asks = |cluster: &ClusterId| clusters.get(cluster).and_then(|facts| facts.services.get(key)?.demand_rps);
        let multiplied = edits.iter().filter_map(Edit::multiplied);
        let unmultiplied = multiplied.filter(|cluster| asks(cluster).is_none()).cloned().collect();
        let mut known = fleet.with_facts(clusters).planning_input(key, &objective, &exports);
        if before.method != Method::Fallback {
            // Loads were measured before anything changed, and say nothing of demands that are thought of. And a fleet that has
            // not been heard for long is not known because a part of it is thought of.
            known.method = before.method;
        }
        Some(Self { view, policy, exports, known, unmultiplied })
    }

    fn row(&self, source: &ClusterId) -> (Vec<Share>, Option<Fallback>) {
        let rule = match self.policy.mode {
            Mode::Optimized => optimized_rule(&self.policy, &self.known, (source, &self.exports), None),
            Mode::RoundRobin | Mode::WeightedRoundRobin => weighted_rule(&self.policy, source, &self.exports),
        };
        let path_costs = self.known.facts.sources.get(source).map(|source| &source.costs);
        let health = |cluster: &ClusterId| match self.exports.get(cluster) {
            Some(export) if export.ready.is_empty() => Health::NotReady,
            Some(_) if path_costs.is_some_and(|path_costs| path_costs.contains_key(cluster)) => Health::Ready,
            Some(_) => Health::Unreachable,
            None => Health::NotReady,
        };
        (resolve(&rule, health), rule.fallback)
    }

    fn bill(&self, shares: &BTreeMap<ClusterId, Vec<Share>>) -> (Option<Bill>, Vec<(ClusterId, f64)>) {
        let (facts, objective) = (&self.known.facts, &self.policy.objective);
        let Ok(solution) = solve_jointly(facts, &objective.tuning, &ByCluster::new()) else {
            return (None, self.without_capacity(shares));
        };
        if facts.demand_unknown {
            return (None, Vec::new());
        }
        let judge = CostModel::new(facts, objective, &solution);
        let splits: BTreeMap<ClusterId, Split> =
            shares.iter().filter_map(|(source, row)| Some((source.clone(), split(row)?))).collect();
        // Weights are whole thousandths, so somebody who is just full can be asked for that much more.
        const MORE: f64 = 1.001;
        let utilisation = |(exporter, load)| {
            let part = judge.utilization(&exporter, load);
            (part > MORE).then_some((exporter, part))
        };
        let overfull = judge.loads(&splits).into_iter().filter_map(utilisation).collect();
        (judge.bill(&splits, |_| true), overfull)
    }

    /// Nobody has a capacity, so whoever is asked is asked for too much.
    fn without_capacity(&self, shares: &BTreeMap<ClusterId, Vec<Share>>) -> Vec<(ClusterId, f64)> {
        let asked = shares.values().flatten().filter(|share| share.weight > 0);
        let able = |cluster: &ClusterId| {
            let exporter = self.known.facts.exporters.get(cluster);
            exporter.is_some_and(|exporter| exporter.capacity_rps >= MIN_CAPACITY_RPS)
        };
        let asked: BTreeSet<&ClusterId> = asked.map(|share| &share.cluster).filter(|cluster| !able(cluster)).collect();
        asked.into_iter().map(|cluster| (cluster.clone(), f64::INFINITY)).collect()
    }
}

/// A cluster that is added is connected.
fn view(view: &NetworkView, edits: &[Edit]) -> NetworkView {
    let mut view = view.clone();
    for facts in edits.iter().filter_map(Edit::added).filter(|_| view.links_complete) {
        view.links.insert(facts.cluster.clone(), Link { reachable: true, rtt: None });
    }
    view
}

fn exports(now: &ByCluster<Export>, key: &ServiceKey, edits: &[Edit]) -> ByCluster<Export> {
    // Nobody is sent there: it stands for a pod, or for many.
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

/// What a cluster said, as if it said now what that counts as now: a change of it is one of the present, and does not grow
/// and age as what was said before. Who says nothing that counts asks for nothing, and who is silent for too long can bear
/// nothing.
fn say_again(
    cluster: Option<&mut Arc<Facts>>,
    key: &ServiceKey,
    before: &PlanningInput,
    counts_now: impl Fn(&Report) -> Option<Report>,
) {
    let Some(facts) = cluster.map(Arc::make_mut) else { return };
    let demand_rps = (!before.facts.demand_unknown).then_some(0.0);
    let again = match facts.services.get(key) {
        None => Report { demand_rps, ..Report::default() },
        Some(said) => {
            let nothing = Report { demand_rps, capacity_rps: Some(0.0), ..Report::default() };
            counts_now(said).unwrap_or(nothing)
        }
    };
    *report(facts, key) = again;
}

/// `before`: what is known without any edit, to multiply.
fn apply(edit: &Edit, clusters: &mut BTreeMap<ClusterId, Arc<Facts>>, key: &ServiceKey, before: &PlanningInput) {
    let mut change = |cluster: &ClusterId, change: &dyn Fn(&mut Facts)| {
        clusters.get_mut(cluster).map(Arc::make_mut).into_iter().for_each(change);
    };
    match edit {
        Edit::Outage(_) | Edit::Policy(_) => {}
        Edit::Demand(cluster, amount) => change(cluster, &|facts| {
            // Twice of what nobody knows is not known.
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
            // As if it spoke now: what is in a file may be of any time.
            let mut facts = Facts::clone(facts);
            Arc::make_mut(&mut facts.services).values_mut().for_each(|report| report.at = 0);
            clusters.insert(facts.cluster.clone(), Arc::new(facts));
        }
    }
}

fn report<'a>(facts: &'a mut Facts, key: &ServiceKey) -> &'a mut Report {
    Arc::make_mut(&mut facts.services).entry(key.clone()).or_default()
}
