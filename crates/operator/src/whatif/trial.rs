//! A policy that is thought of, as if all clusters had it.

use std::collections::BTreeSet;

use landfall_core::name::ServiceKey;
use landfall_core::policy::InvalidPolicy;
use thiserror::Error;

use crate::accept::{Accepted, Refused, accept, reference};
use crate::object::{Kind, Object, ObjectRef};
use crate::pipeline::Pipeline;
use crate::stores::Change;

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
    name: ObjectRef,
    targets: Vec<ServiceKey>,
    object: Object,
}

impl Trial {
    pub fn new(object: Object) -> Result<Self, NoTrial> {
        let (Accepted::Policy(policy), _) = accept(object.clone())? else { return Err(NoTrial::Kind) };
        match policy.invalid {
            Some(invalid) => Err(invalid.into()),
            None => Ok(Self { name: reference(&object), targets: policy.targets, object }),
        }
    }

    pub fn name(&self) -> &ObjectRef {
        &self.name
    }

    /// The services that it is for, wherever they are imported.
    pub fn meant(&self, pipelines: &[Pipeline]) -> BTreeSet<ServiceKey> {
        pipelines.iter().flat_map(|pipeline| self.meant_in(pipeline)).collect()
    }

    fn meant_in(&self, pipeline: &Pipeline) -> Vec<ServiceKey> {
        let everywhere = *self.name.namespace == *pipeline.perspective().namespace;
        let meant = |key: &&ServiceKey| match self.targets.as_slice() {
            [] => everywhere || key.namespace() == &*self.name.namespace,
            named => named.contains(key),
        };
        pipeline.stores().imports.keys().filter(meant).cloned().collect()
    }

    /// `now` is in seconds since 1970.
    pub fn put_in_force(&self, pipelines: &mut [Pipeline], now: u64) {
        pipelines.iter_mut().for_each(|pipeline| self.put_in_force_in(pipeline, now));
    }

    /// Whatever is in force for one of its services is left out, so that this one is.
    fn put_in_force_in(&self, pipeline: &mut Pipeline, now: u64) {
        let meant = self.meant_in(pipeline);
        let policy = |key: &ServiceKey| pipeline.plan()?.get(key.as_str())?.rule.policy.as_deref().map(str::to_owned);
        let in_force: BTreeSet<String> = meant.iter().filter_map(policy).collect();
        let others = pipeline.stores().policies.keys().filter(|other| in_force.contains(&other.to_string()));
        let gone: Vec<Change> = others.cloned().map(|other| Change::Delete(Kind::SelectionPolicy, other)).collect();
        let new = Change::Apply { object: self.object.clone(), origin: None };
        pipeline.apply(gone.into_iter().chain([new]), now);
    }
}
