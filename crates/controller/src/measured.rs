//! What was measured here, on its way to the rounds.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use landfall_core::name::{ClusterId, ServiceKey};

/// News from those who measure.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// For how long answers were counted. 0: no DNS replica told anything.
    pub seconds: f64,
    /// By the exporting cluster that was named; `None`: clusterset IPs.
    pub answers: BTreeMap<ServiceKey, BTreeMap<Option<ClusterId>, u64>>,
    pub readings: BTreeMap<ServiceKey, Reading>,
    /// Where other clusters can probe this one; empty: not known.
    pub probe_addresses: Vec<SocketAddr>,
}

/// What a meter said of one of our exports.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reading {
    /// Requests per second.
    pub load_rps: Option<f64>,
    /// The part of its capacity.
    pub utilisation: Option<f64>,
}
