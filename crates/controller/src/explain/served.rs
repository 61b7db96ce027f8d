//! What is answered at this moment, which is what was published and not what would be planned: whoever plans here for one look
//! does not know what the operator counts itself, nor what it hears from a broker that is named nowhere but in its arguments.

use std::sync::Arc;

use landfall_core::apportion::TOTAL_WEIGHT;
use landfall_core::name::ServiceKey;
use landfall_core::optimize::report::Method;
use landfall_core::plan::ServicePlan;
use landfall_core::resolve::Share;
use landfall_core::snapshot::{RuleSource, Service};
use serde::Serialize;

use crate::observe::published;
use crate::pipeline::Pipeline;
use crate::publish::selection::summary;

/// What DNS replicas make of the ServiceSelection, with who is healthy now.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// In thousandths, which is what is published.
    pub as_planned: bool,
    /// `east 70% west 30%`
    pub summary: String,
    pub mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    pub clusters: Vec<ServedShare>,
    /// Why it may be another one than the plan, when it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedShare {
    pub cluster: String,
    /// Of 1000.
    pub weight: u32,
    pub percent: f64,
    pub eligible: bool,
    pub reason: &'static str,
}

impl From<&Share> for ServedShare {
    fn from(share: &Share) -> Self {
        Self {
            cluster: share.cluster.to_string(),
            weight: share.weight,
            percent: share_percent(share),
            eligible: share.eligible,
            reason: share.reason.as_str(),
        }
    }
}

/// The service as DNS replicas have it. `None`: they answer with an IP of the clusterset, and no share decides.
pub(super) fn answered(pipeline: &Pipeline, key: &ServiceKey, planned: &ServicePlan) -> Option<ServicePlan> {
    let Service { kind, exports, .. } = &*planned.service;
    let rule_source = published(pipeline.stores(), key);
    let service = Service { kind: kind.clone(), exports: exports.clone(), rule_source };
    Some(ServicePlan::new(Arc::new(service), pipeline.view(), None)).filter(|one| one.clusterset_ips().is_empty())
}

pub(super) fn served(
    pipeline: &Pipeline,
    key: &ServiceKey,
    (answered, planned): (&ServicePlan, &ServicePlan),
) -> Served {
    let weights = |plan: &ServicePlan| -> Vec<u32> { plan.shares.iter().map(|share| share.weight).collect() };
    let as_planned = weights(answered) == weights(planned);
    Served {
        as_planned,
        summary: summary(answered),
        mode: answered.rule.mode.as_str(),
        policy: answered.rule.policy.as_deref().map(str::to_owned),
        clusters: answered.shares.iter().map(Into::into).collect(),
        why: if as_planned { Vec::new() } else { why(pipeline, key, planned) },
    }
}

fn why(pipeline: &Pipeline, key: &ServiceKey, planned: &ServicePlan) -> Vec<String> {
    let stores = pipeline.stores();
    let method = match planned.service.rule_source.served() {
        RuleSource::Optimized(_, known, _) => Some(known.method),
        RuleSource::Policy(_) | RuleSource::Published(_) | RuleSource::Shadowed { .. } => None,
    };
    let unpublished = format!("there is no ServiceSelection {key}, and until there is one DNS follows no policy");
    let reasons = [
        (!stores.services.selections.contains_key(key)).then_some(unpublished.as_str()),
        (method.is_some() && stores.facts.broker.is_none()).then_some(
            "no broker is named here: if the operator has one, this plan is made without what it hears there, and if not, \
             without what it measures, which it tells nobody",
        ),
        (method == Some(Method::Fallback))
            .then_some("the operator plans this service from what it has counted itself, which nobody else knows"),
        Some("the operator has not planned from what is new yet, or does not run"),
    ];
    reasons.into_iter().flatten().map(str::to_owned).collect()
}

pub(super) fn share_percent(share: &Share) -> f64 {
    100.0 * f64::from(share.weight) / f64::from(TOTAL_WEIGHT)
}
