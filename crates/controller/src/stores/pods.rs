//! Which pods of this cluster are ready, by service, as the EndpointSlices tell that Kubernetes keeps of its own services.
//!
//! What the clusterset is told of an export is often one service IP. How many pods are behind it only its cluster knows, and
//! with it what the export can bear.

use std::collections::{BTreeMap, BTreeSet};

use landfall_core::name::ServiceKey;

use crate::accept::ReadyPods;

type Slices = BTreeMap<Box<str>, Box<[Box<str>]>>;

#[derive(Debug, Default)]
pub struct LocalPods {
    services: BTreeMap<ServiceKey, Slices>,
}

impl LocalPods {
    /// The names of the ready pods of a service, each once, though one with two addresses is in two slices. `None`: nothing is
    /// known of them.
    pub fn ready(&self, key: &ServiceKey) -> Option<BTreeSet<&str>> {
        self.services.get(key).map(names)
    }

    pub fn count(&self, key: &ServiceKey) -> Option<usize> {
        self.ready(key).map(|pods| pods.len())
    }

    pub(super) fn contains(&self, key: &ServiceKey, slice: &str) -> bool {
        self.services.get(key).is_some_and(|slices| slices.contains_key(slice))
    }

    /// Whether it is other pods that are ready now.
    pub(super) fn insert(&mut self, slice: Box<str>, pods: ReadyPods) -> bool {
        let slices = self.services.entry(pods.key).or_default();
        let first = slices.is_empty();
        let before = slices.remove(&slice).unwrap_or_default();
        let elsewhere = names(slices);
        let news = first || !beyond(&elsewhere, &before).eq(beyond(&elsewhere, &pods.ready));
        slices.insert(slice, pods.ready);
        news
    }

    /// Whether it is other pods that are ready now. `None`: the slice is not one of these.
    pub(super) fn remove(&mut self, key: &ServiceKey, slice: &str) -> Option<bool> {
        let slices = self.services.get_mut(key)?;
        let gone = slices.remove(slice)?;
        if slices.is_empty() {
            self.services.remove(key);
            return Some(true);
        }
        Some(beyond(&names(slices), &gone).next().is_some())
    }
}

/// Those that are not elsewhere too.
fn beyond<'a>(elsewhere: &BTreeSet<&str>, pods: &'a [Box<str>]) -> impl Iterator<Item = &'a str> {
    pods.iter().map(|pod| &**pod).filter(|pod| !elsewhere.contains(pod))
}

fn names(slices: &Slices) -> BTreeSet<&str> {
    slices.values().flat_map(|pods| pods.iter()).map(|pod| &**pod).collect()
}
