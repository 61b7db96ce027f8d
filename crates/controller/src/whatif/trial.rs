//! Policies that are thought of, as if all clusters had them: pure.

use crate::change::ObjectEvent;
use std::collections::BTreeSet;
use std::sync::Arc;

use landfall_core::name::ServiceKey;
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::Report;
use landfall_core::policy::InvalidPolicy;
use landfall_core::snapshot::RuleSource;
use thiserror::Error;

use super::edit::{Edit, Taken};
use crate::accept::{Accepted, Refused, accept};
use crate::facts::Facts;
use crate::object::{Kind, Object, ObjectRef};
use crate::pipeline::Pipeline;

/// Where several policies are for the same, the oldest counts, and of those without an age the first by name. This begins
/// no name of an object, and comes before all that do.
const FIRST: char = '!';

#[derive(Debug, Error)]
pub enum NoTrial {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Invalid(#[from] InvalidPolicy),
    #[error("it is no SelectionPolicy")]
    Kind,
}

#[derive(Debug, Clone)]
pub struct Trial {
    /// As it is written.
    name: ObjectRef,
    targets: Vec<ServiceKey>,
    object: Object,
}

impl Trial {
    /// Whatever the object says of its age, and of being only tried, does not count: somebody wants to see what it would do.
    pub fn new(object: Object) -> Result<Self, NoTrial> {
        let name = object.reference();
        let Object::SelectionPolicy(mut object) = object else { return Err(NoTrial::Kind) };
        object.metadata.name = Some(first(&name.name));
        object.metadata.creation_timestamp = None;
        object.spec.enforcement = None;
        let object = Object::SelectionPolicy(object);
        let (Accepted::Policy(policy), _) = accept(object.clone())? else { return Err(NoTrial::Kind) };
        match policy.invalid {
            Some(invalid) => Err(invalid.into()),
            None => Ok(Self { name, targets: policy.targets, object }),
        }
    }

    pub fn name(&self) -> &ObjectRef {
        &self.name
    }

    /// The services that it is for, wherever they are imported; those too that a more specific policy counts for.
    pub fn meant(&self, pipelines: &[Pipeline]) -> BTreeSet<ServiceKey> {
        pipelines.iter().flat_map(|pipeline| self.meant_in(pipeline)).collect()
    }

    /// Those, and the ones that lose the policy of its name, of which it is a new version.
    pub fn touched(&self, pipelines: &[Pipeline]) -> BTreeSet<ServiceKey> {
        let name = self.name.to_string();
        let plans = pipelines.iter().filter_map(Pipeline::plan);
        let services = plans.flat_map(|plan| plan.services());
        let loses = services.filter(|(_, planned)| planned.rule.policy.as_deref() == Some(name.as_str()));
        self.meant(pipelines).into_iter().chain(loses.map(|(key, _)| key.clone())).collect()
    }

    fn meant_in(&self, pipeline: &Pipeline) -> Vec<ServiceKey> {
        let everywhere = *self.name.namespace == *pipeline.perspective().namespace;
        let meant = |key: &&ServiceKey| match self.targets.as_slice() {
            [] => everywhere || key.namespace() == &*self.name.namespace,
            named => named.contains(key),
        };
        pipeline.stores().services.imports.keys().filter(meant).cloned().collect()
    }

    fn taken(&self, pipelines: &[Pipeline]) -> Taken {
        let round_seconds = |key: ServiceKey| {
            let planned = pipelines.iter().find_map(|pipeline| pipeline.plan()?.get(key.as_str()))?;
            match planned.service.rule_source.served() {
                RuleSource::Policy(policy) | RuleSource::Optimized(policy, ..) => {
                    Some((key, policy.objective.round_seconds))
                }
                RuleSource::Published(_) | RuleSource::Shadowed { .. } => None,
            }
        };
        let name = ObjectRef::new(&self.name.namespace, &first(&self.name.name)).to_string();
        Taken { name, round_seconds: self.meant(pipelines).into_iter().filter_map(round_seconds).collect() }
    }

    /// A new version of the object of its name, if there is one. All others stay.
    fn changes(&self) -> [ObjectEvent; 2] {
        let before = ObjectEvent::Delete(Kind::SelectionPolicy, self.name.clone());
        [before, ObjectEvent::Apply { object: self.object.clone(), origin: None }]
    }
}

/// Each goes before all others that are for the same; those that are more specific go before it, as in a cluster. What comes
/// back makes that known to [`outcome`](super::outcome). `now` is in seconds since 1970.
pub fn put_in_force(trials: &[Trial], pipelines: &mut [Pipeline], now: u64) -> Vec<Edit> {
    let taken = trials.iter().map(|trial| Edit::Policy(trial.taken(pipelines))).collect();
    for pipeline in pipelines {
        pipeline.apply(trials.iter().flat_map(Trial::changes), now);
    }
    taken
}

/// As if the cluster had said that it plans the service with that. What it says of other services is left out.
pub(super) fn plan_with(facts: &mut Arc<Facts>, key: &ServiceKey, objective: &Objective) {
    let Some(said) = facts.services.get(key) else { return };
    let parameter_hash = said.parameter_hash.map(|_| objective.parameter_hash());
    let report = Report { parameter_hash, ..*said };
    Arc::make_mut(facts).services = Arc::new([(key.clone(), report)].into_iter().collect());
}

fn first(name: &str) -> String {
    format!("{FIRST}{name}")
}

/// The name that somebody wrote, of one that a plan has.
pub(super) fn written(name: &str) -> String {
    name.replacen(FIRST, "", 1)
}
