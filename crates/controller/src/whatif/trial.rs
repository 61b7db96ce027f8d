//! Policies on trial, as if all clusters had them: pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use landfall_core::name::ServiceKey;
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::Report;
use landfall_core::policy::InvalidPolicy;
use landfall_core::snapshot::RuleSource;
use thiserror::Error;

use super::edit::{AppliedTrial, Edit};
use crate::accept::{Accepted, Refused, accept};
use crate::change::ObjectEvent;
use crate::facts::ClusterFacts;
use crate::object::{Kind, Object, ObjectRef};
use crate::pipeline::Pipeline;

/// Prefix that gives a policy precedence. Of several policies for the same services the oldest applies, and of those
/// without a date the first by name. No name of an object starts with this character, and it sorts before all that do.
const PRECEDENCE_PREFIX: char = '!';

#[derive(Debug, Error)]
pub enum TrialError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Invalid(#[from] InvalidPolicy),
    #[error("the object is not a SelectionPolicy")]
    Kind,
}

#[derive(Debug, Clone)]
pub struct TrialPolicy {
    /// Original name.
    name: ObjectRef,
    targets: Vec<ServiceKey>,
    object: Object,
}

impl TrialPolicy {
    /// Creates a trial. The creation time and the enforcement of the object are ignored, because the policy is shown as
    /// if it were enforced.
    pub fn new(object: Object) -> Result<Self, TrialError> {
        let name = object.reference();
        let Object::SelectionPolicy(mut object) = object else { return Err(TrialError::Kind) };
        object.metadata.name = Some(with_precedence(&name.name));
        object.metadata.creation_timestamp = None;
        object.spec.enforcement = None;
        let object = Object::SelectionPolicy(object);
        let (Accepted::Policy(policy), _) = accept(object.clone())? else { return Err(TrialError::Kind) };
        match policy.invalid {
            Some(invalid) => Err(invalid.into()),
            None => Ok(Self { name, targets: policy.targets, object }),
        }
    }

    pub fn name(&self) -> &ObjectRef {
        &self.name
    }

    /// Returns the services that the policy targets in any cluster, also those with a more specific policy.
    pub fn target_services(&self, pipelines: &[Pipeline]) -> BTreeSet<ServiceKey> {
        pipelines.iter().flat_map(|pipeline| self.target_services_in(pipeline)).collect()
    }

    /// Returns the target services, and the services of the present policy with the same name, which the trial
    /// replaces.
    pub fn affected_services(&self, pipelines: &[Pipeline]) -> BTreeSet<ServiceKey> {
        let name = self.name.to_string();
        let plans = pipelines.iter().filter_map(Pipeline::plan);
        let services = plans.flat_map(|plan| plan.services());
        let replaced = services.filter(|(_, planned)| planned.rule.policy.as_deref() == Some(name.as_str()));
        self.target_services(pipelines).into_iter().chain(replaced.map(|(key, _)| key.clone())).collect()
    }

    /// Returns the services that the policy targets in one cluster.
    fn target_services_in(&self, pipeline: &Pipeline) -> Vec<ServiceKey> {
        let everywhere = *self.name.namespace == *pipeline.perspective().namespace;
        let is_target = |key: &&ServiceKey| match self.targets.as_slice() {
            [] => everywhere || key.namespace() == &*self.name.namespace,
            named => named.contains(key),
        };
        pipeline.stores().services.imports.keys().filter(is_target).cloned().collect()
    }

    /// Returns the trial as it will be in plans.
    fn applied(&self, pipelines: &[Pipeline]) -> AppliedTrial {
        let round_seconds = |key: ServiceKey| {
            let planned = pipelines.iter().find_map(|pipeline| pipeline.plan()?.get(key.as_str()))?;
            match planned.service.rule_source.served() {
                RuleSource::Policy(policy) | RuleSource::Optimized(policy, ..) => {
                    Some((key, policy.objective.round_seconds))
                }
                RuleSource::Published(_) | RuleSource::Shadowed { .. } => None,
            }
        };
        let name = ObjectRef::new(&self.name.namespace, &with_precedence(&self.name.name)).to_string();
        AppliedTrial {
            name,
            round_seconds: self.target_services(pipelines).into_iter().filter_map(round_seconds).collect(),
        }
    }

    /// Returns the events that replace the present policy of the same name, if there is one. Other policies stay.
    fn changes(&self) -> [ObjectEvent; 2] {
        let before = ObjectEvent::Delete(Kind::SelectionPolicy, self.name.clone());
        [before, ObjectEvent::Apply { object: self.object.clone(), origin: None }]
    }
}

/// Applies trials to all pipelines, at `now` in seconds since 1970. Returns the edits that [`outcome`](super::outcome)
/// needs.
///
/// A trial has precedence over other policies for the same targets. More specific policies still override it.
pub fn apply_trials(trials: &[TrialPolicy], pipelines: &mut [Pipeline], now: u64) -> Vec<Edit> {
    let edits = trials.iter().map(|trial| Edit::Policy(trial.applied(pipelines))).collect();
    for pipeline in pipelines {
        pipeline.apply(trials.iter().flat_map(TrialPolicy::changes), now);
    }
    edits
}

/// Changes the report of a service as if its cluster planned it with `objective`. Reports of other services are
/// removed.
pub(super) fn plan_with(facts: &mut Arc<ClusterFacts>, key: &ServiceKey, objective: &Objective) {
    let Some(reported) = facts.services.get(key) else { return };
    let parameter_hash = reported.parameter_hash.map(|_| objective.parameter_hash());
    let report = Report { parameter_hash, ..*reported };
    Arc::make_mut(facts).services = Arc::new([(key.clone(), report)].into_iter().collect());
}

fn with_precedence(name: &str) -> String {
    format!("{PRECEDENCE_PREFIX}{name}")
}

/// Returns the original name of a policy in a plan.
pub(super) fn original_name(name: &str) -> String {
    name.replacen(PRECEDENCE_PREFIX, "", 1)
}
