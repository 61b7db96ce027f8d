//! Compares the outcomes of services before and after a change.

use std::collections::{BTreeMap, BTreeSet};

use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::rule::Fallback;
use serde::Serialize;

use crate::explain::BillLine;
use crate::pipeline::Pipeline;
use crate::whatif::{Outcome, TrialPolicy};

/// One service, before and after the change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceChange {
    pub service: String,
    /// Policy in force after the change. Absent: the default of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Policies on trial that target this service and are overridden by a more specific policy.
    #[serde(rename = "passedOver", skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<String>,
    pub sources: Vec<SourceChange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<BillLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<BillLine>,
    /// Clusters that are overloaded after the change, with their utilization. `None` if the cluster has no capacity.
    pub over_capacity: BTreeMap<String, Option<f64>>,
    #[serde(rename = "nobodyAnswers")]
    pub unanswered: bool,
    /// Clusters whose demand was to be multiplied and is unknown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unmultiplied: Vec<String>,
    /// Why the service is not planned as its policy requires after the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<&'static str>,
}

impl ServiceChange {
    /// Returns true if nothing about the service needs attention after the change.
    pub fn is_ok(&self) -> bool {
        self.over_capacity.is_empty() && !self.unanswered && self.unmultiplied.is_empty() && self.fallback.is_none()
    }
}

/// Shares of the clients of one source cluster, in thousandths. `None` if the source has no demand, because nothing is
/// then planned for it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceChange {
    pub source: String,
    pub before: Option<BTreeMap<String, u32>>,
    pub after: Option<BTreeMap<String, u32>>,
}

/// Compares the outcomes of all services.
pub fn compare(before: &BTreeMap<ServiceKey, Outcome>, after: &BTreeMap<ServiceKey, Outcome>) -> Vec<ServiceChange> {
    after.iter().map(|(key, after)| compare_service(key, before.get(key), after)).collect()
}

fn compare_service(key: &ServiceKey, before: Option<&Outcome>, after: &Outcome) -> ServiceChange {
    let sources: BTreeSet<&ClusterId> = before.into_iter().chain([after]).flat_map(|one| one.shares.keys()).collect();
    let source = |source: &ClusterId| SourceChange {
        source: source.to_string(),
        before: weights(before, source),
        after: weights(Some(after), source),
    };
    let finite = |utilization: f64| Some(utilization).filter(|utilization| utilization.is_finite());
    ServiceChange {
        service: key.to_string(),
        policy: after.policy.clone(),
        overridden: Vec::new(),
        sources: sources.into_iter().map(source).collect(),
        before: before.and_then(|before| before.bill).map(BillLine::from),
        after: after.bill.map(BillLine::from),
        over_capacity: after.overloaded.iter().map(|(id, part)| (id.to_string(), finite(*part))).collect(),
        unanswered: after.unanswered,
        unmultiplied: after.unmultiplied.iter().map(ToString::to_string).collect(),
        fallback: after.fallback.map(Fallback::as_str),
    }
}

/// Returns the weights above 0 that a source gives to the clusters.
fn weights(outcome: Option<&Outcome>, source: &ClusterId) -> Option<BTreeMap<String, u32>> {
    let some = outcome?.shares.get(source)?.iter().filter(|share| share.weight > 0);
    Some(some.map(|share| (share.cluster.to_string(), share.weight)).collect())
}

/// Notes the services for which a policy on trial is overridden by a more specific one.
pub fn note_overridden(trial: &TrialPolicy, pipelines: &[Pipeline], changes: &mut [ServiceChange]) {
    let (name, targets) = (trial.name().to_string(), trial.target_services(pipelines));
    let targets: BTreeSet<String> = targets.iter().map(ToString::to_string).collect();
    let overridden =
        |change: &&mut ServiceChange| targets.contains(&change.service) && change.policy.as_ref() != Some(&name);
    changes.iter_mut().filter(overridden).for_each(|change| change.overridden.push(name.clone()));
}
