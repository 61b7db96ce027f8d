//! The plan: per service, who gets how much, and the tables that answers are drawn from.

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
use crate::rule::optimized::optimized;
use crate::rule::weighted::rule;
use crate::snapshot::{Guidance, Kind, Service, Snapshot, View};

/// Immutable. A new one shares with its predecessor the services that did not change.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    services: HashMap<ServiceKey, Arc<ServicePlan>>,
    /// How many services each namespace has.
    namespaces: HashMap<Box<str>, usize>,
    /// Seconds since 1970 at which anything last changed.
    changed: u64,
}

/// Plans every service anew. `now` is in seconds since 1970.
pub fn plan(snapshot: &Snapshot, previous: &Plan, now: u64) -> Plan {
    let gone: Vec<_> = previous.services.keys().filter(|key| !snapshot.services.contains_key(*key)).cloned().collect();
    let present = snapshot.services.iter().map(|(key, service)| (key.clone(), Some(Arc::clone(service))));
    let services = present.chain(gone.into_iter().map(|key| (key, None)));
    previous.updated(&snapshot.view, services, now).unwrap_or_else(|| previous.clone())
}

impl Plan {
    /// Plans the given services anew (`None`: it is gone) and keeps the others. `None` when nothing changed.
    pub fn updated(
        &self,
        view: &View,
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

    /// By the DNS form of its name, `web.shop` in lower case.
    pub fn get(&self, service: &str) -> Option<&Arc<ServicePlan>> {
        self.services.get(service)
    }

    pub fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains_key(namespace)
    }

    /// By namespace, then name.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceKey, &Arc<ServicePlan>)> {
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_unstable_by_key(|(key, _)| (key.namespace(), key.name()));
        services.into_iter()
    }

    /// In no order, which takes a tenth of the time.
    pub fn in_any_order(&self) -> impl Iterator<Item = (&ServiceKey, &Arc<ServicePlan>)> {
        self.services.iter()
    }

    /// In no order.
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

    pub fn changed(&self) -> u64 {
        self.changed
    }
}

/// One service: who gets how much, and what to answer.
#[derive(Debug)]
pub struct ServicePlan {
    pub service: Arc<Service>,
    pub rule: Arc<Rule>,
    /// One per candidate of the rule, in the same order.
    pub shares: Vec<Share>,
    /// What a policy that is only tried would do.
    pub shadow: Option<Shadow>,
    ipv4: Table,
    ipv6: Table,
    sequence: Arc<Sequence>,
    answered: Answered,
}

/// A rule that is not served.
#[derive(Debug, Clone, PartialEq)]
pub struct Shadow {
    pub rule: Arc<Rule>,
    pub shares: Vec<Share>,
}

/// The rule of a moment ago.
#[derive(Debug, Clone, Copy)]
struct Before<'a> {
    rule: &'a Arc<Rule>,
    /// What it came from. `None`: other exporters, so that it cannot be the same.
    from: Option<&'a Guidance>,
}

/// What came from the same stays, so that a solution need not be computed again.
fn rule_of(
    guidance: &Guidance,
    exports: &ByCluster<Export>,
    local: &ClusterId,
    before: Option<Before<'_>>,
) -> Arc<Rule> {
    match guidance {
        Guidance::Policy(policy) => Arc::new(rule(policy, local, exports)),
        Guidance::Optimized(policy, known, published) => match before.filter(|before| before.from == Some(guidance)) {
            Some(before) => Arc::clone(before.rule),
            None => {
                let last = before.map(|before| before.rule).or(published.as_ref());
                Arc::new(optimized(policy, known, (local, exports), last.map(Arc::as_ref)))
            }
        },
        Guidance::Published(rule) => rule.covering(exports.keys()),
        Guidance::Shadowed { served, .. } => rule_of(served, exports, local, before),
    }
}

/// The tables follow from the rest, and neither the sequence nor the counters are part of what was decided.
impl PartialEq for ServicePlan {
    fn eq(&self, other: &Self) -> bool {
        self.service == other.service
            && self.rule == other.rule
            && self.shares == other.shares
            && self.shadow == other.shadow
    }
}

