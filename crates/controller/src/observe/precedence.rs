//! Which of several policies counts, and what the others are told.

use std::collections::BTreeMap;

use landfall_core::name::ServiceKey;

use super::perspective::Perspective;
use crate::accept::{SelectionPolicy, Submariner};
use crate::object::ObjectRef;
use crate::stores::Stores;

/// What a policy is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Service(ServiceKey),
    Namespace(Box<str>),
    Everything,
}

/// Policies that are only tried do not compete with those in force.
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

/// The valid policies by what they are for; in each scope the one that counts first.
#[derive(Debug)]
pub struct Precedence<'a> {
    stores: &'a Stores,
    operator_namespace: &'a str,
    claimants: BTreeMap<Scope, Vec<(&'a ObjectRef, &'a SelectionPolicy)>>,
}

impl<'a> Precedence<'a> {
    /// `operator_namespace`: a policy there without targets is for every service.
    pub fn new(stores: &'a Stores, operator_namespace: &'a str) -> Self {
        let mut precedence = Self { stores, operator_namespace, claimants: BTreeMap::new() };
        for (object, policy) in stores.settings.policies.iter().filter(|(_, policy)| policy.policy.is_some()) {
            for scope in precedence.scopes(object, policy) {
                precedence.claimants.entry(scope).or_default().push((object, policy));
            }
        }
        for claimants in precedence.claimants.values_mut() {
            claimants.sort_by_key(|(object, policy)| (&policy.created, *object));
        }
        precedence
    }

    /// The policy for a service, if any object says more than the cluster's default: one that names it, else one of its
    /// namespace, else one for every service.
    pub fn winner(&self, key: &ServiceKey) -> Option<&'a SelectionPolicy> {
        self.scopes_of(key).iter().find_map(|scope| self.first(scope, Stage::Enforced)).map(|(_, policy)| policy)
    }

    /// The policy that would be in force if those that are only tried were, where that is one of them.
    pub fn shadow(&self, key: &ServiceKey) -> Option<&'a SelectionPolicy> {
        let decides = |scope: &Scope| {
            let tried = self.first(scope, Stage::Shadow);
            let enforced = self.first(scope, Stage::Enforced);
            tried.map(|(_, policy)| Some(policy)).or_else(|| enforced.map(|_| None))
        };
        self.scopes_of(key).iter().find_map(decides).flatten()
    }

    /// The most specific first; none where nobody claims anything.
    fn scopes_of(&self, key: &ServiceKey) -> Vec<Scope> {
        match self.claimants.is_empty() {
            true => Vec::new(),
            false => vec![Scope::Service(key.clone()), Scope::Namespace(key.namespace().into()), Scope::Everything],
        }
    }

    /// Whether a policy is in force, and if not, why.
    pub fn verdict(&self, object: &ObjectRef, policy: &SelectionPolicy) -> Verdict {
        if let Some(invalid) = &policy.invalid {
            let before = if policy.policy.is_some() { "; what it said before stays in force" } else { "" };
            return Verdict::refused("Invalid", format!("{invalid}{before}"));
        }
        let lost = |scope: Scope| {
            let (older, _) = self.first(&scope, Stage::of(policy)).filter(|(first, _)| *first != object)?;
            Some(format!("{} follows the older SelectionPolicy {older}", scope.describe()))
        };
        let lost: Vec<String> = self.scopes(object, policy).into_iter().filter_map(lost).collect();
        if !lost.is_empty() {
            let advice = "delete one of them, or give them different targets";
            return Verdict::refused("Conflicted", format!("{}; {advice}", lost.join("; ")));
        }
        if !policy.targets.is_empty()
            && !policy.targets.iter().any(|key| self.stores.services.imports.contains_key(key))
        {
            let missing: Vec<String> = policy.targets.iter().map(ToString::to_string).collect();
            return Verdict::refused("TargetNotFound", format!("there is no ServiceImport {}", missing.join(", ")));
        }
        if policy.shadow {
            let message = "what it would do is in status.shadow of the ServiceSelections; it is not served".to_owned();
            return Verdict { accepted: true, reason: "Shadow", message };
        }
        Verdict { accepted: true, reason: "Accepted", message: String::new() }
    }

    fn first(&self, scope: &Scope, stage: Stage) -> Option<(&'a ObjectRef, &'a SelectionPolicy)> {
        self.claimants.get(scope)?.iter().find(|(_, policy)| Stage::of(policy) == stage).copied()
    }

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

/// What the `Accepted` condition of a policy says.
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

/// Those where Submariner's operator looks for its own. One elsewhere is none of ours.
pub fn submariners<'a>(
    stores: &'a Stores,
    perspective: &Perspective,
) -> impl Iterator<Item = (&'a ObjectRef, &'a Submariner)> + Clone {
    let namespace = perspective.submariner_namespace.clone();
    let here = move |object: &ObjectRef| namespace.as_ref().is_none_or(|namespace| *namespace == object.namespace);
    stores.settings.submariners.iter().filter(move |(object, _)| here(object))
}

/// The Submariner resource that counts: there is one, named `submariner`, unless somebody made a mistake.
pub fn submariner<'a>(stores: &'a Stores, perspective: &Perspective) -> Option<(&'a ObjectRef, &'a Submariner)> {
    let mut candidates = submariners(stores, perspective);
    candidates.clone().find(|(object, _)| &*object.name == "submariner").or_else(|| candidates.next())
}
