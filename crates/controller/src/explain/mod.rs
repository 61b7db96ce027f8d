//! Explains the shares of a service: everything that they are computed from, in one value that can be printed. Pure.

mod costs;
mod inputs;
mod served;
mod sources;

use crate::explain::served::share_percent;
use std::sync::Arc;

use landfall_core::achieved::{Achieved, achieved};
use landfall_core::export::Export;
use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
use landfall_core::optimize::facts::Facts;
use landfall_core::optimize::report::Method;
use landfall_core::optimize::{Solution, solve_jointly};
use landfall_core::plan::ServicePlan;
use landfall_core::policy::{LocalPreference, Policy, Weight};
use landfall_core::resolve::Share;
use landfall_core::rule::CostTerms;
use landfall_core::rule::optimized::optimized_rule;
use landfall_core::rule::{Candidate, Fallback};
use landfall_core::sensitivity::{NextChange, busy, next_changes};
use landfall_core::snapshot::RuleSource;
use serde::Serialize;

use self::costs::costs;
pub use self::costs::{BillLine, CostComparison};
pub use self::inputs::Inputs;
pub use self::served::{Served, ServedShare};
use self::sources::SourceLookup;
pub use self::sources::{Input, Origins};
use crate::observe::fleet::Fleet;
use crate::observe::path_costs::PathCosts;
use crate::pipeline::Pipeline;
use crate::rounds::round_seconds;

/// Explanation of the shares of one service for the clients of one cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub service: String,
    pub source: String,
    /// `None` if the rule comes from the Submariner resource or the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    pub mode_asked: &'static str,
    pub mode: &'static str,
    /// Whether clients stay in their own cluster while it can answer.
    pub prefers_local: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Word>,
    /// Summary, as in the status of a ServiceSelection.
    pub summary: String,
    /// Shares that are answered now, which may differ from those planned here. `None` for files, which have no answers
    /// of their own, and for a service that is answered with clusterset IPs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
    /// If there are any, they are the answer, and the network chooses the exporter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clusterset_ips: Vec<String>,
    /// All clusters of the rule, also those without a share.
    pub clusters: Vec<ClusterShare>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimized: Option<Plan>,
    /// Counted answers, compared with the weights. `None` if no answers were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub achieved: Option<Vec<AchievedShare>>,
}

/// A fixed word for programs, and its meaning for users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Word {
    pub word: &'static str,
    pub meaning: &'static str,
}

/// One candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterShare {
    pub cluster: String,
    /// In thousandths.
    pub weight: u32,
    pub percent: f64,
    pub eligible: bool,
    pub reason: &'static str,
    pub priority: u8,
    pub nominal_weight: u32,
    pub min_weight: u32,
    pub ready_endpoints: usize,
    /// Weight in the policy. A cluster with 0 is always chosen; otherwise a lower weight gets more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_asked: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Origins>,
}

/// Cost of a request at one cluster: the sum of latency, price, service time and congestion.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Absent if the cost of the path is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_ms: Option<f64>,
    pub service_ms: f64,
    pub congestion_ms: f64,
    /// Sum of the four terms above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_million: Option<f64>,
    /// Average waiting time of a request.
    pub wait_ms: f64,
    pub capacity_rps: f64,
    pub utilization: f64,
}

/// Details of an optimized service.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub method: Word,
    /// Round in which the plan was computed, if there are rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<u64>,
    pub usd_per_ms_per_million: f64,
    pub demand_rps: Input,
    /// True if hysteresis keeps the previous weights, because the new ones differ too little.
    pub held: bool,
    /// Exporters so busy that other clusters get a share of the requests.
    pub binding: Vec<String>,
    pub next_changes: Vec<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costs: Option<CostComparison>,
    /// Implausible facts, with the values that replace them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clamped: Vec<String>,
    pub inputs: Inputs,
}

/// The smallest change of a fact that would change the shares.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub cluster: String,
    pub affected: String,
    pub sentence: String,
}

impl From<NextChange> for Change {
    fn from(change: NextChange) -> Self {
        let sentence = change.to_string();
        Self { cluster: change.cluster.to_string(), affected: change.affected.to_string(), sentence }
    }
}

/// Counted answers of one cluster, compared with its weight.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AchievedShare {
    pub cluster: String,
    pub answers: u64,
    pub intended: f64,
    pub share: f64,
    /// 95 % confidence interval of the share.
    pub interval: (f64, f64),
    pub verdict: &'static str,
}

