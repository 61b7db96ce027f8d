//! How far the list of each kind is, and which objects are known.

use std::collections::{BTreeSet, HashMap, HashSet};

use landfall_core::name::ServiceKey;

use crate::object::{Kind, ObjectRef};

/// The lists of all kinds.
#[derive(Debug, Default)]
pub(super) struct Lists(HashMap<Kind, List>);

#[derive(Debug, Default)]
struct List {
    is_complete: bool,
    is_interrupted: bool,
    completions: u64,
    /// The objects of the list that is under way.
    seen: Option<HashSet<ObjectRef>>,
    /// The objects that are stored, and the services that those of some kinds belong to.
    stored: HashMap<ObjectRef, Option<ServiceKey>>,
}

impl Lists {
    pub(super) fn begin(&mut self, kind: Kind) {
        self.list(kind).seen = Some(HashSet::new());
    }

    /// Completes a list. Returns the objects that were not in it, of those that are stored and of `others`.
    pub(super) fn end(&mut self, kind: Kind, others: impl Iterator<Item = ObjectRef>) -> Vec<ObjectRef> {
        let list = self.list(kind);
        list.is_complete = true;
        list.is_interrupted = false;
        list.completions += 1;
        let seen = list.seen.take().unwrap_or_default();
        let stored = list.stored.keys().filter(|object| !seen.contains(*object)).cloned();
        let gone: BTreeSet<ObjectRef> = stored.chain(others.filter(|object| !seen.contains(object))).collect();
        gone.into_iter().collect()
    }

    pub(super) fn interrupt(&mut self, kind: Kind) {
        self.list(kind).is_interrupted = true;
    }

    /// Notes that an object is in the list that is under way.
    pub(super) fn see(&mut self, kind: Kind, object: &ObjectRef) {
        if let Some(seen) = &mut self.list(kind).seen {
            seen.insert(object.clone());
        }
    }

    pub(super) fn store(&mut self, kind: Kind, object: ObjectRef, service: Option<ServiceKey>) {
        self.list(kind).stored.insert(object, service);
    }

    /// Returns `None` if the object was not stored, and the service that it belonged to, if any.
    pub(super) fn remove(&mut self, kind: Kind, object: &ObjectRef) -> Option<Option<ServiceKey>> {
        self.0.get_mut(&kind)?.stored.remove(object)
    }

    pub(super) fn is_complete(&self, kind: Kind) -> bool {
        self.0.get(&kind).is_some_and(|list| list.is_complete)
    }

    pub(super) fn is_interrupted(&self, kind: Kind) -> bool {
        self.0.get(&kind).is_some_and(|list| list.is_interrupted)
    }

    pub(super) fn completions(&self, kind: Kind) -> u64 {
        self.0.get(&kind).map_or(0, |list| list.completions)
    }

    fn list(&mut self, kind: Kind) -> &mut List {
        self.0.entry(kind).or_default()
    }
}
