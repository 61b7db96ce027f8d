//! Faults of objects, until they are mended.

use std::collections::BTreeMap;

use crate::object::{Kind, ObjectRef, Problem};

#[derive(Debug, Default)]
pub(super) struct Problems(BTreeMap<(Kind, ObjectRef), Problem>);

impl Problems {
    /// Returns the problem if it is new.
    pub(super) fn insert(&mut self, problem: Problem) -> Option<Problem> {
        let before = self.0.insert((problem.kind, problem.object.clone()), problem.clone());
        (before.as_ref() != Some(&problem)).then_some(problem)
    }

    pub(super) fn remove(&mut self, kind: Kind, object: &ObjectRef) -> Option<Problem> {
        self.0.remove(&(kind, object.clone()))
    }

    pub(super) fn contains(&self, kind: Kind, object: &ObjectRef) -> bool {
        self.0.contains_key(&(kind, object.clone()))
    }

    pub(super) fn of(&self, kind: Kind) -> impl Iterator<Item = &ObjectRef> {
        self.0.keys().filter(move |(of, _)| *of == kind).map(|(_, object)| object)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Problem> {
        self.0.values()
    }
}
