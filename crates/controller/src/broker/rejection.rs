//! Why an object on the broker, or a part of it, is left out.

use thiserror::Error;

use crate::accept::Refused;

/// Clusters that peers can name at most.
pub(super) const MAX_CLUSTERS: usize = 256;

#[derive(Debug, Clone, PartialEq, Error)]
pub(super) enum Rejection {
    #[error("it says that it is of cluster {said:?}, part {part}, which would be named {named:?}: not its owner's")]
    NotItsOwners { said: String, part: i32, named: String },
    #[error("there are more than {MAX_CLUSTERS} clusters already")]
    TooMany,
    #[error("another cluster with this id, {0}, has written it")]
    OwnId(String),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{0}")]
    Malformed(String),
    /// A part of the object. The rest of it counts.
    #[error(transparent)]
    InPart(Refused),
    /// Numbers that count only up to a limit.
    #[error("numbers of more than ten times what is usual: {0}; ten times counts, and the usual follows within hours")]
    Unusual(usize),
}

impl Rejection {
    /// A word for metrics.
    pub(super) fn category(&self) -> &'static str {
        match self {
            Self::NotItsOwners { .. } => "not_its_owners",
            Self::TooMany => "too_many",
            Self::OwnId(_) => "own_id",
            Self::Refused(Refused::Version { .. }) => "version",
            Self::Refused(_) | Self::InPart(_) => "field",
            Self::Malformed(_) => "malformed",
            Self::Unusual(_) => "unusual",
        }
    }
}
