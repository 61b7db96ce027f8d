//! What comes in, and what it concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use landfall_core::name::{ClusterId, ServiceKey};

use crate::broker;
use crate::facts::{Facts, PeerLink};
use crate::measured::Measured;
use crate::object::{Kind, Object, ObjectRef, Problem};

/// What a source of objects says.
#[derive(Debug)]
pub enum Change {
    /// A list of all objects of a kind begins: who is not in it is gone when it ends.
    ListBegins(Kind),
    ListEnds(Kind),
    /// `origin`: the file it came from, in file mode.
    Apply {
        object: Object,
        origin: Option<Arc<Path>>,
    },
    Delete(Kind, ObjectRef),
    /// The watch of a kind is interrupted, and why: what is known may be old until the next list ends.
    Interrupted(Kind, Box<str>),
    /// An object that could not be read at all.
    Malformed(Problem),
    /// What a cluster says of itself: on the broker, or in file mode, in which all clusters are in one process, past any object.
    Peer(Arc<Facts>),
    /// A cluster says nothing any more.
    PeerGone(ClusterId),
    /// No others say anything, whatever was heard before, of this broker or of another one.
    PeersListed(BTreeSet<ClusterId>),
    /// How it stands with the broker. `None`: there is none.
    Broker(Option<broker::state::BrokerState>),
    /// What was found of the ways to the others by probing them.
    Links(BTreeMap<ClusterId, PeerLink>),
    /// What was measured here since the last time.
    Measured(Box<Measured>),
    /// Whether this replica is the one to measure and to publish.
    Leads(bool),
}

/// Which services must be planned anew.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Touched {
    pub all: bool,
    pub services: BTreeSet<ServiceKey>,
    /// Clusters that told something.
    pub peers: BTreeSet<ClusterId>,
    /// A policy or the Submariner resource changed, so their conditions may.
    pub policies: bool,
    /// This replica began or ended to lead.
    pub leads: bool,
    /// What is wrong since now.
    pub problems: Vec<Problem>,
}

impl Touched {
    /// Nothing that a plan or a condition comes from.
    pub fn is_nothing(&self) -> bool {
        !self.all && !self.policies && !self.leads && self.services.is_empty() && self.peers.is_empty()
    }
}
