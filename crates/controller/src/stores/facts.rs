//! What clusters say of themselves: in objects of this cluster, on the broker, and in this process.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::name::ClusterId;

use super::Stores;
use crate::change::Touched;
use crate::facts::Facts;
use crate::facts::significance::{News, news};
use crate::object::ObjectRef;

impl Stores {
    /// The objects of a namespace.
    pub fn facts_in(&self, namespace: &str) -> BTreeMap<ObjectRef, Arc<Facts>> {
        let there = self.fact_parts.iter().filter(|(object, _)| &*object.namespace == namespace);
        there.map(|(object, facts)| (object.clone(), Arc::clone(facts))).collect()
    }

    /// For what only optimised services are planned from. A policy that makes a service one touches it itself.
    pub(super) fn touch_optimized(&self, news: bool, touched: &mut Touched) {
        touched.all |= news && self.optimizes();
    }

    /// What a cluster says now may be no news, and then it waits for the next round.
    pub(super) fn touch_news(&self, cluster: &ClusterId, before: Option<Arc<Facts>>, touched: &mut Touched) {
        touched.peers.insert(cluster.clone());
        if !self.optimizes() {
            return;
        }
        match news(before.as_deref(), self.peers.get(cluster).map(Arc::as_ref)) {
            News::All => touched.all = true,
            News::Services(services) => touched.services.extend(services),
        }
    }

    /// Whether what the objects of a cluster say together has changed.
    pub(super) fn unite_facts(&mut self, cluster: &ClusterId) -> bool {
        let parts: Vec<&Arc<Facts>> = self.fact_parts.values().filter(|facts| facts.cluster == *cluster).collect();
        let united = match parts.as_slice() {
            [only] => Some(Arc::clone(only)),
            parts => Facts::united(parts.iter().map(|part| &***part)).map(Arc::new),
        };
        if self.facts.get(cluster) == united.as_ref() {
            return false;
        }
        self.facts.remove(cluster);
        self.facts.extend(united.map(|united| (cluster.clone(), united)));
        true
    }
}
