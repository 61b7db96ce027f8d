//! What services are observed from, beside the stores.

use landfall_core::snapshot::NetworkView;

use super::path_costs::PathCosts;
use super::perspective::{Age, Perspective};
use crate::broker::connection::BrokerConnection;
use crate::rounds::Rounds;

/// Everything beside the stores that a snapshot is made from.
#[derive(Debug, Clone, Copy)]
pub struct ObserveContext<'a> {
    pub perspective: &'a Perspective,
    pub age: Age,
    pub view: &'a NetworkView,
    /// Seconds since 1970.
    pub now: u64,
    pub hearing: BrokerConnection,
    /// `None` unless this replica leads.
    pub rounds: Option<&'a Rounds>,
    pub path_costs: &'a PathCosts,
}
