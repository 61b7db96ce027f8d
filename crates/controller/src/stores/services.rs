//! The services of the clusterset: imports, endpoints, published selections, and the pods of this cluster.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::name::ServiceKey;
use litemap::LiteMap;

use super::imports::Imports;
use super::pods::LocalPods;
use crate::accept::{ExportWeights, Selection, Slice};
use crate::object::{Kind, ObjectRef};

/// EndpointSlices of one service, by object name.
pub type Slices = LiteMap<Box<str>, Arc<Slice>>;

#[derive(Debug, Default)]
pub struct Services {
    pub imports: Imports,
    pub slices: BTreeMap<ServiceKey, Slices>,
    /// Pods of the services of this cluster, exported or not.
    pub pods: LocalPods,
    pub export_weights: BTreeMap<ServiceKey, LiteMap<ObjectRef, ExportWeights>>,
    pub selections: BTreeMap<ServiceKey, Selection>,
}

/// What the removal of an object changes.
pub(super) enum Removed {
    /// The ready pods of a service, if true.
    Pods(bool),
    Service,
}

impl Services {
    pub(super) fn insert_slice(&mut self, name: Box<str>, mut slice: Slice) {
        slice.key = self.kept_key(&slice.key);
        self.slices.entry(slice.key.clone()).or_default().insert(name, Arc::new(slice));
    }

    /// One copy of each key, for all objects of the service.
    fn kept_key(&self, key: &ServiceKey) -> ServiceKey {
        let of_import = self.imports.get(key).map(|import| &import.key);
        let kept = of_import.or_else(|| self.slices.get_key_value(key).map(|(key, _)| key));
        kept.unwrap_or(key).clone()
    }

    /// Removes what an import or a slice brought to a service.
    pub(super) fn remove(&mut self, kind: Kind, object: &ObjectRef, key: &ServiceKey) -> Removed {
        if kind == Kind::EndpointSlice {
            if let Some(changed) = self.pods.remove(key, &object.name) {
                return Removed::Pods(changed);
            }
            remove_entry(&mut self.slices, key, &object.name);
        } else if self.export_weights.get(key).is_some_and(|weights| weights.contains_key(object)) {
            remove_entry(&mut self.export_weights, key, object);
        } else {
            self.imports.remove(key);
        }
        Removed::Service
    }
}

/// Removes an entry, and the inner map with its last one.
fn remove_entry<Q, K, V>(maps: &mut BTreeMap<ServiceKey, LiteMap<K, V>>, key: &ServiceKey, entry: &Q)
where
    K: Borrow<Q> + Ord,
    Q: Ord + ?Sized,
{
    if let Some(map) = maps.get_mut(key) {
        map.remove(entry);
        if map.is_empty() {
            maps.remove(key);
        }
    }
}
