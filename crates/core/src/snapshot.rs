//! The fleet at one instant, as one cluster sees it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::export::Export;
use crate::name::{ByCluster, ClusterId, ServiceKey};
use crate::optimize::report::Known;
use crate::policy::Policy;
use crate::rule::Rule;

/// Everything a plan is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub view: View,
    pub services: BTreeMap<ServiceKey, Arc<Service>>,
}

/// Whose clients the plan is for, and how that cluster sees the others.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub local: ClusterId,
    /// Whether somebody knows all connections there are, as a gateway does: then one that is absent from `links` is not
    /// connected any more. Else whom nobody tells of counts as reachable.
    pub measured: bool,
    pub links: BTreeMap<ClusterId, Link>,
}

impl View {
    pub fn reaches(&self, cluster: &ClusterId) -> bool {
        *cluster == self.local || self.links.get(cluster).map_or(!self.measured, |link| link.reachable)
    }

    /// Returns true if both views reach the same clusters, also those that only one of them lists. Round-trip times
    /// change all the time and are not compared.
    pub fn reaches_like(&self, other: &Self) -> bool {
        let mut listed = self.links.keys().chain(other.links.keys()).chain([&self.local, &other.local]);
        // `measured` decides about the clusters that neither view lists.
        self.measured == other.measured && listed.all(|cluster| self.reaches(cluster) == other.reaches(cluster))
    }
}

/// The network between the local cluster and another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub reachable: bool,
    pub rtt: Option<Duration>,
}

/// How an exporting cluster is, for one service, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Ready,
    /// It has ready endpoints, and the network says they cannot be reached from here.
    Unreachable,
    NotReady,
}

/// A service that the clusterset offers: a ServiceImport and all that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub kind: Kind,
    pub exports: ByCluster<Export>,
    pub guidance: Guidance,
}

impl Service {
    /// How an exporting cluster is, as `view` sees it.
    pub fn health(&self, cluster: &ClusterId, view: &View) -> Health {
        match self.exports.get(cluster) {
            Some(export) if export.ready.is_empty() => Health::NotReady,
            Some(_) if view.reaches(cluster) => Health::Ready,
            Some(_) => Health::Unreachable,
            None => Health::NotReady,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `ips`: the clusterset IPs of the import. They are the answer where there are any (vip mode); else the addresses
    /// of one exporting cluster are (per-cluster mode).
    ClusterSetIp { ips: Vec<IpAddr> },
    /// Every ready endpoint is the answer.
    Headless,
}

/// Where the rule of a service comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Guidance {
    /// The operator: from what the user wrote.
    Policy(Arc<Policy>),
    /// The operator, in the optimised mode: and from what the clusters published. The rule is what was published before this
    /// process began: it goes on from there.
    Optimized(Arc<Policy>, Arc<Known>, Option<Arc<Rule>>),
    /// A DNS replica: from what the operator published.
    Published(Arc<Rule>),
    /// What is served, and what would be if a policy that is only tried were in force.
    Shadowed { served: Box<Self>, shadow: Box<Self> },
}

impl Guidance {
    /// What answers come from.
    pub fn served(&self) -> &Self {
        if let Self::Shadowed { served, .. } = self { served } else { self }
    }

    pub fn shadow(&self) -> Option<&Self> {
        if let Self::Shadowed { shadow, .. } = self { Some(shadow) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(measured: bool, links: &[(&str, bool)]) -> View {
        let id = |name: &str| ClusterId::new(name).unwrap();
        let link = |&(name, reachable): &(&str, bool)| (id(name), Link { reachable, rtt: None });
        View { local: id("east"), measured, links: links.iter().map(link).collect() }
    }

    #[test]
    fn a_cluster_that_joins_and_cannot_be_reached_changes_what_is_reachable() {
        let before = view(false, &[("west", true)]);
        assert!(!before.reaches_like(&view(false, &[("west", true), ("south", false)])));
        assert!(before.reaches_like(&view(false, &[("west", true), ("south", true)])), "as it counted before");
        let complete = view(true, &[("west", true)]);
        assert!(complete.reaches_like(&view(true, &[("west", true), ("south", false)])), "as it counted before");
        assert!(!complete.reaches_like(&view(true, &[("west", true), ("south", true)])));
        assert!(!before.reaches_like(&complete), "a cluster that neither view lists is not reachable any more");
    }
}