impl From<Achieved> for AchievedShare {
    fn from(one: Achieved) -> Self {
        let Achieved { cluster, answers, intended, share, interval, verdict } = one;
        Self { cluster: cluster.to_string(), answers, intended, share, interval, verdict: verdict.as_str() }
    }
}

/// Explains the shares of a service. Returns `None` if there is no such service. `now` is in seconds since 1970;
/// without it, ages are not judged.
pub fn explain(pipeline: &Pipeline, key: &ServiceKey, now: Option<u64>) -> Option<Explanation> {
    let planned = pipeline.plan()?.get(key.as_str())?;
    let local = &pipeline.perspective().local;
    let policy = match planned.service.rule_source.served() {
        RuleSource::Policy(policy) | RuleSource::Optimized(policy, _, _) => Arc::clone(policy),
        RuleSource::Published(_) | RuleSource::Shadowed { .. } => Arc::default(),
    };
    let path_costs = PathCosts::default();
    let fleet = Fleet::new(pipeline.stores(), pipeline.view(), (now, pipeline.hearing()), &path_costs);
    let lookup = match planned.service.rule_source.served() {
        RuleSource::Optimized(policy, known, _) => Some(SourceLookup {
            stores: pipeline.stores(),
            view: pipeline.view(),
            fleet: &fleet,
            key,
            known,
            objective: &policy.objective,
            now,
        }),
        RuleSource::Policy(_) | RuleSource::Published(_) | RuleSource::Shadowed { .. } => None,
    };
    let candidates = planned.rule.candidates.iter().zip(&planned.shares);
    let answered = now.and_then(|_| served::answered(pipeline, key, planned));
    let in_force = answered.as_ref().map_or(&planned.shares, |answered| &answered.shares);
    Some(Explanation {
        service: key.to_string(),
        source: local.to_string(),
        policy: planned.rule.policy.as_deref().map(str::to_owned),
        mode_asked: policy.mode.as_str(),
        mode: planned.rule.mode.as_str(),
        prefers_local: policy.local_preference() == LocalPreference::Prefer,
        fallback: planned.rule.fallback.map(fallback),
        summary: crate::publish::selection::summary(planned),
        served: answered.as_ref().map(|answered| served::served(pipeline, key, (answered, planned))),
        clusterset_ips: planned.clusterset_ips().iter().map(ToString::to_string).collect(),
        clusters: candidates.map(|one| cluster(one, &policy, (local, &planned.service.exports), lookup)).collect(),
        optimized: lookup.map(|lookup| optimized_details(planned, &policy, lookup)),
        achieved: achieved_split(pipeline, key, in_force),
    })
}

/// Returns the answers of the last round, as published by this cluster, compared with the shares.
fn achieved_split(pipeline: &Pipeline, key: &ServiceKey, shares: &[Share]) -> Option<Vec<AchievedShare>> {
    let own = pipeline.stores().facts.peers.get(&pipeline.perspective().local)?;
    let seconds = round_seconds(pipeline.plan()?);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an accepted rate over minutes")]
    let count = |(cluster, rps): (&ClusterId, &f64)| (cluster.clone(), (rps * seconds).round() as u64);
    let answers = own.answers_rps.get(key)?.iter().map(count).collect();
    let weights = shares.iter().map(|share| (share.cluster.clone(), share.weight)).collect();
    Some(achieved(&weights, &answers).into_iter().map(Into::into).collect())
}

fn cluster(
    (candidate, share): (&Candidate, &Share),
    policy: &Policy,
    (local, exports): (&ClusterId, &ByCluster<Export>),
    lookup: Option<SourceLookup<'_>>,
) -> ClusterShare {
    let export = exports.get(&share.cluster);
    let weight = policy.row(local).and_then(|row| row.weight(&share.cluster));
    let weight_asked = weight.map(|weight| match weight {
        Weight::Finite(weight) => weight.to_string(),
        Weight::Zero => "0".to_owned(),
        Weight::Invalid => "invalid".to_owned(),
    });
    ClusterShare {
        cluster: share.cluster.to_string(),
        weight: share.weight,
        percent: share_percent(share),
        eligible: share.eligible,
        reason: share.reason.as_str(),
        priority: candidate.priority,
        nominal_weight: candidate.nominal,
        min_weight: candidate.floor,
        ready_endpoints: export.map_or(0, |export| export.ready.len()),
        weight_asked,
        terms: candidate.terms.map(Cost::from),
        inputs: lookup.map(|lookup| lookup.origins(&share.cluster, export)),
    }
}