impl ServicePlan {
    /// Goes on with the sequence of `previous`, so that a change does not make replicas draw in step, and with its
    /// counters.
    pub fn new(service: Arc<Service>, view: &View, previous: Option<&Self>) -> Self {
        let exporters_stay =
            previous.is_some_and(|previous| previous.service.exports.keys().eq(service.exports.keys()));
        let planned = |guidance: &Guidance, before: Option<(&Arc<Rule>, Option<&Guidance>)>| {
            let before = before.map(|(rule, from)| Before { rule, from: from.filter(|_| exporters_stay) });
            let rule = rule_of(guidance, &service.exports, &view.local, before);
            let shares = resolve(&rule, |cluster| service.health(cluster, view));
            Shadow { rule, shares }
        };
        let served = previous.map(|previous| (&previous.rule, Some(previous.service.guidance.served())));
        let Shadow { rule, shares } = planned(service.guidance.served(), served);
        let tried =
            previous.and_then(|previous| Some((&previous.shadow.as_ref()?.rule, previous.service.guidance.shadow())));
        let shadow = service.guidance.shadow().map(|guidance| planned(guidance, tried));
        let before = previous.map(|previous| previous.answered.clone()).unwrap_or_default();
        let answered = before.covering(service.exports.keys());
        let table = |family| Table::new(&service, &shares, &answered, family);
        let (ipv4, ipv6) = (table(Family::Ipv4), table(Family::Ipv6));
        let sequence = previous.map(|previous| Arc::clone(&previous.sequence)).unwrap_or_default();
        Self { service, rule, shares, shadow, ipv4, ipv6, sequence, answered }
    }

    /// The next point to draw with.
    pub fn next_point(&self) -> u64 {
        self.sequence.next_point()
    }

    /// The clusterset IPs; empty in per-cluster mode and for a headless service.
    pub fn clusterset_ips(&self) -> &[IpAddr] {
        match &self.service.kind {
            Kind::ClusterSetIp { ips } => ips,
            Kind::Headless => &[],
        }
    }

    /// One address of that family, by weight. `None`: no eligible cluster with a weight has one.
    pub fn draw(&self, family: Family, point: u64) -> Option<IpAddr> {
        self.table(family).draw(point).map(|(address, _)| address)
    }

    /// The same, as an answer that is given: it counts for its cluster.
    pub fn give_one(&self, family: Family, point: u64) -> Option<IpAddr> {
        let (address, answered) = self.table(family).draw(point)?;
        answered.add();
        Some(address)
    }

    /// Ready addresses of that family in all eligible clusters, at most `limit`, each once: the first ones by weight,
    /// then those of clusters without one.
    ///
    /// When there are more than `limit`, all points of one run get the same ones of them, in an order of their own. The
    /// two families are cut alike: endpoints that have both, under one hostname, are in both answers of a run, as far as
    /// the limits allow and every cluster has as many addresses of one family as of the other.
    pub fn in_weighted_order(&self, family: Family, point: u64, limit: usize) -> Vec<IpAddr> {
        self.table(family).in_weighted_order(point, limit).0
    }

    /// The same, as an answer that is given: it counts for the cluster of the first address, which is the one that
    /// clients take.
    pub fn give_in_weighted_order(&self, family: Family, point: u64, limit: usize) -> Vec<IpAddr> {
        let (addresses, first) = self.table(family).in_weighted_order(point, limit);
        if let Some(answered) = first {
            answered.add();
        }
        addresses
    }

    /// Counts an answer that gave the clusterset IPs.
    pub fn gave_clusterset_ips(&self) {
        self.answered.clusterset().add();
    }

    /// How many answers named addresses of each cluster since the service is there, also of clusters that export it no
    /// more. `None`: how many gave the clusterset IPs, behind which any cluster can be.
    pub fn answered(&self) -> impl Iterator<Item = (Option<&ClusterId>, u64)> {
        self.answered.counts()
    }

    /// How many [`in_weighted_order`](Self::in_weighted_order) can give.
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
