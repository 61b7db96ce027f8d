//! Where this cluster is, and what traffic costs from there.

use std::collections::BTreeMap;

use landfall_core::pricing::{Location, PriceRule, PriceTable};

use crate::object::ObjectRef;

/// The NetworkPricing that is installed with Landfall. Its rules apply where no other rule does.
const DEFAULT_PRICING: &str = "default";

#[derive(Debug, Default)]
pub struct LocationSources {
    /// Location that overrides the nodes.
    pub configured: Option<Location>,
    nodes: BTreeMap<ObjectRef, Location>,
    pricings: BTreeMap<ObjectRef, Vec<PriceRule>>,
}

impl LocationSources {
    /// Locations of the nodes of this cluster, one by one.
    pub fn of_nodes(&self) -> impl Iterator<Item = &Location> {
        self.nodes.values()
    }

    /// Returns where this cluster is, or `None` if we may see none of its nodes.
    pub fn of_cluster(&self) -> Option<Location> {
        self.configured.clone().or_else(|| Location::of_most_nodes(self.of_nodes()))
    }

    /// Returns the rules of all NetworkPricings, in the order in which they apply.
    pub fn pricing(&self) -> PriceTable {
        let by_name = |default: bool| {
            self.pricings.iter().filter(move |(object, _)| (&*object.name == DEFAULT_PRICING) == default)
        };
        PriceTable::new(by_name(false).chain(by_name(true)).flat_map(|(_, rules)| rules).cloned().collect())
    }

    /// Stores the location of a node, or removes the node if it is `None`. Returns whether the cluster moved by it, if
    /// `compare` says that this matters. Kubelets rewrite their nodes all the time and autoscalers replace them, while the
    /// cluster almost never moves, and all nodes are counted to find out.
    pub(super) fn set_node(&mut self, object: ObjectRef, location: Option<Location>, compare: bool) -> bool {
        if self.nodes.get(&object) == location.as_ref() {
            return false;
        }
        let before = compare.then(|| self.of_cluster());
        match location {
            Some(location) => self.nodes.insert(object, location),
            None => self.nodes.remove(&object),
        };
        before.is_some_and(|before| before != self.of_cluster())
    }

    /// Returns whether the rules changed.
    pub(super) fn insert_pricing(&mut self, object: ObjectRef, rules: Vec<PriceRule>) -> bool {
        let changed = self.pricings.get(&object) != Some(&rules);
        self.pricings.insert(object, rules);
        changed
    }

    pub(super) fn remove_pricing(&mut self, object: &ObjectRef) -> bool {
        self.pricings.remove(object).is_some()
    }
}
