//! What would have to change for a share to begin or to end, and who is full: what a person wants to know who looks at a
//! plan and wonders how firm it is. Found by planning again with one fact changed, so that congestion answers too.

use std::fmt;
use std::sync::Arc;

use crate::apportion::TOTAL_WEIGHT;
use crate::name::{ByCluster, ClusterId};
use crate::optimize::cost::UnitCost;
use crate::optimize::facts::{Facts, Tuning};
use crate::optimize::objective::Objective;
use crate::optimize::report::Known;
use crate::optimize::{Solution, Terms, optimize};

/// A share from this on is one.
const STARTS: f64 = 0.01;
/// A share below this is none: rounded to a percent it is 0.
const ENDS: f64 = 0.005;
/// Of the target utilisation: who is as full as that gets no more at any cost.
const FULL: f64 = 0.98;
/// How often is planned again for one service, in all: a second for a hundred clusters, a few milliseconds for ten. Enough for
/// all that can be asked of eight.
const MOST_SOLVES: u32 = 200;
/// A threshold is found up to so much of it.
const PRECISE: f64 = 0.05;
/// How many times itself a fact can become, before it is another fleet.
const MOST_GROWTH: f64 = 10.0;
/// How much nearer a cluster can come, as a part of the way.
const NEARER: f64 = 0.95;
/// What the least of prices is: a change from nothing is compared with it.
const LEAST_USD_PER_GB: f64 = 0.01;
const BYTES_PER_GB: f64 = 1e9;
const MILLION: f64 = 1e6;

/// The least change of one fact, all else alike, that begins or ends somebody's share.
#[derive(Debug, Clone, PartialEq)]
pub struct NextChange {
    /// Whose fact. Of a demand: the source itself.
    pub cluster: ClusterId,
    pub cause: Cause,
    /// Whose share.
    pub affected: ClusterId,
    pub effect: Effect,
}

/// By how much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause {
    /// Of the round trip between the source and the cluster.
    RttMs(f64),
    /// Of a gigabyte from the cluster to the source.
    UsdPerGb(f64),
    CapacityPercent(f64),
    DemandPercent(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    FallsToZero,
    /// What is promised to it, of 1000.
    FallsToMinimum(u32),
    Starts,
}

impl fmt::Display for NextChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, cause, affected, effect } = self;
        let (what, by) = match *cause {
            Cause::RttMs(ms) => ("RTT", (ms, format!("{} ms", plain(ms.abs())))),
            Cause::UsdPerGb(usd) => ("price", (usd, format!("{} USD/GB", plain(usd.abs())))),
            Cause::CapacityPercent(percent) => ("capacity", (percent, format!("{}%", plain(percent.abs())))),
            Cause::DemandPercent(percent) => ("demand", (percent, format!("{}%", plain(percent.abs())))),
        };
        let verb = if by.0 > 0.0 { "rose" } else { "fell" };
        let whose = if affected == cluster { "its".to_owned() } else { format!("{affected}'s") };
        let who = if affected == cluster { "it" } else { affected.as_str() };
        write!(f, "if {cluster}'s {what} {verb} by {}, ", by.1)?;
        match effect {
            Effect::FallsToZero => write!(f, "{whose} share would fall to 0"),
            Effect::FallsToMinimum(floor) => {
                write!(f, "{whose} share would fall to its minimum of {}%", plain(f64::from(*floor) / 10.0))
            }
            Effect::Starts => write!(f, "{who} would get a share"),
        }
    }
}

