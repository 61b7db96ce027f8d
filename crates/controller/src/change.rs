//! What comes in, and what it concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use landfall_core::name::{ClusterId, ServiceKey};

use crate::facts::{Facts, PeerLink};
use crate::measured::Measured;
use crate::object::{Kind, Object, ObjectRef, Problem};

/// Whatever can change a plan.
#[derive(Debug)]
pub enum Change {
    Object(ObjectEvent),
    Peer(PeerEvent),
    /// Paths to the peers, as our own probes measured them.
    Links(BTreeMap<ClusterId, PeerLink>),
    /// Measurements since the last ones.
    Measured(Box<Measured>),
    /// Whether this replica is the one that measures and publishes.
    Leads(bool),
}

/// One event of a watch, or of a folder of manifests.
#[derive(Debug)]
pub enum ObjectEvent {
    /// A list of all objects of a kind begins. Objects that are not in it are gone when it ends.
    ListBegins(Kind),
    ListEnds(Kind),
    /// `origin`: the file that the object is in, in file mode.
    Apply {
        object: Object,
        origin: Option<Arc<Path>>,
    },
    Delete(Kind, ObjectRef),
    /// The watch of a kind is interrupted, and why. What is known may be old until the next list ends.
    Interrupted(Kind, Box<str>),
    /// An object that could not be read at all.
    Malformed(Problem),
}

/// What the other clusters report.
#[derive(Debug)]
pub enum PeerEvent {
    /// The facts of a cluster, the own ones included: from the broker, or in file mode from the same process.
    Reported(Arc<Facts>),
    /// A cluster reports nothing any more.
    Gone(ClusterId),
    /// All clusters that report anything. Others are gone.
    Listed(BTreeSet<ClusterId>),
    /// The state of the broker. `None`: there is no broker.
    Broker(Option<BrokerState>),
}

/// How it stands with the broker, for conditions, metrics and the age of facts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrokerState {
    /// `None`: all facts are known, and changes come as they happen. Else why they do not.
    pub lost: Option<Arc<str>>,
    /// Another cluster has our id, and wrote first: we write nothing.
    pub double: Option<Arc<str>>,
    /// Why the broker does not take what this cluster says of itself.
    pub unwritten: Option<Arc<str>>,
    /// What is left out, by the name of the object: why, in a word and in words.
    pub rejected: BTreeMap<Box<str>, (&'static str, Arc<str>)>,
    /// Clusters of which a part is missing.
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
