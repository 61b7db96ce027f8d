//! Whose clients are answered, and by which rules.

use landfall_core::name::ClusterId;

#[derive(Debug, Clone)]
pub struct Perspective {
    /// The cluster whose clients are answered.
    pub local: ClusterId,
    /// Namespace of the operator. A policy there without targets applies to every service.
    pub namespace: Box<str>,
    /// Namespace of the Submariner resource that counts. `None`: any namespace.
    pub submariner_namespace: Option<Box<str>>,
    pub rules_from: RulesFrom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RulesFrom {
    /// What users wrote: the operator, and file mode.
    Policies,
    /// What the operator published: a DNS replica.
    Selections,
}

/// Whether times in objects can be compared with the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Objects of an API server, which are of now.
    Live,
    /// Objects of files, which are of the time when the manifests were saved.
    Saved,
}
