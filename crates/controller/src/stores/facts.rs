//! ClusterFacts: those in objects of this cluster, and those that peers published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use landfall_core::name::ClusterId;

use crate::change::BrokerState;
use crate::facts::ClusterFacts;
use crate::object::ObjectRef;

#[derive(Debug, Default)]
pub struct FactsOfClusters {
    /// What the objects of this cluster report of each cluster, all objects together: settings of users, and peer records.
    pub objects: BTreeMap<ClusterId, Arc<ClusterFacts>>,
    /// What each cluster reports of itself, over the broker or within this process. Newer than `objects`.
    pub peers: BTreeMap<ClusterId, Arc<ClusterFacts>>,
    /// `None`: there is no broker.
    pub broker: Option<BrokerState>,
    parts: BTreeMap<ObjectRef, Arc<ClusterFacts>>,
}

impl FactsOfClusters {
    /// The objects of a namespace.
    pub fn objects_in(&self, namespace: &str) -> BTreeMap<ObjectRef, Arc<ClusterFacts>> {
        let inside = self.parts.iter().filter(|(object, _)| &*object.namespace == namespace);
        inside.map(|(object, facts)| (object.clone(), Arc::clone(facts))).collect()
    }

    /// Returns whether the facts of any cluster changed.
    pub(super) fn insert(&mut self, object: ObjectRef, facts: ClusterFacts) -> bool {
        let cluster = facts.cluster.clone();
        let before = self.parts.insert(object, Arc::new(facts));
        let moved_from = before.map(|before| before.cluster.clone()).filter(|before| *before != cluster);
        let changed = self.unite(&cluster);
        moved_from.is_some_and(|cluster| self.unite(&cluster)) || changed
    }

    /// Returns whether the facts of any cluster changed.
    pub(super) fn remove(&mut self, object: &ObjectRef) -> bool {
        let gone = self.parts.remove(object);
        gone.is_some_and(|gone| self.unite(&gone.cluster))
    }

    /// Peers that are not among `listed`.
    pub(super) fn beyond(&self, listed: &BTreeSet<ClusterId>) -> Vec<ClusterId> {
        self.peers.keys().filter(|cluster| !listed.contains(*cluster)).cloned().collect()
    }

    /// Unites the objects of a cluster. Returns whether what they report together changed.
    fn unite(&mut self, cluster: &ClusterId) -> bool {
        let parts: Vec<&Arc<ClusterFacts>> = self.parts.values().filter(|facts| facts.cluster == *cluster).collect();
        let united = match parts.as_slice() {
            [only] => Some(Arc::clone(only)),
            parts => ClusterFacts::merged(parts.iter().map(|part| &***part)).map(Arc::new),
        };
        if self.objects.get(cluster) == united.as_ref() {
            return false;
        }
        self.objects.remove(cluster);
        self.objects.extend(united.map(|united| (cluster.clone(), united)));
        true
    }
}
