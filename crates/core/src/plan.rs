//! The plan: per service the shares of the exporters, and the tables that answers are drawn from.

mod table;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use self::table::Table;
use crate::answered::Answered;
use crate::export::{Export, Family};
use crate::name::{ByCluster, ClusterId, ServiceKey};
use crate::pick::Sequence;
use crate::resolve::{Share, resolve};
use crate::rule::Rule;
use crate::rule::optimized::optimized_rule;
use crate::rule::weighted::weighted_rule;
use crate::snapshot::{NetworkView, RuleSource, Service, ServiceKind, Snapshot};

/// All services at one moment. Immutable: the next plan shares the services that did not change.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    services: HashMap<ServiceKey, Arc<ServicePlan>>,
    /// Number of services of each namespace.
    namespaces: HashMap<Box<str>, usize>,
    /// Time of the last change, in seconds since 1970.
    changed: u64,
}

/// Plans all services of the snapshot. `now` is in seconds since 1970.
pub fn plan(snapshot: &Snapshot, previous: &Plan, now: u64) -> Plan {
    let gone: Vec<_> = previous.services.keys().filter(|key| !snapshot.services.contains_key(*key)).cloned().collect();
    let present = snapshot.services.iter().map(|(key, service)| (key.clone(), Some(Arc::clone(service))));
    let services = present.chain(gone.into_iter().map(|key| (key, None)));
    previous.updated(&snapshot.view, services, now).unwrap_or_else(|| previous.clone())
}

impl Plan {
    /// Plans the given services anew and keeps the others; a service that is `None` is removed. Returns `None` if
    /// nothing changed.
    pub fn updated(
        &self,
        view: &NetworkView,
        services: impl IntoIterator<Item = (ServiceKey, Option<Arc<Service>>)>,
        now: u64,
    ) -> Option<Self> {
        let mut next: Option<Self> = None;
        for (key, service) in services {
            let previous = self.services.get(&key);
            let planned = service.map(|service| ServicePlan::new(service, view, previous.map(Arc::as_ref)));
            if planned.as_ref() != previous.map(Arc::as_ref) {
                next.get_or_insert_with(|| self.clone()).replace(key, planned);
            }
        }
        next.map(|next| Self { changed: now, ..next })
    }

    fn replace(&mut self, key: ServiceKey, planned: Option<ServicePlan>) {
        let namespace: Box<str> = key.namespace().into();
        let (had, has) = match planned {
            Some(planned) => (self.services.insert(key, Arc::new(planned)).is_some(), true),
            None => (self.services.remove(&key).is_some(), false),
        };
        let count = self.namespaces.get(&namespace).copied().unwrap_or(0) + usize::from(has) - usize::from(had);
        match count {
            0 => self.namespaces.remove(&namespace),
            count => self.namespaces.insert(namespace, count),
        };
    }

    /// Returns a service by the DNS form of its name, `web.shop` in lower case.
    pub fn get(&self, service: &str) -> Option<&Arc<ServicePlan>> {
        self.services.get(service)
    }

    /// Returns true if the namespace has a service.
    pub fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains_key(namespace)
    }

    /// Returns the services by namespace, then name.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceKey, &Arc<ServicePlan>)> {
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_unstable_by_key(|(key, _)| (key.namespace(), key.name()));
        services.into_iter()
    }

    /// Returns the services in no particular order, which takes a tenth of the time.
    pub fn in_any_order(&self) -> impl Iterator<Item = (&ServiceKey, &Arc<ServicePlan>)> {
        self.services.iter()
    }

    /// Returns the plans of the services in no particular order.
    pub fn planned(&self) -> impl Iterator<Item = &ServicePlan> {
        self.services.values().map(Arc::as_ref)
    }

    pub fn keys(&self) -> BTreeSet<ServiceKey> {
        self.services.keys().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.services.len()
    }

    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Returns the time of the last change, in seconds since 1970.
    pub fn changed(&self) -> u64 {
        self.changed
    }
}

/// Plan of one service: the shares of its exporters, and the tables that answers are drawn from.
#[derive(Debug)]
pub struct ServicePlan {
    pub service: Arc<Service>,
    pub rule: Arc<Rule>,
    /// One share per candidate of the rule, in the same order.
    pub shares: Vec<Share>,
    /// Result of the policy in shadow mode, if there is one.
    pub shadow: Option<Shadow>,
    ipv4: Table,
    ipv6: Table,
    sequence: Arc<Sequence>,
    answered: Answered,
}

/// Rule and shares of a policy in shadow mode, which are not served.
#[derive(Debug, Clone, PartialEq)]
pub struct Shadow {
    pub rule: Arc<Rule>,
    pub shares: Vec<Share>,
}

/// The previous rule and what it was made from.
#[derive(Debug, Clone, Copy)]
struct Before<'a> {
    rule: &'a Arc<Rule>,
    /// Source of the previous rule; `None` if the exporters have changed since.
    from: Option<&'a RuleSource>,
}

