//! Measurements of the local cluster, as input of the rounds.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use landfall_core::name::{ClusterId, ServiceKey};

/// Measurements since the previous ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// Time in which answers were counted. 0 if no DNS replica reported.
    pub seconds: f64,
    /// DNS answers by exporting cluster. `None` stands for answers with a clusterset IP.
    pub answers: BTreeMap<ServiceKey, BTreeMap<Option<ClusterId>, u64>>,
    pub readings: BTreeMap<ServiceKey, Reading>,
    /// Addresses at which other clusters can probe this one. Empty if unknown.
    pub probe_addresses: Vec<SocketAddr>,
}

/// Load of one export of the local cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reading {
    pub load_rps: Option<f64>,
    /// Used fraction of the capacity.
    pub utilization: Option<f64>,
}
