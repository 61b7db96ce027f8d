//! Table of the addresses of one family, to draw answers from.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::answered::{Answered, Counter};
use crate::export::{Endpoint, Family};
use crate::pick::{WeightedTable, block_of, index_of, mix, scale};
use crate::resolve::Share;
use crate::snapshot::{Service, ServiceKind};

/// The addresses of one family, by cluster, and the weights to draw them by.
#[derive(Debug)]
pub(super) struct Table {
    /// Weights of `groups`.
    weights: Option<WeightedTable>,
    /// One group per eligible cluster that has an address of the family.
    groups: Box<[Group]>,
}

#[derive(Debug)]
struct Group {
    weight: u32,
    /// Not empty.
    addresses: Box<[IpAddr]>,
    /// Counter of the cluster, here so that counting an answer needs no look-up.
    answered: Counter,
}

impl Table {
    pub(super) fn new(service: &Service, shares: &[Share], answered: &Answered, family: Family) -> Self {
        // The networks of two clusters can overlap. An answer that lists endpoints must not list an address twice (RFC
        // 2181, 5). A draw returns one address, and needs those of each cluster.
        let mut listed = (service.kind == ServiceKind::Headless).then(HashSet::new);
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
        Self { weights: WeightedTable::new(groups.iter().map(|group| group.weight)), groups }
    }

    pub(super) fn len(&self) -> usize {
        self.groups.iter().map(|group| group.addresses.len()).sum()
    }

    pub(super) fn draw(&self, point: u64) -> Option<(IpAddr, &Counter)> {
        let drawn = self.weights.as_ref()?.draw(point);
        let group = &self.groups[drawn.index];
        Some((group.addresses[index_of(drawn.point, group.addresses.len())], &group.answered))
    }

    /// Lists addresses by weight, at most `limit`. Also returns the counter of the first address's cluster.
    pub(super) fn in_weighted_order(&self, point: u64, limit: usize) -> (Vec<IpAddr>, Option<&Counter>) {
        if self.len() <= limit {
            let mut samplers: Vec<Sampler<'_>> = self.groups.iter().map(|group| Sampler::new(group, point)).collect();
            return draw(&mut samplers, point, limit);
        }
        // The block decides which addresses are drawn, and each of its points reorders them. Every cluster with a
        // weight gets one address first: otherwise a small weight would be missing from most blocks and get less than
        // its share.
        let block = block_of(point);
        let mut samplers: Vec<Sampler<'_>> = self.groups.iter().map(|group| Sampler::new(group, block)).collect();
        let weighted = samplers.iter_mut().filter(|sampler| sampler.weight() > 0).take(limit);
        let drawn = weighted.filter_map(Sampler::draw).count();
        draw(&mut samplers, block, limit - drawn);
        let mut samplers: Vec<Sampler<'_>> = samplers.iter().map(|sampler| sampler.reorder(point)).collect();
        draw(&mut samplers, point, limit)
    }
}

/// Draws addresses without replacement: each address of a cluster stands for an equal part of the cluster's weight.
/// Clusters without a weight follow when the others have no address left. Also returns the counter of the first
/// address's cluster.
fn draw<'a>(samplers: &mut [Sampler<'a>], point: u64, limit: usize) -> (Vec<IpAddr>, Option<&'a Counter>) {
    let mut order = Vec::with_capacity(samplers.iter().map(|sampler| sampler.left).sum::<usize>().min(limit));
    let mut first = None;
    let mut next = point;
    while order.len() < limit {
        let (mut at, _) = scale(next, samplers.iter().map(Sampler::weight).sum());
        let by_weight = samplers.iter().position(|sampler| {
            let within = at < sampler.weight();
            at = at.saturating_sub(sampler.weight());
            within
        });
        let Some(drawn) = by_weight.or_else(|| samplers.iter().position(|sampler| sampler.left > 0)) else { break };
        first = first.or(Some(&samplers[drawn].group.answered));
        order.extend(samplers[drawn].draw());
        next = mix(next);
    }
    (order, first)
}

/// The addresses of one cluster that are not drawn yet, in a circular order.
struct Sampler<'a> {
    group: &'a Group,
    /// First address that takes part, and the number of addresses that do.
    from: usize,
    count: usize,
    /// Address that is drawn first, counted from `from`.
    first: usize,
    left: usize,
    /// Weight of one address.
    each: u64,
}

impl<'a> Sampler<'a> {
    fn new(group: &'a Group, point: u64) -> Self {
        Self::of(group, 0, group.addresses.len(), point)
    }

    /// Returns a sampler of the addresses drawn from this one, in an order of its own.
    fn reorder(&self, point: u64) -> Self {
        Self::of(self.group, self.from + self.first, self.count - self.left, point)
    }

    fn of(group: &'a Group, from: usize, count: usize, point: u64) -> Self {
        let each = (u64::from(group.weight) << 32).checked_div(count as u64).unwrap_or(0);
        Self { group, from, count, first: index_of(mix(!point), count), left: count, each }
    }

    fn weight(&self) -> u64 {
        self.each * self.left as u64
    }

    fn draw(&mut self) -> Option<IpAddr> {
        let drawn = self.count - self.left;
        self.left = self.left.checked_sub(1)?;
        let at = self.from + (self.first + drawn) % self.count;
        Some(self.group.addresses[at % self.group.addresses.len()])
    }
}
