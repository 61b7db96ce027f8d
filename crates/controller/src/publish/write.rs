//! Writes to the API server, as values.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use landfall_api::{ClusterFactsSpec, SelectionPolicyStatus, ServiceSelectionStatus};
use landfall_core::name::ServiceKey;

use crate::accept::fingerprint;
use crate::object::ObjectRef;

/// An object, or a part of one, that Landfall writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Selection(ServiceKey),
    PolicyStatus(ObjectRef),
    SubmarinerConditions(ObjectRef),
    /// The local ClusterFacts with the probe addresses of a peer.
    PeerRecord(ObjectRef),
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    Selection(ServiceKey, Box<ServiceSelectionStatus>),
    DeleteSelection(ServiceKey),
    PolicyStatus(ObjectRef, Box<SelectionPolicyStatus>),
    /// All conditions of the object, with ours among them, based on the object at `resource_version`.
    SubmarinerConditions {
        object: ObjectRef,
        conditions: Vec<Condition>,
        resource_version: Box<str>,
    },
    PeerRecord(ObjectRef, Box<ClusterFactsSpec>),
    DeletePeerRecord(ObjectRef),
}

/// Desired state of one target.
#[derive(Debug, Clone, PartialEq)]
pub enum Desired {
    Write(Write),
    /// The target needs no write.
    InSync(Target),
}

impl Write {
    pub fn target(&self) -> Target {
        match self {
            Self::Selection(key, _) | Self::DeleteSelection(key) => Target::Selection(key.clone()),
            Self::PolicyStatus(object, _) => Target::PolicyStatus(object.clone()),
            Self::SubmarinerConditions { object, .. } => Target::SubmarinerConditions(object.clone()),
            Self::PeerRecord(object, _) | Self::DeletePeerRecord(object) => Target::PeerRecord(object.clone()),
        }
    }

    /// Returns a hash that is equal for two writes of one target with the same effect. Times are left out.
    pub fn effect(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        match self {
            Self::Selection(_, status) => (0, fingerprint(status)).hash(&mut hasher),
            Self::DeleteSelection(_) => 1.hash(&mut hasher),
            Self::PolicyStatus(_, status) => (2, status.services, meaning(&status.conditions)).hash(&mut hasher),
            Self::SubmarinerConditions { conditions, .. } => (3, meaning(conditions)).hash(&mut hasher),
            Self::PeerRecord(_, spec) => {
                (4, &spec.probe_addresses, format!("{:?}", spec.location)).hash(&mut hasher);
            }
            Self::DeletePeerRecord(_) => 5.hash(&mut hasher),
        }
        hasher.finish()
    }
}

/// Returns all fields of the conditions but the times.
fn meaning(conditions: &[Condition]) -> Vec<(&str, &str, &str, &str, Option<i64>)> {
    conditions
        .iter()
        .map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str(), c.message.as_str(), c.observed_generation))
        .collect()
}
