//! One service at the end of a round.

use std::collections::BTreeMap;

use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::optimize::agent::{Agent, Measured};
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::Report;
use landfall_core::plan::ServicePlan;

use super::Ground;
use super::window::Window;
use crate::facts::pods;

/// What its clients asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Demand {
    pub(super) rps: f64,
    /// By exporting cluster.
    pub(super) sent: BTreeMap<ClusterId, f64>,
}

pub(super) struct Closed {
    /// `None`: it is of no interest to anybody.
    pub(super) report: Option<Report>,
    pub(super) answers_rps: BTreeMap<ClusterId, f64>,
}

/// What the ready pods of the own export can bear. `None`: there is no export here.
pub(super) fn nominal_rps(
    ground: Ground<'_>,
    (key, planned): (&ServiceKey, &ServicePlan),
    objective: &Objective,
) -> Option<f64> {
    let export = planned.service.exports.get(ground.local)?;
    if export.ready.is_empty() {
        return Some(0.0);
    }
    let ready = ground.stores.pods.count(key).unwrap_or_else(|| pods(export).max(1));
    Some(ready as f64 * objective.capacity_rps_per_pod)
}

/// `None`: nobody counted.
pub(super) fn demand(
    _ground: Ground<'_>,
    (key, _planned): (&ServiceKey, &ServicePlan),
    objective: &Objective,
    window: &Window,
) -> Option<Demand> {
    if !window.counted() {
        return None;
    }
    let per_answer = objective.requests_per_answer;
    let sent = window.answers_rps(key).into_iter().map(|(cluster, rps)| (cluster, rps * per_answer)).collect();
    Some(Demand { rps: window.all_answers_rps(key) * per_answer, sent })
}

pub(super) fn close(
    ground: Ground<'_>,
    agent: &mut Agent,
    (key, planned): (&ServiceKey, &ServicePlan),
    (objective, window, now): (&Objective, &Window, u64),
) -> Closed {
    let tuning = &objective.tuning;
    let demand = demand(ground, (key, planned), objective, window);
    let nominal = nominal_rps(ground, (key, planned), objective);
    if let Some(demand) = &demand {
        agent.count_sent(demand.rps, demand.sent.clone(), now, tuning);
    }
    let load = load_rps(ground, key, objective, window);
    let measured = |nominal_rps| Measured { load_rps: load.unwrap_or(0.0), nominal_rps, limit_rps: None };
    let export = nominal.map(measured);
    if let Some(export) = export.filter(|_| load.is_some()) {
        let said =
            |cluster: &ClusterId| ground.stores.peers.get(cluster)?.services.get(key)?.measured_or_expected_rps();
        let others = ground.stores.peers.keys().filter(|cluster| *cluster != ground.local);
        let mut demands: BTreeMap<ClusterId, f64> =
            others.filter_map(|cluster| Some((cluster.clone(), said(cluster)?))).collect();
        demands.extend(demand.as_ref().map(|demand| (ground.local.clone(), demand.rps)));
        agent.compare(export, &demands, now, tuning);
    }
    let report = Report {
        measured_demand_rps: demand.map(|demand| demand.rps),
        load_rps: load.filter(|_| export.is_some()),
        parameter_hash: Some(objective.parameter_hash()),
        ..agent.report(export, now, tuning)
    };
    let interesting = export.is_some() || report.demand_rps.is_some_and(|demand| demand > 0.0);
    Closed { report: interesting.then_some(report), answers_rps: window.answers_rps(key) }
}

/// What the own export was asked for: as a meter says, else as many as were sent here by the answers of all clusters.
fn load_rps(ground: Ground<'_>, key: &ServiceKey, objective: &Objective, window: &Window) -> Option<f64> {
    if let Some(load) = window.reading(key).load_rps {
        return Some(load);
    }
    let own = window.answers_rps(key).get(ground.local).copied();
    let theirs = ground.stores.peers.iter().filter(|(cluster, _)| *cluster != ground.local);
    let theirs = theirs.filter_map(|(_, facts)| facts.answers_rps.get(key)?.get(ground.local).copied());
    let answers: Vec<f64> = own.into_iter().chain(theirs).collect();
    (window.counted() || !answers.is_empty()).then(|| answers.iter().sum::<f64>() * objective.requests_per_answer)
}
