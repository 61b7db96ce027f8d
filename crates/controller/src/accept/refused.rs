//! Reasons why an object, or a part of it, is left out.

use landfall_core::name::{ClusterId, InvalidName, ServiceKey};
use thiserror::Error;

use super::number::OutOfRange;

#[derive(Debug, Clone, PartialEq, Error)]
pub enum Refused {
    #[error("{field}: {source}")]
    Name { field: String, source: InvalidName },
    #[error("metadata.annotations[{key}]: {value:?} is not {expected}")]
    Annotation { key: String, value: String, expected: &'static str },
    #[error(
        "endpoints: {value:?} is not an address of type {address_type:?} that clients in other clusters can reach; it is left out"
    )]
    Address { address_type: String, value: String },
    #[error("spec.type: {0:?} is neither ClusterSetIP nor Headless")]
    ImportType(String),
    #[error("spec.{field}: {value:?} is not {expected}")]
    Field { field: String, value: String, expected: &'static str },
    #[error("spec.{first} and spec.{second} exclude each other; set only one of them")]
    Both { first: &'static str, second: &'static str },
    #[error(transparent)]
    Number(#[from] OutOfRange),
    #[error(
        "spec.version: {version} is newer than {known}, the newest version that this Landfall reads; the facts are left out; \
         upgrade Landfall in this cluster"
    )]
    Version { version: i32, known: i32 },
    #[error("spec.{field}: more than {max} entries; the rest is left out")]
    TooMany { field: &'static str, max: usize },
    #[error("status.mode: {0:?} is not a known mode; a newer operator may have written it")]
    Mode(String),
}

impl Refused {
    pub(super) fn unusable(address_type: &str, address: &str) -> Self {
        Self::Address { address_type: address_type.to_owned(), value: address.to_owned() }
    }
}

pub(super) fn cluster(field: &str, id: &str) -> Result<ClusterId, Refused> {
    ClusterId::new(id).map_err(|source| Refused::Name { field: field.to_owned(), source })
}

pub(super) fn service(field: &str, namespace: &str, name: &str) -> Result<ServiceKey, Refused> {
    ServiceKey::new(namespace, name).map_err(|source| Refused::Name { field: field.to_owned(), source })
}
