//! The plan: per service, who gets how much, and the tables that answers are drawn from.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::answered::{Answered, Counter};
use crate::name::{ByCluster, ClusterId, ServiceKey};
use crate::optimized::optimized;
use crate::pick::{Draw, Sequence, index_of, run_of, scale, scatter};
use crate::resolve::{Share, resolve};
use crate::rule::{Rule, rule};
use crate::snapshot::{Endpoint, Export, Guidance, Kind, Service, Snapshot, View};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
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

/// The addresses of one family, by cluster, and the weights to draw them by.
#[derive(Debug)]
struct Table {
    /// Over `groups`.
    draw: Option<Draw>,
    /// One per eligible cluster that has an address of the family.
    groups: Box<[Group]>,
}

#[derive(Debug)]
struct Group {
    weight: u32,
    /// Not empty.
    addresses: Box<[IpAddr]>,
    /// Of its cluster, here so that an answer needs no look-up to be counted.
    answered: Counter,
}

impl Table {
    fn new(service: &Service, shares: &[Share], answered: &Answered, family: Family) -> Self {
        // The networks of two clusters can overlap. An answer that lists endpoints must not list an address twice then
        // (RFC 2181, 5); a draw gives one, and needs each cluster's own.
        let mut listed = (service.kind == Kind::Headless).then(HashSet::new);
        let mut group = |share: &Share| {
            let ready = &service.exports.get(&share.cluster)?.ready;
            let mut ready: Vec<&Endpoint> =
                ready.iter().filter(|endpoint| Family::of(endpoint.address) == family).collect();
            ready.dedup_by_key(|endpoint| endpoint.address);
            if let Some(listed) = &mut listed {
                ready.retain(|endpoint| listed.insert(endpoint.address));
                ready.sort_by_key(|endpoint| &endpoint.hostname);
            }
            let addresses: Box<[IpAddr]> = ready.into_iter().map(|endpoint| endpoint.address).collect();
            let some = !addresses.is_empty();
            some.then(|| Group { weight: share.weight, addresses, answered: answered.of(&share.cluster) })
        };
        let groups: Box<[Group]> = shares.iter().filter(|share| share.eligible).filter_map(&mut group).collect();
        Self { draw: Draw::new(groups.iter().map(|group| group.weight)), groups }
    }

    fn len(&self) -> usize {
        self.groups.iter().map(|group| group.addresses.len()).sum()
    }

    fn draw(&self, point: u64) -> Option<(IpAddr, &Counter)> {
        let hit = self.draw.as_ref()?.hit(point);
        let group = &self.groups[hit.index];
        Some((group.addresses[index_of(hit.point, group.addresses.len())], &group.answered))
    }

    /// And the counter of the first one's cluster.
    fn in_weighted_order(&self, point: u64, limit: usize) -> (Vec<IpAddr>, Option<&Counter>) {
        if self.len() <= limit {
            let mut hands: Vec<Hand<'_>> = self.groups.iter().map(|group| Hand::new(group, point)).collect();
            return deal(&mut hands, point, limit);
        }
        // What one run deals is what each of its points deals again in an order of its own. Every cluster with a weight
        // is dealt an address first: without, a small weight would be left out of most runs and get less than its part.
        let run = run_of(point);
        let mut hands: Vec<Hand<'_>> = self.groups.iter().map(|group| Hand::new(group, run)).collect();
        let weighted = hands.iter_mut().filter(|hand| hand.weight() > 0).take(limit);
        let dealt = weighted.filter_map(Hand::deal).count();
        deal(&mut hands, run, limit - dealt);
        let mut hands: Vec<Hand<'_>> = hands.iter().map(|hand| hand.again(point)).collect();
        deal(&mut hands, point, limit)
    }
}

/// Draws clusters without putting the addresses back: each address of a cluster stands for an equal part of its weight.
/// Clusters without a weight follow when the others have nothing left.
/// Returns the addresses, and the counter of the first one's cluster.
fn deal<'a>(hands: &mut [Hand<'a>], point: u64, limit: usize) -> (Vec<IpAddr>, Option<&'a Counter>) {
    let mut order = Vec::with_capacity(hands.iter().map(|hand| hand.left).sum::<usize>().min(limit));
    let mut first = None;
    let mut next = point;
    while order.len() < limit {
        let (mut at, _) = scale(next, hands.iter().map(Hand::weight).sum());
        let by_weight = hands.iter().position(|hand| {
            let hit = at < hand.weight();
            at = at.saturating_sub(hand.weight());
            hit
        });
        let Some(drawn) = by_weight.or_else(|| hands.iter().position(|hand| hand.left > 0)) else { break };
        first = first.or(Some(&hands[drawn].group.answered));
        order.extend(hands[drawn].deal());
        next = scatter(next);
    }
    (order, first)
}

/// The addresses of one cluster that are not in the answer yet. They follow each other round.
struct Hand<'a> {
    group: &'a Group,
    /// The addresses in play: so many, from this one on.
    from: usize,
    count: usize,
    /// Which of those in play is dealt first.
    first: usize,
    left: usize,
    /// What one address stands for.
    each: u64,
}

impl<'a> Hand<'a> {
    fn new(group: &'a Group, point: u64) -> Self {
        Self::holding(group, 0, group.addresses.len(), point)
    }

    /// What was dealt from this hand, in an order of its own.
    fn again(&self, point: u64) -> Self {
        Self::holding(self.group, self.from + self.first, self.count - self.left, point)
    }

    fn holding(group: &'a Group, from: usize, count: usize, point: u64) -> Self {
        let each = (u64::from(group.weight) << 32).checked_div(count as u64).unwrap_or(0);
        Self { group, from, count, first: index_of(scatter(!point), count), left: count, each }
    }

    fn weight(&self) -> u64 {
        self.each * self.left as u64
    }

    fn deal(&mut self) -> Option<IpAddr> {
        let dealt = self.count - self.left;
        self.left = self.left.checked_sub(1)?;
        let at = self.from + (self.first + dealt) % self.count;
        Some(self.group.addresses[at % self.group.addresses.len()])
    }
}
