//! The shares that DNS serves now. They come from the published ServiceSelection, not from a new plan.
//!
//! A plan that is made for one look lacks inputs of the operator: its own counts of answers, and the facts from a
//! broker that is named only in the operator's arguments.

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

/// Shares that DNS replicas derive from the ServiceSelection and the present health.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// True if the weights equal the planned ones, in thousandths, which is the published resolution.
    pub as_planned: bool,
    /// Shares as text, such as `east 70% west 30%`.
    pub summary: String,
    pub mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    pub clusters: Vec<ServedShare>,
    /// Possible reasons if the shares differ from the plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedShare {
    pub cluster: String,
    /// Weight in thousandths.
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

/// Returns the service as DNS replicas plan it. Returns `None` if they answer with a clusterset IP, so that shares have
/// no effect.
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
    let unpublished = format!("ServiceSelection {key} does not exist, so DNS follows no policy yet");
    let reasons = [
        (!stores.services.selections.contains_key(key)).then_some(unpublished.as_str()),
        (method.is_some() && stores.facts.broker.is_none()).then_some(
            "no broker is named here: if the operator has one, this plan lacks the facts from it; if not, this plan lacks \
             the operator's measurements, which are published nowhere",
        ),
        (method == Some(Method::Fallback))
            .then_some("the operator plans this service from its own counts of answers, which are published nowhere"),
        Some("the operator has not planned with the newest changes yet, or does not run"),
    ];
    reasons.into_iter().flatten().map(str::to_owned).collect()
}

pub(super) fn share_percent(share: &Share) -> f64 {
    100.0 * f64::from(share.weight) / f64::from(TOTAL_WEIGHT)
}