/// Up to two digits, as [`outward`] leaves them.
fn plain(number: f64) -> String {
    let decimals = (2.0 - number.log10().floor()).clamp(0.0, 6.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 6")]
    let text = format!("{number:.*}", decimals as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// An exporter that the source would send more to if it were idle.
#[derive(Debug, Clone, PartialEq)]
pub struct Busy {
    pub cluster: ClusterId,
    /// It is at the target utilisation, and not only so busy that others are cheaper.
    pub full: bool,
    pub utilisation: f64,
    pub capacity_rps: f64,
    pub congestion_ms: f64,
    /// Who gets the rest: dearer ones, but for the congestion.
    pub overflow: Vec<ClusterId>,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, full, utilisation, capacity_rps, congestion_ms, overflow } = self;
        let overflow: Vec<&str> = overflow.iter().map(ClusterId::as_str).collect();
        let (percent, overflow) = (100.0 * utilisation, overflow.join(" and "));
        let so_much = format!("{percent:.0}% of {capacity_rps:.0} requests/s");
        match full {
            true => write!(f, "{cluster} is full ({so_much}): what does not fit goes to {overflow}"),
            false => write!(
                f,
                "{cluster} is busy ({so_much}): a request more costs {congestion_ms:.0} ms there, so the rest goes to {overflow}"
            ),
        }
    }
}

/// Who is so busy, up to the target utilisation, that others get a share of `source`'s requests that are dearer but for that.
pub fn busy(solution: &Solution, facts: &Facts, tuning: &Tuning, source: &ClusterId) -> Vec<Busy> {
    let terms = solution.explain(facts, source);
    let bare = |terms: &Terms<'_>| terms.way.map(|way| way.latency_ms + way.price_ms + terms.exporter.service_ms);
    let tuning = tuning.within_limits();
    let one = |one: &Terms<'_>| {
        let exporter = one.exporter;
        let cost_ms = bare(one).filter(|_| exporter.congestion_price_ms > tuning.epsilon_ms)?;
        let dearer = |ms: f64| ms > cost_ms + tuning.epsilon_ms;
        let rest = terms.iter().filter(|other| other.share >= ENDS && bare(other).is_some_and(dearer));
        let overflow: Vec<ClusterId> = rest.map(|other| other.exporter.cluster.clone()).collect();
        let load_rps = exporter.load_rps + exporter.residual_rps;
        (!overflow.is_empty()).then(|| Busy {
            cluster: exporter.cluster.clone(),
            full: load_rps >= FULL * tuning.target_utilisation * exporter.usable_rps,
            utilisation: load_rps / exporter.capacity_rps,
            capacity_rps: exporter.capacity_rps,
            congestion_ms: exporter.congestion_price_ms,
            overflow,
        })
    };
    terms.iter().filter_map(one).collect()
}

/// Of each cluster the change that is the least part of what the fact is now, if there is one; the least first.
/// `usd_per_gb`: what a gigabyte from a cluster to the source is billed at now. `floor`: what a cluster gets of 1000 whatever the
/// plan says, so that its share neither begins nor falls any further.
pub fn next_changes(
    known: &Known,
    objective: &Objective,
    source: &ClusterId,
    usd_per_gb: &dyn Fn(&ClusterId) -> f64,
    floor: &dyn Fn(&ClusterId) -> u32,
) -> Vec<NextChange> {
    let Ok(solution) = optimize(&known.facts, &objective.tuning, &ByCluster::new()) else { return Vec::new() };
    let mut search = Search { known, objective, source, solution: &solution, usd_per_gb, floor, left: MOST_SOLVES };
    let mut found: Vec<(f64, NextChange)> = search.demand().into_iter().collect();
    let mut candidates = solution.explain(&known.facts, source);
    // When not all can be looked at, those that are nearest to a change are.
    let distance = |terms: &Terms<'_>| if search.has(terms) { 0.0 } else { search.gap_ms(terms) };
    candidates.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
    for terms in candidates {
        let causes = search.causes(&terms);
        found.extend(causes.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)));
    }
    // The source is an exporter too, and has one change at most.
    found.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cluster.cmp(&b.1.cluster)));
    let mut changes: Vec<NextChange> = Vec::new();
    for (_, change) in found {
        if changes.iter().all(|known| known.cluster != change.cluster) {
            changes.push(change);
        }
    }
    changes
}

/// How far a change can go, and where it is looked for first. Positive: the sign is the cause's.
#[derive(Debug, Clone, Copy)]
struct Range {
    guess: f64,
    most: f64,
}

struct Search<'a> {
    known: &'a Known,
    objective: &'a Objective,
    source: &'a ClusterId,
    solution: &'a Solution,
    usd_per_gb: &'a dyn Fn(&ClusterId) -> f64,
    floor: &'a dyn Fn(&ClusterId) -> u32,
    left: u32,
}

