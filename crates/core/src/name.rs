//! Names that were parsed once and cannot be wrong afterwards.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use litemap::LiteMap;
use thiserror::Error;

/// Length of the longest DNS label, and of the longest value of a Kubernetes label.
const MAX_LABEL: usize = 63;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidName {
    #[error("cluster id {0:?} is not one or two DNS labels (a-z, 0-9, '-') of at most 63 characters in all")]
    Cluster(String),
    #[error("service {0:?} is not a DNS label (a-z, 0-9, '-', at most 63 characters)")]
    Service(String),
    #[error("namespace {0:?} is not a DNS label (a-z, 0-9, '-', at most 63 characters)")]
    Namespace(String),
}

/// Id of a member cluster: one DNS label, or two joined by a dot (KEP-1645). At most 63 characters in all, because it
/// is also the value of a Kubernetes label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(Arc<str>);

/// A map by cluster id, stored as a sorted vector: a service has few clusters but there are many services, and a tree
/// per service would waste memory.
pub type ByCluster<V> = LiteMap<ClusterId, V>;

impl ClusterId {
    pub fn new(id: &str) -> Result<Self, InvalidName> {
        let valid = id.len() <= MAX_LABEL && id.split('.').count() <= 2 && id.split('.').all(is_label);
        if valid { Ok(Self(id.into())) } else { Err(InvalidName::Cluster(id.to_owned())) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ClusterId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Namespaced name of a service, the same in every cluster of the set (namespace sameness).
///
/// Stored as DNS writes it, `web.shop` for service `web` in namespace `shop`, so that a query is looked up without
/// building a key. Neither part can contain a dot, so the form is unambiguous.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey(Arc<str>);

impl ServiceKey {
    pub fn new(namespace: &str, name: &str) -> Result<Self, InvalidName> {
        if !is_label(name) {
            return Err(InvalidName::Service(name.to_owned()));
        }
        if !is_label(namespace) {
            return Err(InvalidName::Namespace(namespace.to_owned()));
        }
        Ok(Self(format!("{name}.{namespace}").into()))
    }

    /// Returns the DNS form, `web.shop`, which [`Borrow`] compares and hashes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn name(&self) -> &str {
        self.parts().0
    }

    pub fn namespace(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once('.').expect("a key consists of a name, a dot and a namespace")
    }
}

impl Borrow<str> for ServiceKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Writes the key as Kubernetes tools do: `shop/web`.
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace(), self.name())
    }
}

/// Returns true for a DNS label (RFC 1123): lower-case letters, digits and inner hyphens.
pub fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !label.is_empty()
        && label.len() <= MAX_LABEL
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_is_one_or_two_labels() {
        for id in ["east", "east.eu", "a1-b2", &"x".repeat(63)] {
            assert_eq!(ClusterId::new(id).unwrap().as_str(), id);
        }
        for id in ["", "East", "a.b.c", ".a", "a.", "-a", "a-", "a_b", "ä", &"x".repeat(64)] {
            assert!(ClusterId::new(id).is_err(), "{id:?} was accepted");
        }
    }

    #[test]
    fn a_service_key_is_found_by_the_dns_form_of_its_name() {
        let key = ServiceKey::new("shop", "web").unwrap();
        let keys = std::collections::BTreeSet::from([key.clone()]);
        assert!(keys.contains("web.shop"));
        assert_eq!((key.name(), key.namespace(), key.to_string().as_str()), ("web", "shop", "shop/web"));
        assert!(ServiceKey::new("shop", "we.b").is_err());
        assert!(ServiceKey::new("", "web").is_err());
    }
}
