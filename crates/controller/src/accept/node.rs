//! Where the nodes of this cluster are.

use landfall_api as api;
use landfall_api::labels::{REGION, ZONE};
use landfall_core::pricing::Location;

/// All that is kept of a node, which is a hundredth of it.
pub(super) fn accept_node(node: &api::Node) -> Location {
    let label = |key| node.metadata.labels.get(key).map(String::as_str).unwrap_or_default();
    Location::from_node(&node.spec.provider_id, label(REGION), label(ZONE))
}