impl Search<'_> {
    /// Of the source itself: what grows first spills over.
    fn demand(&mut self) -> Option<(f64, NextChange)> {
        let range = Range { guess: 10.0, most: 100.0 * MOST_GROWTH };
        let more = self.least(self.source, range, Cause::DemandPercent);
        let range = Range { guess: 10.0, most: more.as_ref().map_or(99.0, |(part, _)| (100.0 * part).min(99.0)) };
        let less = self.least(self.source, range, |percent| Cause::DemandPercent(-percent));
        less.or(more)
    }

    /// Each with the part of the fact that it is.
    fn causes(&mut self, terms: &Terms<'_>) -> Vec<(f64, NextChange)> {
        let exporter = &terms.exporter.cluster;
        let has = self.has(terms);
        let mut found = Vec::new();
        if has {
            let range = Range { guess: 10.0, most: 99.0 };
            found.extend(self.least(exporter, range, |percent| Cause::CapacityPercent(-percent)));
        } else if terms.exporter.congestion_price_ms > self.objective.tuning.epsilon_ms {
            let range = Range { guess: 10.0, most: 100.0 * MOST_GROWTH };
            found.extend(self.least(exporter, range, Cause::CapacityPercent));
        }
        let Some(way) = terms.way.filter(|_| exporter != self.source) else { return found };
        let sign = if has { 1.0 } else { -1.0 };
        let guess = self.gap_ms(terms);
        let round_trips = self.objective.round_trips.max(1.0);
        let most = if has { MOST_GROWTH * way.latency_ms.max(guess) } else { NEARER * way.latency_ms };
        let range = Range { guess: guess / round_trips, most: most / round_trips };
        let by_rtt = self.least(exporter, range, |ms| Cause::RttMs(sign * ms));
        // What the threshold is in time it nearly is in money.
        let ms = by_rtt.as_ref().map_or(guess, |(part, _)| part * way.latency_ms);
        found.extend(by_rtt);
        let price = (self.usd_per_gb)(exporter);
        let most = if has { MOST_GROWTH * price.max(self.exchanged_per_gb(guess)) } else { price };
        let range = Range { guess: self.exchanged_per_gb(ms), most };
        if range.most > 0.0 && range.most.is_finite() {
            found.extend(self.least(exporter, range, |usd| Cause::UsdPerGb(sign * usd)));
        }
        found
    }

    /// What it gets whatever the plan says, as a part of 1.
    fn least_share(&self, cluster: &ClusterId) -> f64 {
        f64::from((self.floor)(cluster)) / f64::from(TOTAL_WEIGHT)
    }

    /// Whether it has a share to lose.
    fn has(&self, terms: &Terms<'_>) -> bool {
        terms.share >= self.least_share(&terms.exporter.cluster) + STARTS
    }

    /// The price of a gigabyte of responses that costs a request so much.
    fn exchanged_per_gb(&self, ms: f64) -> f64 {
        let gb = self.objective.bytes.per_response * MILLION / BYTES_PER_GB;
        self.objective.rate.exchanged(ms) / gb
    }

    /// By how much a cluster would have to be dearer, or cheaper, if nobody's congestion followed.
    fn gap_ms(&self, terms: &Terms<'_>) -> f64 {
        let epsilon = self.objective.tuning.epsilon_ms;
        let has = self.has(terms);
        let cost = |terms: &Terms<'_>| {
            let (exporter, way) = (terms.exporter, terms.way?);
            let ms = way.latency_ms + way.price_ms + exporter.service_ms + exporter.congestion_price_ms;
            Some(ms - epsilon * exporter.usable_rps.ln())
        };
        let all = self.solution.explain(&self.known.facts, self.source);
        let others = all.iter().filter(|one| one.exporter != terms.exporter && (has || one.share >= STARTS));
        let least = others.filter_map(cost).fold(f64::INFINITY, f64::min);
        let gap = cost(terms).map_or(f64::NAN, |own| if has { least - own } else { own - least });
        let at_the_edge = epsilon * if has { -ENDS.ln() } else { STARTS.ln() };
        if gap.is_finite() { (gap + at_the_edge).max(epsilon) } else { epsilon }
    }

    /// The least change of that kind, and what part it is of what is there.
    fn least(
        &mut self,
        cluster: &ClusterId,
        Range { guess, most }: Range,
        cause: impl Fn(f64) -> Cause,
    ) -> Option<(f64, NextChange)> {
        let (mut low, mut high) = (0.0, guess.min(most));
        let mut change = loop {
            if high <= low {
                return None;
            }
            match self.change(cluster, cause(high))? {
                Some(change) => break change,
                None => (low, high) = (high, if high < most { (2.0 * high).min(most) } else { low }),
            }
        };
        while high - low > PRECISE * high && self.left > 0 {
            let middle = f64::midpoint(low, high);
            match self.change(cluster, cause(middle))? {
                Some(found) => (change, high) = (found, middle),
                None => low = middle,
            }
        }
        let at = outward(high).min(most);
        change.cause = cause(at);
        Some((self.part(cluster, change.cause), change))
    }

    /// What happens. The outer `None`: enough was planned.
    #[expect(clippy::option_option, reason = "nothing happens is an answer, and no answer is none")]
    fn change(&mut self, cluster: &ClusterId, cause: Cause) -> Option<Option<NextChange>> {
        self.left = self.left.checked_sub(1)?;
        let facts = changed(&self.known.facts, self.objective, (self.source, cluster), cause);
        let solution = optimize(&facts, &self.objective.tuning, &self.solution.prices()).ok();
        let after = solution.and_then(|solution| solution.shares(self.source)).unwrap_or_default();
        let before = self.solution.shares(self.source).unwrap_or_default();
        let effect = |(affected, before): (&ClusterId, &f64)| {
            let after = after.get(affected).copied().unwrap_or(0.0);
            let (floor, least) = ((self.floor)(affected), self.least_share(affected));
            let effect = match floor {
                0 if *before >= STARTS && after < ENDS => Effect::FallsToZero,
                1.. if *before >= least + STARTS && after < least + ENDS => Effect::FallsToMinimum(floor),
                _ if least < STARTS && *before < ENDS && after >= STARTS => Effect::Starts,
                _ => return None,
            };
            Some((affected.clone(), effect))
        };
        // What happens to the cluster itself is what one wants to know first.
        let mut effects: Vec<_> = before.iter().filter_map(effect).collect();
        effects.sort_by_key(|(affected, _)| affected != cluster);
        let first = effects.into_iter().next();
        Some(first.map(|(affected, effect)| NextChange { cluster: cluster.clone(), cause, affected, effect }))
    }

    fn part(&self, cluster: &ClusterId, cause: Cause) -> f64 {
        let way = self.known.facts.sources.get(self.source).and_then(|source| source.costs.get(cluster));
        let latency_ms = way.map_or(0.0, |way| way.latency_ms);
        match cause {
            Cause::RttMs(ms) => ms.abs() * self.objective.round_trips.max(1.0) / latency_ms,
            Cause::UsdPerGb(usd) => usd.abs() / (self.usd_per_gb)(cluster).max(LEAST_USD_PER_GB),
            Cause::CapacityPercent(percent) | Cause::DemandPercent(percent) => percent.abs() / 100.0,
        }
    }
}

