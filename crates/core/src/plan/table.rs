//! What answers are drawn from: the addresses of one family, and whose turn it is.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::answered::{Answered, Counter};
use crate::export::{Endpoint, Family};
use crate::pick::{Draw, index_of, run_of, scale, scatter};
use crate::resolve::Share;
use crate::snapshot::{Kind, Service};

/// The addresses of one family, by cluster, and the weights to draw them by.
#[derive(Debug)]
pub(super) struct Table {
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
    pub(super) fn new(service: &Service, shares: &[Share], answered: &Answered, family: Family) -> Self {
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

    pub(super) fn len(&self) -> usize {
        self.groups.iter().map(|group| group.addresses.len()).sum()
    }

    pub(super) fn draw(&self, point: u64) -> Option<(IpAddr, &Counter)> {
        let hit = self.draw.as_ref()?.hit(point);
        let group = &self.groups[hit.index];
        Some((group.addresses[index_of(hit.point, group.addresses.len())], &group.answered))
    }

    /// And the counter of the first one's cluster.
    pub(super) fn in_weighted_order(&self, point: u64, limit: usize) -> (Vec<IpAddr>, Option<&Counter>) {
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
