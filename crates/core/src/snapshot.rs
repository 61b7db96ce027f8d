//! The fleet at one instant, as one cluster sees it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::export::Export;
use crate::name::{ByCluster, ClusterId, ServiceKey};
use crate::optimize::report::PlanningInput;
use crate::policy::Policy;
use crate::rule::Rule;

/// All inputs of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub view: NetworkView,
    pub services: BTreeMap<ServiceKey, Arc<Service>>,
}

/// The local cluster, whose clients the plan is for, and its network to the other clusters.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkView {
    pub local: ClusterId,
    /// True if `links` is complete, as reported by a Submariner gateway: a missing cluster is then disconnected. If
    /// false, a missing cluster counts as reachable.
    pub links_complete: bool,
    pub links: BTreeMap<ClusterId, Link>,
}

impl NetworkView {
    /// Returns true if the local cluster can reach `cluster`.
    pub fn reaches(&self, cluster: &ClusterId) -> bool {
        *cluster == self.local || self.links.get(cluster).map_or(!self.links_complete, |link| link.reachable)
    }

    /// Returns true if both views reach the same clusters, also those that only one of them lists. Round-trip times
    /// change all the time and are not compared.
    pub fn reaches_same_clusters(&self, other: &Self) -> bool {
        let mut listed = self.links.keys().chain(other.links.keys()).chain([&self.local, &other.local]);
        // `links_complete` decides about the clusters that neither view lists.
        self.links_complete == other.links_complete
            && listed.all(|cluster| self.reaches(cluster) == other.reaches(cluster))
    }
}

/// Link between the local cluster and another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub reachable: bool,
    pub rtt: Option<Duration>,
}

/// Health of an exporting cluster for one service, as the local cluster sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Ready,
    /// It has ready endpoints, but the local cluster cannot reach it.
    Unreachable,
    NotReady,
}

/// A service of the clusterset: a ServiceImport and all that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub kind: ServiceKind,
    pub exports: ByCluster<Export>,
    pub rule_source: RuleSource,
}

impl Service {
    /// Returns the health of an exporting cluster, as `view` sees it.
    pub fn health(&self, cluster: &ClusterId, view: &NetworkView) -> Health {
        match self.exports.get(cluster) {
            Some(export) if export.ready.is_empty() => Health::NotReady,
            Some(_) if view.reaches(cluster) => Health::Ready,
            Some(_) => Health::Unreachable,
            None => Health::NotReady,
        }
    }
}

/// Kind of a service, which decides how DNS answers for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceKind {
    /// Answers with the clusterset IPs of the import, `ips`, if there are any (vip mode); else with the address of one
    /// exporting cluster (per-cluster mode).
    ClusterSetIp { ips: Vec<IpAddr> },
    /// Answers with all ready endpoints.
    Headless,
}

/// Source of the rule of a service.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleSource {
    /// Operator: the policy.
    Policy(Arc<Policy>),
    /// Operator, optimized mode: the policy plus the published facts.
    Optimized(Arc<Policy>, Arc<PlanningInput>, Continuation),
    /// DNS replica: the rule that the operator published.
    Published(Arc<Rule>),
    /// The source of the rule that is served, and that of the rule a policy in shadow mode would produce.
    Shadowed { served: Box<Self>, shadow: Box<Self> },
}

/// Rule that an optimized rule continues from: its hysteresis, its prices, and the weights that stay if nothing can be solved.
#[derive(Debug, Clone, PartialEq)]
pub enum Continuation {
    /// The rule of the previous plan. In the first plan it is this one, which was published before this process started.
    Previous(Option<Arc<Rule>>),
    /// No rule. What a user changes in a file is no noise, so nothing may hide it.
    Afresh,
}

impl Continuation {
    /// Returns the rule to continue from. `previous` is the rule of the previous plan.
    pub fn rule<'a>(&'a self, previous: Option<&'a Rule>) -> Option<&'a Rule> {
        match self {
            Self::Previous(published) => previous.or(published.as_deref()),
            Self::Afresh => None,
        }
    }
}

impl RuleSource {
    /// Returns the source of the rule that is served.
    pub fn served(&self) -> &Self {
        if let Self::Shadowed { served, .. } = self { served } else { self }
    }

    /// Returns the policy and its inputs if the served rule is computed here in optimized mode.
    pub fn optimized(&self) -> Option<(&Policy, &PlanningInput)> {
        if let Self::Optimized(policy, input, _) = self.served() { Some((policy, input)) } else { None }
    }

    /// Returns the source of the rule in shadow mode, if there is one.
    pub fn shadow(&self) -> Option<&Self> {
        if let Self::Shadowed { shadow, .. } = self { Some(shadow) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(links_complete: bool, links: &[(&str, bool)]) -> NetworkView {
        let id = |name: &str| ClusterId::new(name).unwrap();
        let link = |&(name, reachable): &(&str, bool)| (id(name), Link { reachable, rtt: None });
        NetworkView { local: id("east"), links_complete, links: links.iter().map(link).collect() }
    }

    #[test]
    fn cluster_that_joins_unreachable_changes_what_is_reachable() {
        let before = view(false, &[("west", true)]);
        assert!(!before.reaches_same_clusters(&view(false, &[("west", true), ("south", false)])));
        assert!(before.reaches_same_clusters(&view(false, &[("west", true), ("south", true)])), "as it counted before");
        let complete = view(true, &[("west", true)]);
        assert!(
            complete.reaches_same_clusters(&view(true, &[("west", true), ("south", false)])),
            "as it counted before"
        );
        assert!(!complete.reaches_same_clusters(&view(true, &[("west", true), ("south", true)])));
        assert!(
            !before.reaches_same_clusters(&complete),
            "a cluster that neither view lists is not reachable any more"
        );
    }
}