/// To two digits, away from 0, so that what is printed is enough.
fn outward(number: f64) -> f64 {
    const ROUNDING: f64 = 1e-9;
    let step = 10.0_f64.powf(number.log10().floor() - 1.0);
    ((number / step) * (1.0 - ROUNDING)).ceil() * step
}

/// The facts with one of them changed. A round trip is as long from either end, and so is a price of a direction both for the
/// responses of the exporter and for the requests of its own clients.
pub fn changed(
    facts: &Facts,
    objective: &Objective,
    (source, cluster): (&ClusterId, &ClusterId),
    cause: Cause,
) -> Facts {
    let mut facts = facts.clone();
    match cause {
        Cause::RttMs(ms) => {
            let ms = ms * objective.round_trips.max(1.0);
            let longer = |way: &mut UnitCost| way.latency_ms = (way.latency_ms + ms).max(0.0);
            change_way(&mut facts, (source, cluster), longer);
            change_way(&mut facts, (cluster, source), longer);
        }
        Cause::UsdPerGb(usd) => {
            let ms = |bytes: f64| objective.rate.ms(usd * bytes * MILLION / BYTES_PER_GB);
            let (responses, requests) = (ms(objective.bytes.per_response), ms(objective.bytes.per_request));
            change_way(&mut facts, (source, cluster), |way| way.price_ms = (way.price_ms + responses).max(0.0));
            change_way(&mut facts, (cluster, source), |way| way.price_ms = (way.price_ms + requests).max(0.0));
        }
        Cause::CapacityPercent(percent) => {
            let exporter = facts.exporters.get_mut(cluster);
            exporter.into_iter().for_each(|exporter| exporter.capacity_rps *= 1.0 + percent / 100.0);
        }
        Cause::DemandPercent(percent) => {
            let asking = Arc::make_mut(&mut facts.sources).get_mut(cluster);
            asking.into_iter().for_each(|source| source.demand_rps *= 1.0 + percent / 100.0);
        }
    }
    facts
}