impl From<CostTerms> for Cost {
    fn from(terms: CostTerms) -> Self {
        let path = terms.latency_ms.zip(terms.price_ms).map(|(latency, price)| latency + price);
        Self {
            latency_ms: terms.latency_ms,
            price_ms: terms.price_ms,
            service_ms: terms.service_ms,
            congestion_ms: terms.congestion_ms,
            cost_ms: path.map(|path| path + terms.service_ms + terms.congestion_ms),
            usd_per_million: terms.usd_per_million,
            wait_ms: terms.wait_ms,
            capacity_rps: terms.capacity_rps,
            utilization: terms.utilization,
        }
    }
}

fn optimized_details(planned: &ServicePlan, policy: &Policy, lookup: SourceLookup<'_>) -> Plan {
    let (known, objective) = (lookup.known, lookup.objective);
    let local = &lookup.view.local;
    let solution = match known.method {
        Method::Keep => None,
        Method::Joint | Method::Fallback => solve_jointly(&known.facts, &objective.tuning, &ByCluster::new()).ok(),
    };
    let fresh = optimized_rule(policy, known, (local, &planned.service.exports), None);
    let nominal = |rule: &landfall_core::rule::Rule| -> Vec<(u8, u32)> {
        rule.candidates.iter().map(|candidate| (candidate.priority, candidate.nominal)).collect()
    };
    let floor = |cluster: &ClusterId| {
        let candidate = planned.rule.candidates.iter().find(|candidate| candidate.cluster == *cluster);
        candidate.map_or(0, |candidate| candidate.floor)
    };
    // With a local preference in force, the local cluster gets everything and the optimizer decides nothing.
    let decides = !planned.shares.iter().any(|share| share.reason == landfall_core::rule::Reason::Local);
    Plan {
        method: method(known.method),
        round: lookup.stores.facts.peers.get(local).and_then(|own| u64::try_from(own.generation).ok()),
        usd_per_ms_per_million: objective.rate.usd(),
        demand_rps: lookup.demand(local),
        held: nominal(&fresh) != nominal(&planned.rule),
        binding: solution
            .iter()
            .filter(|_| decides)
            .flat_map(|solution| binding(solution, &known.facts, lookup))
            .collect(),
        next_changes: match decides && solution.is_some() {
            true => next_changes(known, objective, local, &|of| lookup.fleet.usd_per_gb(of, local).value, &floor)
                .into_iter()
                .map(Change::from)
                .collect(),
            false => Vec::new(),
        },
        costs: solution.as_ref().and_then(|solution| costs(solution, known, objective, (local, &planned.shares))),
        clamped: solution.iter().flat_map(|solution| &solution.clamped).map(ToString::to_string).collect(),
        inputs: Inputs::of(known, objective),
    }
}

fn binding(solution: &Solution, facts: &Facts, lookup: SourceLookup<'_>) -> Vec<String> {
    let busy = busy(solution, facts, &lookup.objective.tuning, &lookup.view.local);
    busy.iter().map(ToString::to_string).collect()
}

fn method(method: Method) -> Word {
    let (word, meaning) = match method {
        Method::Joint => ("Joint", "computed for all clusters together, from the facts that each publishes"),
        Method::Fallback => (
            "Fallback",
            "computed from the available facts: the demands explain less than half of the loads, or a cluster plans \
             with other settings",
        ),
        Method::Keep => (
            "Keep",
            "not computed: the facts are too old, or the broker was not reached yet, so the previous weights stay",
        ),
    };
    Word { word, meaning }
}

fn fallback(fallback: Fallback) -> Word {
    let meaning = match fallback {
        Fallback::NoWeights => "no exporting cluster has a weight for these clients, so all clusters share equally",
        Fallback::NoCapacity => {
            "no ready cluster reports any capacity, so the previous weights stay, or all clusters share equally"
        }
        Fallback::Unsolved => {
            "the solver found no solution, so the previous weights stay, or all clusters share equally"
        }
        Fallback::NoFacts => {
            "no recent facts are available, so the previous weights stay, or all clusters share equally"
        }
        Fallback::DemandsUnexplained => {
            "the demands explain less than half of the loads, or a cluster plans with other settings; planned from \
             the available facts"
        }
        Fallback::DemandUnknown => {
            "some demands are unknown, so the same is assumed for all clusters: half of the capacity in total"
        }
    };
    Word { word: fallback.as_str(), meaning }
}
