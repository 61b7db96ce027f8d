//! Ready pods of this cluster by service, from the EndpointSlices of its own Kubernetes services.
//!
//! The clusterset often sees an export as one service IP. Only the exporting cluster knows the number of pods behind
//! it, and so the capacity of the export.

use std::collections::{BTreeMap, BTreeSet};

use landfall_core::name::ServiceKey;

use crate::accept::ReadyPods;

type Slices = BTreeMap<Box<str>, Box<[Box<str>]>>;

/// Ready pods of each service.
#[derive(Debug, Default)]
pub struct LocalPods {
    services: BTreeMap<ServiceKey, Slices>,
}

impl LocalPods {
    /// Returns the names of the ready pods of a service. A pod with two addresses is in two slices, and counts once.
    /// Returns `None` if the service has no slices.
    pub fn ready(&self, key: &ServiceKey) -> Option<BTreeSet<&str>> {
        self.services.get(key).map(names)
    }

    pub fn count(&self, key: &ServiceKey) -> Option<usize> {
        self.ready(key).map(|pods| pods.len())
    }

    pub(super) fn contains(&self, key: &ServiceKey, slice: &str) -> bool {
        self.services.get(key).is_some_and(|slices| slices.contains_key(slice))
    }

    /// Stores a slice. Returns whether the set of ready pods changed.
    pub(super) fn insert(&mut self, slice: Box<str>, pods: ReadyPods) -> bool {
        let slices = self.services.entry(pods.key).or_default();
        let first = slices.is_empty();
        let before = slices.remove(&slice).unwrap_or_default();
        let others = names(slices);
        let changed = first || !not_in(&others, &before).eq(not_in(&others, &pods.ready));
        slices.insert(slice, pods.ready);
        changed
    }

    /// Removes a slice. Returns whether the set of ready pods changed, or `None` if there is no such slice.
    pub(super) fn remove(&mut self, key: &ServiceKey, slice: &str) -> Option<bool> {
        let slices = self.services.get_mut(key)?;
        let gone = slices.remove(slice)?;
        if slices.is_empty() {
            self.services.remove(key);
            return Some(true);
        }
        Some(not_in(&names(slices), &gone).next().is_some())
    }
}

/// Returns the pods that are not in other slices too.
fn not_in<'a>(others: &BTreeSet<&str>, pods: &'a [Box<str>]) -> impl Iterator<Item = &'a str> {
    pods.iter().map(|pod| &**pod).filter(|pod| !others.contains(pod))
}

fn names(slices: &Slices) -> BTreeSet<&str> {
    slices.values().flat_map(|pods| pods.iter()).map(|pod| &**pod).collect()
}