fn change_way(facts: &mut Facts, (from, to): (&ClusterId, &ClusterId), change: impl Fn(&mut UnitCost)) {
    if let Some(source) = Arc::make_mut(&mut facts.sources).get_mut(from) {
        Arc::make_mut(&mut source.costs).get_mut(to).into_iter().for_each(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimize::report::{Report, facts};
    use std::collections::BTreeMap;

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    /// Three clusters in a line, 10 ms from one to the next; prices are 0.
    fn known(demand_rps: f64, capacities: [f64; 3]) -> Known {
        let names = ["a", "b", "c"];
        let way = |i: usize, j: usize| UnitCost { latency_ms: 10.0 * i.abs_diff(j) as f64, price_ms: 0.0 };
        let row = |i| (0..3).map(|j| (id(names[j]), way(i, j))).collect::<BTreeMap<_, _>>();
        let costs = (0..3).map(|i| (id(names[i]), Arc::new(row(i)))).collect();
        let report = |i: usize| {
            let demand_rps = Some(if i == 0 { demand_rps } else { 0.0 });
            (id(names[i]), Report { demand_rps, capacity_rps: Some(capacities[i]), ..Report::default() })
        };
        facts(&(0..3).map(report).collect(), &costs, |_| Some(0.0), (&Objective::default(), 0))
    }

    fn shares(facts: &Facts) -> ByCluster<f64> {
        optimize(facts, &Tuning::default(), &ByCluster::new()).unwrap().shares(&id("a")).unwrap()
    }

    #[test]
    fn what_a_change_promises_happens_and_with_a_little_less_does_not() {
        let objective = Objective::default();
        for known in [known(100.0, [1000.0; 3]), known(950.0, [1000.0; 3]), known(1500.0, [1000.0; 3])] {
            let changes = next_changes(&known, &objective, &id("a"), &|_| 0.0, &|_| 0);
            assert!(!changes.is_empty());
            for NextChange { cluster, cause, affected, effect } in &changes {
                let after = |cause| shares(&changed(&known.facts, &objective, (&id("a"), cluster), cause))[affected];
                let less = |by: f64| match *cause {
                    Cause::RttMs(ms) => Cause::RttMs(by * ms),
                    Cause::UsdPerGb(usd) => Cause::UsdPerGb(by * usd),
                    Cause::CapacityPercent(percent) => Cause::CapacityPercent(by * percent),
                    Cause::DemandPercent(percent) => Cause::DemandPercent(by * percent),
                };
                let (now, before) = (after(*cause), after(less(0.8)));
                match effect {
                    Effect::FallsToZero => assert!(now < ENDS && before >= ENDS, "{changes:?} {now} {before}"),
                    Effect::Starts => assert!(now >= STARTS && before < STARTS, "{changes:?} {now} {before}"),
                    Effect::FallsToMinimum(_) => panic!("nobody has one: {changes:?}"),
                }
            }
        }
    }

    #[test]
    fn who_has_a_minimum_does_not_begin_to_have_a_share_and_falls_no_further() {
        let objective = Objective::default();
        let floor = |of: &ClusterId| if *of == id("b") { 100 } else { 0 };
        let changes = |known: &Known| next_changes(known, &objective, &id("a"), &|_| 0.0, &floor);
        let of_b = |changes: Vec<NextChange>| -> Vec<NextChange> {
            changes.into_iter().filter(|change| change.affected == id("b")).collect()
        };
        let nothing = known(100.0, [1000.0; 3]);
        assert!(shares(&nothing.facts)[&id("b")] < ENDS);
        assert_eq!(of_b(changes(&nothing)), [], "it has its minimum already");
        let some = known(1500.0, [1000.0; 3]);
        assert!(shares(&some.facts)[&id("b")] > 0.3);
        let falls = of_b(changes(&some));
        assert!(!falls.is_empty());
        for NextChange { cluster, cause, effect, .. } in falls {
            assert_eq!(effect, Effect::FallsToMinimum(100));
            let then = shares(&changed(&some.facts, &objective, (&id("a"), &cluster), cause))[&id("b")];
            assert!(then < 0.1 + ENDS && then > 0.01, "at the least change that does it: {then}");
        }
        let below = known(1000.0, [1000.0; 3]);
        let planned = shares(&below.facts)[&id("b")];
        let floor = |of: &ClusterId| if *of == id("b") { 500 } else { 0 };
        assert!(planned > 0.1 && planned < 0.5);
        assert_eq!(of_b(next_changes(&below, &objective, &id("a"), &|_| 0.0, &floor)), [], "it stays at its minimum");
    }

    #[test]
    fn a_change_is_a_sentence() {
        let change = |cause, affected, effect| {
            NextChange { cluster: id("west"), cause, affected: id(affected), effect }.to_string()
        };
        let falls = change(Cause::RttMs(6.0), "west", Effect::FallsToZero);
        assert_eq!(falls, "if west's RTT rose by 6 ms, its share would fall to 0");
        let starts = change(Cause::CapacityPercent(-12.0), "east", Effect::Starts);
        assert_eq!(starts, "if west's capacity fell by 12%, east would get a share");
        let cheap = change(Cause::UsdPerGb(-0.015), "west", Effect::Starts);
        assert_eq!(cheap, "if west's price fell by 0.015 USD/GB, it would get a share");
        let falls = change(Cause::DemandPercent(-230.0), "east", Effect::FallsToZero);
        assert_eq!(falls, "if west's demand fell by 230%, east's share would fall to 0");
        let floor = change(Cause::RttMs(6.0), "west", Effect::FallsToMinimum(100));
        assert_eq!(floor, "if west's RTT rose by 6 ms, its share would fall to its minimum of 10%");
        let floor = change(Cause::RttMs(6.0), "east", Effect::FallsToMinimum(125));
        assert_eq!(floor, "if west's RTT rose by 6 ms, east's share would fall to its minimum of 12.5%");
    }

    #[test]
    fn a_price_falls_to_nothing_at_most_and_one_of_nothing_can_rise() {
        let objective = Objective { rate: crate::optimize::cost::ExchangeRate::COST, ..Objective::default() };
        let mut dear = known(100.0, [1000.0, 1000.0, 1000.0]);
        dear.facts = changed(&dear.facts, &objective, (&id("a"), &id("b")), Cause::UsdPerGb(0.09));
        dear.facts = changed(&dear.facts, &objective, (&id("a"), &id("a")), Cause::UsdPerGb(0.004));
        let change = |of: &str| {
            let changes =
                next_changes(&dear, &objective, &id("a"), &|of| if *of == id("b") { 0.09 } else { 0.0 }, &|_| 0);
            changes.into_iter().find(|change| change.cluster == id(of))
        };
        let b = change("b").unwrap();
        assert!(matches!(b.cause, Cause::UsdPerGb(usd) if (-0.09..-0.001).contains(&usd)), "{b:?}");
        let c = change("c").unwrap();
        assert!(matches!(c.cause, Cause::UsdPerGb(usd) if usd > 0.0) && c.effect == Effect::FallsToZero, "{c:?}");
    }

    #[test]
    fn who_is_busy_and_who_gets_the_rest_is_named_and_nobody_while_there_is_room() {
        let of = |known: &Known| {
            let solution = optimize(&known.facts, &Tuning::default(), &ByCluster::new()).unwrap();
            let busy = busy(&solution, &known.facts, &Tuning::default(), &id("a"));
            busy.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of(&known(100.0, [1000.0; 3])), Vec::<String>::new());
        let full = of(&known(30_000.0, [20_000.0; 3]));
        assert_eq!(full, ["a is full (90% of 20000 requests/s): what does not fit goes to b"]);
        let busy = of(&known(1000.0, [1000.0; 3]));
        assert_eq!(
            busy,
            ["a is busy (71% of 1000 requests/s): a request more costs 11 ms there, so the rest goes to b"]
        );
    }

    #[test]
    fn who_has_no_room_anywhere_else_or_no_plan_has_no_next_change() {
        assert!(next_changes(&known(1.0, [0.0; 3]), &Objective::default(), &id("a"), &|_| 0.0, &|_| 0).is_empty());
        let alone = next_changes(&known(1.0, [1000.0, 0.0, 0.0]), &Objective::default(), &id("a"), &|_| 0.0, &|_| 0);
        assert!(alone.is_empty(), "{alone:?}");
    }
}
