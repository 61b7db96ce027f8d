//! Where this cluster is, and what traffic costs from there.

use landfall_core::pricing::{Location, PriceTable};

use super::Stores;
use crate::change::Touched;
use crate::object::{Kind, ObjectRef};

/// The NetworkPricing that comes with Landfall: its rules are for what no other one is for.
const DEFAULT_PRICING: &str = "default";

impl Stores {
    /// Where the nodes of this cluster are, one by one.
    pub fn locations(&self) -> impl Iterator<Item = &Location> {
        self.nodes.values()
    }

    /// Where this cluster is. `None`: it has no nodes that we may see.
    pub fn location(&self) -> Option<Location> {
        self.place.clone().or_else(|| Location::of_most(self.locations()))
    }

    /// What traffic costs, by the rules of all NetworkPricings in the order in which they count.
    pub fn pricing(&self) -> PriceTable {
        let by_name = |default: bool| {
            self.pricings.iter().filter(move |(object, _)| (&*object.name == DEFAULT_PRICING) == default)
        };
        PriceTable::new(by_name(false).chain(by_name(true)).flat_map(|(_, rules)| rules).cloned().collect())
    }

    /// `None`: it is gone. Kubelets rewrite their nodes all the time, and almost never move; autoscalers add and remove some
    /// all the time, and the cluster almost never moves.
    pub(super) fn place_node(&mut self, object: ObjectRef, location: Option<Location>, touched: &mut Touched) {
        if self.nodes.get(&object) == location.as_ref() {
            return;
        }
        // All nodes are looked at for it; nothing is planned before their list is complete.
        let matters = !touched.all && self.complete(&[Kind::Node]) && self.optimizes();
        let before = matters.then(|| self.location());
        match location {
            Some(location) => self.nodes.insert(object, location),
            None => self.nodes.remove(&object),
        };
        touched.all |= before.is_some_and(|before| before != self.location());
    }
}
