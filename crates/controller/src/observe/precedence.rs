//! Decides which of several policies is in force, and the `Accepted` condition of each.

use std::collections::BTreeMap;

use landfall_core::name::ServiceKey;

use super::perspective::Perspective;
use crate::accept::{SelectionPolicy, Submariner};
use crate::object::ObjectRef;
use crate::stores::Stores;

/// Services that a policy applies to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Service(ServiceKey),
    Namespace(Box<str>),
    Everything,
}

/// Stage of a policy. Policies in shadow mode do not compete with enforced ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Enforced,
    Shadow,
}

impl Stage {
    fn of(policy: &SelectionPolicy) -> Self {
        if policy.shadow { Self::Shadow } else { Self::Enforced }
    }
}

impl Scope {
    fn describe(&self) -> String {
        match self {
            Self::Service(key) => format!("ServiceImport {key}"),
            Self::Namespace(name) => format!("namespace {name}"),
            Self::Everything => "every service".to_owned(),
        }
    }
}

/// Valid policies by scope. In each scope, the policy that takes precedence is first.
#[derive(Debug)]
pub struct Precedence<'a> {
    stores: &'a Stores,
    operator_namespace: &'a str,
    by_scope: BTreeMap<Scope, Vec<(&'a ObjectRef, &'a SelectionPolicy)>>,
}

impl<'a> Precedence<'a> {
    /// Sorts the policies. A policy without targets in `operator_namespace` applies to every service.
    pub fn new(stores: &'a Stores, operator_namespace: &'a str) -> Self {
        let mut precedence = Self { stores, operator_namespace, by_scope: BTreeMap::new() };
        for (object, policy) in stores.settings.policies.iter().filter(|(_, policy)| policy.policy.is_some()) {
            for scope in precedence.scopes(object, policy) {
                precedence.by_scope.entry(scope).or_default().push((object, policy));
            }
        }
        for policies in precedence.by_scope.values_mut() {
            policies.sort_by_key(|(object, policy)| (&policy.created, *object));
        }
        precedence
    }

    /// Returns the enforced policy for a service: one that names it, else one for its namespace, else one for every
    /// service. Returns `None` if there is none, so that the cluster's default applies.
    pub fn winner(&self, key: &ServiceKey) -> Option<&'a SelectionPolicy> {
        self.scopes_of(key).iter().find_map(|scope| self.first(scope, Stage::Enforced)).map(|(_, policy)| policy)
    }

    /// Returns the policy that would be in force if shadow policies were enforced. Returns `None` if that is not a
    /// shadow policy.
    pub fn shadow(&self, key: &ServiceKey) -> Option<&'a SelectionPolicy> {
        let decides = |scope: &Scope| {
            let shadow = self.first(scope, Stage::Shadow);
            let enforced = self.first(scope, Stage::Enforced);
            shadow.map(|(_, policy)| Some(policy)).or_else(|| enforced.map(|_| None))
        };
        self.scopes_of(key).iter().find_map(decides).flatten()
    }

    /// Returns the scopes that contain a service, the most specific first. Empty if there are no policies.
    fn scopes_of(&self, key: &ServiceKey) -> Vec<Scope> {
        match self.by_scope.is_empty() {
            true => Vec::new(),
            false => vec![Scope::Service(key.clone()), Scope::Namespace(key.namespace().into()), Scope::Everything],
        }
    }

    /// Returns whether a policy is in force, and if not, why.
    pub fn verdict(&self, object: &ObjectRef, policy: &SelectionPolicy) -> Verdict {
        if let Some(invalid) = &policy.invalid {
            let previous = if policy.policy.is_some() { "; the previous valid version stays in force" } else { "" };
            return Verdict::refused("Invalid", format!("{invalid}{previous}"));
        }
        let conflicts = |scope: Scope| {
            let (older, _) = self.first(&scope, Stage::of(policy)).filter(|(first, _)| *first != object)?;
            Some(format!("{} follows the older SelectionPolicy {older}", scope.describe()))
        };
        let conflicts: Vec<String> = self.scopes(object, policy).into_iter().filter_map(conflicts).collect();
        if !conflicts.is_empty() {
            let advice = "delete one of them, or give them different targets";
            return Verdict::refused("Conflicted", format!("{}; {advice}", conflicts.join("; ")));
        }
        if !policy.targets.is_empty()
            && !policy.targets.iter().any(|key| self.stores.services.imports.contains_key(key))
        {
            let missing: Vec<String> = policy.targets.iter().map(ToString::to_string).collect();
            return Verdict::refused("TargetNotFound", format!("there is no ServiceImport {}", missing.join(", ")));
        }
        if policy.shadow {
            let message = "not served: its result is in status.shadow of the ServiceSelections".to_owned();
            return Verdict { accepted: true, reason: "Shadow", message };
        }
        Verdict { accepted: true, reason: "Accepted", message: String::new() }
    }

    /// Returns the policy that takes precedence in a scope.
    fn first(&self, scope: &Scope, stage: Stage) -> Option<(&'a ObjectRef, &'a SelectionPolicy)> {
        self.by_scope.get(scope)?.iter().find(|(_, policy)| Stage::of(policy) == stage).copied()
    }

    /// Returns the scopes that a policy applies to.
    fn scopes(&self, object: &ObjectRef, policy: &SelectionPolicy) -> Vec<Scope> {
        if !policy.targets.is_empty() {
            policy.targets.iter().cloned().map(Scope::Service).collect()
        } else if &*object.namespace == self.operator_namespace {
            vec![Scope::Everything]
        } else {
            vec![Scope::Namespace(object.namespace.clone())]
        }
    }
}

/// Content of the `Accepted` condition of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub accepted: bool,
    pub reason: &'static str,
    pub message: String,
}

impl Verdict {
    fn refused(reason: &'static str, message: String) -> Self {
        Self { accepted: false, reason, message }
    }
}

/// Returns the Submariner resources in the namespace of Submariner's operator, or all if that namespace is not known.
pub fn submariners<'a>(
    stores: &'a Stores,
    perspective: &Perspective,
) -> impl Iterator<Item = (&'a ObjectRef, &'a Submariner)> + Clone {
    let namespace = perspective.submariner_namespace.clone();
    let here = move |object: &ObjectRef| namespace.as_ref().is_none_or(|namespace| *namespace == object.namespace);
    stores.settings.submariners.iter().filter(move |(object, _)| here(object))
}

/// Returns the Submariner resource that counts: the one named `submariner`, or else the first.
pub fn submariner<'a>(stores: &'a Stores, perspective: &Perspective) -> Option<(&'a ObjectRef, &'a Submariner)> {
    let mut candidates = submariners(stores, perspective);
    candidates.clone().find(|(object, _)| &*object.name == "submariner").or_else(|| candidates.next())
}
