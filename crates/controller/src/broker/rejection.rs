//! Reasons why an object on the broker, or a part of it, is left out.

use thiserror::Error;

use crate::accept::Refused;

/// Limit of clusters on one broker.
pub(super) const MAX_CLUSTERS: usize = 256;

#[derive(Debug, Clone, PartialEq, Error)]
pub(super) enum Rejection {
    #[error(
        "spec.cluster {cluster:?} and spec.part {part} require the name {expected:?}; a cluster may only write its own objects"
    )]
    WrongName { cluster: String, part: i32, expected: String },
    #[error("{MAX_CLUSTERS} other clusters have facts already; delete those of clusters that no longer exist")]
    TooMany,
    #[error("another cluster with this id, {0}, wrote it; give one of the two another id")]
    OwnId(String),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{0}")]
    Malformed(String),
    /// A part of the object is left out. The rest of it is accepted.
    #[error(transparent)]
    InPart(Refused),
    /// Numbers that are clipped.
    #[error(
        "{0} of its numbers exceed ten times their usual value and are clipped to that; the usual value follows within hours"
    )]
    Unusual(usize),
}

impl Rejection {
    /// Returns the category, for metrics.
    pub(super) fn category(&self) -> &'static str {
        match self {
            Self::WrongName { .. } => "not_its_owners",
            Self::TooMany => "too_many",
            Self::OwnId(_) => "own_id",
            Self::Refused(Refused::Version { .. }) => "version",
            Self::Refused(_) | Self::InPart(_) => "field",
            Self::Malformed(_) => "malformed",
            Self::Unusual(_) => "unusual",
        }
    }
}
