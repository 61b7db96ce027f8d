//! Whose clients the answers are for, and what guides them.

use landfall_core::name::ClusterId;

/// Whom the answers are for, and what guides them.
#[derive(Debug, Clone)]
pub struct Perspective {
    pub local: ClusterId,
    /// The operator's namespace: a policy there without targets is for every service.
    pub namespace: Box<str>,
    /// Where the Submariner resource that counts is; `None`: wherever there is one.
    pub submariner_namespace: Option<Box<str>>,
    pub guide: Guide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guide {
    /// What users wrote: the operator, and file mode.
    Policies,
    /// What the operator published: a DNS replica.
    Selections,
}
