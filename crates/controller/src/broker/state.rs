//! The state of the connection to the broker, for conditions, metrics and the age of facts.

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::name::ClusterId;

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
