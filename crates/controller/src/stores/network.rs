//! How this cluster reaches the others, as gateways report it and as our own probes measure it.

use std::collections::BTreeMap;

use landfall_core::name::ClusterId;

use crate::accept::Gateway;
use crate::facts::PeerLink;
use crate::object::ObjectRef;

/// Gateways are rewritten every five seconds. Whether one changes who can be reached is decided from all of them, in
/// `observe::network`.
#[derive(Debug, Default)]
pub struct Network {
    pub gateways: BTreeMap<ObjectRef, Gateway>,
    /// Measured by probes. Gateways take precedence.
    pub links: BTreeMap<ClusterId, PeerLink>,
}
