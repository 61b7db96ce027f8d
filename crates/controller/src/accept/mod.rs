//! Validates objects. Each object is checked here once, when it arrives, and reduced to the fields that are used. A
//! refused object is reported, and its previous version stays in force.

mod number;
mod refused;
mod settings;
mod accepted;
mod pricing;
mod submariner;
mod policy;
mod import;
mod endpoints;
mod facts;
mod gateway;
mod selection;
mod node;

pub use self::accepted::{
    Accepted, ExportWeights, Gateway, Import, ReadyPods, Selection, SelectionPolicy, Slice, Submariner,
};
use self::endpoints::accept_slice;
use self::facts::accept_facts;
use self::gateway::accept_gateway;
use self::import::accept_import;
use self::node::accept_node;
use self::policy::accept_policy;
use self::pricing::accept_pricing;
pub use self::refused::Refused;
use self::selection::accept_selection;
pub use self::selection::fingerprint;
pub use self::settings::{Optimized, Preset, PrometheusQueries};
use self::submariner::accept_submariner;
use crate::object::Object;

/// Accepts an object. Also returns the first of its parts that had to be left out: a service must not disappear because
/// an annotation has a typing mistake.
pub fn accept(object: Object) -> Result<(Accepted, Option<Refused>), Refused> {
    let whole = |accepted| (accepted, None);
    match object {
        Object::Submariner(submariner) => accept_submariner(*submariner).map(whole),
        Object::SelectionPolicy(policy) => accept_policy(*policy).map(whole),
        Object::ServiceImport(import) => accept_import(&import),
        Object::EndpointSlice(slice) => accept_slice(&slice),
        Object::Gateway(gateway) => Ok(accept_gateway(&gateway)),
        Object::ServiceSelection(selection) => accept_selection(*selection).map(whole),
        Object::Node(node) => Ok(whole(Accepted::Node(accept_node(&node)))),
        Object::NetworkPricing(pricing) => accept_pricing(&pricing).map(Accepted::Pricing).map(whole),
        Object::ClusterFacts(facts) => accept_facts(&facts).map(|(facts, left_out)| (Accepted::Facts(facts), left_out)),
    }
}
