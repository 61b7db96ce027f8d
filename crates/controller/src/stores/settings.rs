//! What users ask for: SelectionPolicies, and the Submariner resources with the default mode.

use std::collections::BTreeMap;

use landfall_core::policy::Mode;

use crate::accept::{SelectionPolicy, Submariner};
use crate::object::ObjectRef;

#[derive(Debug, Default)]
pub struct Settings {
    pub policies: BTreeMap<ObjectRef, SelectionPolicy>,
    pub submariners: BTreeMap<ObjectRef, Submariner>,
}

impl Settings {
    /// Returns whether any service can be in the optimized mode.
    pub fn optimize(&self) -> bool {
        let policies = self.policies.values().map(|policy| policy.mode);
        let submariners = self.submariners.values().map(|submariner| submariner.mode);
        policies.chain(submariners).any(|mode| mode == Some(Mode::Optimized))
    }

    /// Returns whether the default mode changed.
    pub(super) fn insert_submariner(&mut self, object: ObjectRef, submariner: Submariner) -> bool {
        let default = |submariner: &Submariner| (submariner.mode, submariner.params, submariner.service_discovery);
        let now = default(&submariner);
        self.submariners.insert(object, submariner).as_ref().map(default) != Some(now)
    }

    /// Returns whether the rules that services get from it changed. A policy that contradicts itself stays in force as it was.
    pub(super) fn insert_policy(&mut self, object: ObjectRef, mut policy: SelectionPolicy) -> bool {
        let before = self.policies.get(&object);
        if let (Some(valid @ SelectionPolicy { policy: Some(_), .. }), None) = (before, &policy.policy) {
            policy = SelectionPolicy {
                created: policy.created,
                generation: policy.generation,
                invalid: policy.invalid,
                status: policy.status,
                ..valid.clone()
            };
        }
        let changed = before.map(SelectionPolicy::rule) != Some(policy.rule());
        self.policies.insert(object, policy);
        changed
    }
}