/// Returns the rule for a source. Reuses the previous rule if its inputs are unchanged, to avoid solving again.
fn rule_of(
    rule_source: &RuleSource,
    exports: &ByCluster<Export>,
    local: &ClusterId,
    before: Option<Before<'_>>,
) -> Arc<Rule> {
    match rule_source {
        RuleSource::Policy(policy) => Arc::new(weighted_rule(policy, local, exports)),
        RuleSource::Optimized(policy, input, continuation) => {
            match before.filter(|before| before.from == Some(rule_source)) {
                Some(before) => Arc::clone(before.rule),
                None => {
                    let last = continuation.rule(before.map(|before| &**before.rule));
                    Arc::new(optimized_rule(policy, input, (local, exports), last))
                }
            }
        }
        RuleSource::Published(rule) => rule.with_candidates_for(exports.keys()),
        RuleSource::Shadowed { served, .. } => rule_of(served, exports, local, before),
    }
}

/// Compares what was decided: the tables follow from the rest, and the sequence and the counters are not part of it.
impl PartialEq for ServicePlan {
    fn eq(&self, other: &Self) -> bool {
        self.service == other.service
            && self.rule == other.rule
            && self.shares == other.shares
            && self.shadow == other.shadow
    }
}

impl ServicePlan {
    /// Plans a service. Keeps the sequence and the counters of `previous`: a restarted sequence would make replicas
    /// draw the same points.
    pub fn new(service: Arc<Service>, view: &NetworkView, previous: Option<&Self>) -> Self {
        let exporters_stay =
            previous.is_some_and(|previous| previous.service.exports.keys().eq(service.exports.keys()));
        let planned = |rule_source: &RuleSource, before: Option<(&Arc<Rule>, Option<&RuleSource>)>| {
            let before = before.map(|(rule, from)| Before { rule, from: from.filter(|_| exporters_stay) });
            let rule = rule_of(rule_source, &service.exports, &view.local, before);
            let shares = resolve(&rule, |cluster| service.health(cluster, view));
            Shadow { rule, shares }
        };
        let served = previous.map(|previous| (&previous.rule, Some(previous.service.rule_source.served())));
        let Shadow { rule, shares } = planned(service.rule_source.served(), served);
        let shadow_before = previous
            .and_then(|previous| Some((&previous.shadow.as_ref()?.rule, previous.service.rule_source.shadow())));
        let shadow = service.rule_source.shadow().map(|rule_source| planned(rule_source, shadow_before));
        let before = previous.map(|previous| previous.answered.clone()).unwrap_or_default();
        let answered = before.with_counters_for(service.exports.keys());
        let table = |family| Table::new(&service, &shares, &answered, family);
        let (ipv4, ipv6) = (table(Family::Ipv4), table(Family::Ipv6));
        let sequence = previous.map(|previous| Arc::clone(&previous.sequence)).unwrap_or_default();
        Self { service, rule, shares, shadow, ipv4, ipv6, sequence, answered }
    }

    /// Returns the next point to draw with.
    pub fn next_point(&self) -> u64 {
        self.sequence.next_point()
    }

    /// Returns the clusterset IPs; empty in per-cluster mode and for a headless service.
    pub fn clusterset_ips(&self) -> &[IpAddr] {
        match &self.service.kind {
            ServiceKind::ClusterSetIp { ips } => ips,
            ServiceKind::Headless => &[],
        }
    }

    /// Draws one address of the family, by weight. Returns `None` if no eligible cluster with a weight has one.
    pub fn draw(&self, family: Family, point: u64) -> Option<IpAddr> {
        self.table(family).draw(point).map(|(address, _)| address)
    }

    /// Draws like [`draw`](Self::draw), and counts an answer for the cluster of the address.
    pub fn answer_with_one(&self, family: Family, point: u64) -> Option<IpAddr> {
        let (address, answered) = self.table(family).draw(point)?;
        answered.add();
        Some(address)
    }

    /// Returns the ready addresses of the family in all eligible clusters, each once and at most `limit`: first those
    /// of clusters with a weight, drawn by weight, then those of clusters without one.
    ///
    /// If there are more than `limit`, all points of one block get the same addresses, each point in an order of its
    /// own. The two families are cut alike: an endpoint with both families under one hostname is in both answers of a
    /// block, if the limits allow and every cluster has as many addresses of one family as of the other.
    pub fn in_weighted_order(&self, family: Family, point: u64, limit: usize) -> Vec<IpAddr> {
        self.table(family).in_weighted_order(point, limit).0
    }

    /// Lists like [`in_weighted_order`](Self::in_weighted_order), and counts an answer for the cluster of the first
    /// address, which is the one that clients use.
    pub fn answer_in_weighted_order(&self, family: Family, point: u64, limit: usize) -> Vec<IpAddr> {
        let (addresses, first) = self.table(family).in_weighted_order(point, limit);
        if let Some(answered) = first {
            answered.add();
        }
        addresses
    }

    /// Counts an answer with the clusterset IPs.
    pub fn count_clusterset_answer(&self) {
        self.answered.clusterset().add();
    }

    /// Returns the number of answers with addresses of each cluster since the service was first planned, also of
    /// clusters that no longer export it. The entry of `None` counts answers with the clusterset IPs, behind which any
    /// cluster can be.
    pub fn answered(&self) -> impl Iterator<Item = (Option<&ClusterId>, u64)> {
        self.answered.counts()
    }

    /// Returns the number of addresses that [`in_weighted_order`](Self::in_weighted_order) can return.
    pub fn count(&self, family: Family) -> usize {
        self.table(family).len()
    }

    fn table(&self, family: Family) -> &Table {
        match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        }
    }
}
