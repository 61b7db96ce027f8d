//! Inputs of the pipeline, and what they affect.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use landfall_core::name::{ClusterId, ServiceKey};

use crate::facts::{ClusterFacts, PeerLink};
use crate::measured::Measured;
use crate::object::{Kind, Object, ObjectRef, Problem};

/// An input that can change a plan.
#[derive(Debug)]
pub enum Change {
    Object(ObjectEvent),
    Peer(PeerEvent),
    /// Network paths to the peers, as measured by the probes of this cluster.
    Links(BTreeMap<ClusterId, PeerLink>),
    /// Measurements since the previous ones.
    Measured(Box<Measured>),
    /// True if this replica is the one that measures and publishes.
    Leads(bool),
}

/// An event of a watch, or of a folder of manifests.
#[derive(Debug)]
pub enum ObjectEvent {
    /// Start of a list of all objects of a kind. Objects that are not listed are removed when it ends.
    ListBegins(Kind),
    ListEnds(Kind),
    Apply {
        object: Object,
        /// File that contains the object, in file mode.
        origin: Option<Arc<Path>>,
    },
    Delete(Kind, ObjectRef),
    /// The watch of a kind was interrupted, for the given reason. Its objects may be stale until the next list ends.
    Interrupted(Kind, Box<str>),
    /// An object that cannot be read.
    Malformed(Problem),
}

/// An event from the broker, or from the other clusters in file mode.
#[derive(Debug)]
pub enum PeerEvent {
    /// A cluster, possibly the local one, reported facts: over the broker, or in file mode in the same process.
    Reported(Arc<ClusterFacts>),
    /// A cluster no longer reports facts.
    Gone(ClusterId),
    /// All clusters that report facts. Clusters that are not listed are gone.
    Listed(BTreeSet<ClusterId>),
    /// State of the broker. `None` if there is no broker.
    Broker(Option<BrokerState>),
}

/// State of the connection to the broker, for conditions, metrics and the age of facts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrokerState {
    /// Why facts cannot be read. `None` if all facts have been read and are being watched.
    pub lost: Option<Arc<str>>,
    /// Instance of another cluster that has the local id and wrote first. The local cluster then writes nothing.
    pub duplicate_id: Option<Arc<str>>,
    /// Why the broker does not accept the facts of the local cluster.
    pub write_error: Option<Arc<str>>,
    /// Objects that are left out, in whole or in part, by name: a category, and the reason in words.
    pub rejected: BTreeMap<Box<str>, (&'static str, Arc<str>)>,
    /// Clusters with a missing part.
    pub incomplete: Vec<ClusterId>,
}

impl From<ObjectEvent> for Change {
    fn from(event: ObjectEvent) -> Self {
        Self::Object(event)
    }
}

impl From<PeerEvent> for Change {
    fn from(event: PeerEvent) -> Self {
        Self::Peer(event)
    }
}

/// What must be planned and published again after a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Touched {
    pub all: bool,
    pub services: BTreeSet<ServiceKey>,
    /// Clusters that reported facts.
    pub peers: BTreeSet<ClusterId>,
    /// True if a policy or the Submariner resource changed, so that their conditions may change.
    pub policies: bool,
    /// True if this replica became the leader, or stopped being the leader.
    pub leads: bool,
    /// Problems that are new.
    pub problems: Vec<Problem>,
}

impl Touched {
    /// Returns true if no plan and no condition can change.
    pub fn is_empty(&self) -> bool {
        !self.all && !self.policies && !self.leads && self.services.is_empty() && self.peers.is_empty()
    }
}
