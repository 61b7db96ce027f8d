//! Sensitivity of a plan: the change of one fact at which a share begins or ends, and which exporters are full. It is
//! found by solving again with the fact changed, so that congestion is included.

use std::fmt;
use std::sync::Arc;

use crate::apportion::TOTAL_WEIGHT;
use crate::name::{ByCluster, ClusterId};
use crate::optimize::cost::UnitCost;
use crate::optimize::facts::{Facts, Tuning};
use crate::optimize::objective::Objective;
use crate::optimize::report::PlanningInput;
use crate::optimize::{ExplainedShare, Solution, solve_jointly};

/// Shares at or above this count as present.
const STARTS: f64 = 0.01;
/// Shares below this count as absent (they round to 0 %).
const ENDS: f64 = 0.005;
/// Fraction of the target utilization from which an exporter counts as full: it gets no more load at any cost.
const FULL: f64 = 0.98;
/// Limit of solutions for one service: a second for a hundred clusters, a few milliseconds for ten. Enough for all
/// questions about eight clusters.
const MAX_SOLVES: u32 = 200;
/// Relative precision of a threshold.
const PRECISION: f64 = 0.05;
/// Largest growth of a fact that is searched, as a multiple of it. Beyond it the fleet would be another one.
const MAX_GROWTH: f64 = 10.0;
/// Largest reduction of a latency that is searched, as a fraction of it.
const MAX_REDUCTION: f64 = 0.95;
/// Smallest price that a change is compared with, for changes from a price of 0.
const MIN_USD_PER_GB: f64 = 0.01;
const BYTES_PER_GB: f64 = 1e9;
const MILLION: f64 = 1e6;

/// Smallest change of one fact, all others unchanged, at which the share of a cluster begins or ends.
#[derive(Debug, Clone, PartialEq)]
pub struct NextChange {
    /// Cluster that the fact is about; for a demand the source itself.
    pub cluster: ClusterId,
    pub cause: Cause,
    /// Cluster whose share changes.
    pub affected: ClusterId,
    pub effect: Effect,
}

/// Fact that changes, and by how much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause {
    /// Round-trip time between the source and the cluster.
    RttMs(f64),
    /// Price of a gigabyte from the cluster to the source.
    UsdPerGb(f64),
    CapacityPercent(f64),
    DemandPercent(f64),
}

/// Effect of a change on a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    FallsToZero,
    /// Falls to its minimum share, out of 1000.
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
        let possessive = if affected == cluster { "its".to_owned() } else { format!("{affected}'s") };
        let subject = if affected == cluster { "it" } else { affected.as_str() };
        write!(f, "if {cluster}'s {what} {verb} by {}, ", by.1)?;
        match effect {
            Effect::FallsToZero => write!(f, "{possessive} share would fall to 0"),
            Effect::FallsToMinimum(floor) => {
                write!(f, "{possessive} share would fall to its minimum of {}%", plain(f64::from(*floor) / 10.0))
            }
            Effect::Starts => write!(f, "{subject} would get a share"),
        }
    }
}

/// Formats a number with up to two significant digits, as [`outward`] rounds it.
fn plain(number: f64) -> String {
    let decimals = (2.0 - number.log10().floor()).clamp(0.0, 6.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 6")]
    let text = format!("{number:.*}", decimals as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// An exporter that would get more requests of the source if it were idle.
#[derive(Debug, Clone, PartialEq)]
pub struct Busy {
    pub cluster: ClusterId,
    /// True at the target utilization; false if it is only so busy that others are cheaper.
    pub full: bool,
    pub utilization: f64,
    pub capacity_rps: f64,
    pub congestion_ms: f64,
    /// Clusters that get the rest, although they would cost more without congestion.
    pub overflow: Vec<ClusterId>,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, full, utilization, capacity_rps, congestion_ms, overflow } = self;
        let overflow: Vec<&str> = overflow.iter().map(ClusterId::as_str).collect();
        let (percent, overflow) = (100.0 * utilization, overflow.join(" and "));
        let load = format!("{percent:.0}% of {capacity_rps:.0} requests/s");
        match full {
            true => write!(f, "{cluster} is full ({load}): what does not fit goes to {overflow}"),
            false => write!(
                f,
                "{cluster} is busy ({load}): one more request costs {congestion_ms:.0} ms there, so the rest goes to {overflow}"
            ),
        }
    }
}

/// Returns the exporters whose congestion makes `source` send requests to clusters that would otherwise cost more.
pub fn busy(solution: &Solution, facts: &Facts, tuning: &Tuning, source: &ClusterId) -> Vec<Busy> {
    let terms = solution.explain(facts, source);
    let uncongested_ms = |terms: &ExplainedShare<'_>| {
        terms.path_cost.map(|path| path.latency_ms + path.price_ms + terms.exporter.service_ms)
    };
    let tuning = tuning.within_limits();
    let one = |one: &ExplainedShare<'_>| {
        let exporter = one.exporter;
        let cost_ms = uncongested_ms(one).filter(|_| exporter.congestion_price_ms > tuning.epsilon_ms)?;
        let dearer = |ms: f64| ms > cost_ms + tuning.epsilon_ms;
        let rest = terms.iter().filter(|other| other.share >= ENDS && uncongested_ms(other).is_some_and(dearer));
        let overflow: Vec<ClusterId> = rest.map(|other| other.exporter.cluster.clone()).collect();
        let load_rps = exporter.load_rps + exporter.residual_rps;
        (!overflow.is_empty()).then(|| Busy {
            cluster: exporter.cluster.clone(),
            full: load_rps >= FULL * tuning.target_utilization * exporter.usable_rps,
            utilization: load_rps / exporter.capacity_rps,
            capacity_rps: exporter.capacity_rps,
            congestion_ms: exporter.congestion_price_ms,
            overflow,
        })
    };
    terms.iter().filter_map(one).collect()
}

/// Returns for each cluster the change that is smallest relative to the fact, if there is one, the smallest first.
/// `usd_per_gb` is the current price of a gigabyte from a cluster to the source. `floor` is the minimum share of a
/// cluster out of 1000: its share neither begins nor falls below it.
pub fn next_changes(
    input: &PlanningInput,
    objective: &Objective,
    source: &ClusterId,
    usd_per_gb: &dyn Fn(&ClusterId) -> f64,
    floor: &dyn Fn(&ClusterId) -> u32,
) -> Vec<NextChange> {
    let Ok(solution) = solve_jointly(&input.facts, &objective.tuning, &ByCluster::new()) else { return Vec::new() };
    let mut search = Search { input, objective, source, solution: &solution, usd_per_gb, floor, left: MAX_SOLVES };
    let mut found: Vec<(f64, NextChange)> = search.demand().into_iter().collect();
    let mut candidates = solution.explain(&input.facts, source);
    // If not all can be searched, those nearest to a change are.
    let distance = |terms: &ExplainedShare<'_>| if search.has_share(terms) { 0.0 } else { search.gap_ms(terms) };
    candidates.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
    for terms in candidates {
        let causes = search.causes(&terms);
        found.extend(causes.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)));
    }
    // The source is an exporter too, and has one change at most.
    found.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cluster.cmp(&b.1.cluster)));
    let mut changes: Vec<NextChange> = Vec::new();
    for (_, change) in found {
        if changes.iter().all(|earlier| earlier.cluster != change.cluster) {
            changes.push(change);
        }
    }
    changes
}

/// Range of a search and its first guess. Both are positive; the cause has the sign.
#[derive(Debug, Clone, Copy)]
struct Range {
    guess: f64,
    max: f64,
}

struct Search<'a> {
    input: &'a PlanningInput,
    objective: &'a Objective,
    source: &'a ClusterId,
    solution: &'a Solution,
    usd_per_gb: &'a dyn Fn(&ClusterId) -> f64,
    floor: &'a dyn Fn(&ClusterId) -> u32,
    left: u32,
}

impl Search<'_> {
    /// Searches the demand of the source itself.
    fn demand(&mut self) -> Option<(f64, NextChange)> {
        let range = Range { guess: 10.0, max: 100.0 * MAX_GROWTH };
        let more = self.smallest(self.source, range, Cause::DemandPercent);
        let range = Range { guess: 10.0, max: more.as_ref().map_or(99.0, |(part, _)| (100.0 * part).min(99.0)) };
        let less = self.smallest(self.source, range, |percent| Cause::DemandPercent(-percent));
        less.or(more)
    }

    /// Searches the facts of an exporter. Returns each change with its size relative to the fact.
    fn causes(&mut self, terms: &ExplainedShare<'_>) -> Vec<(f64, NextChange)> {
        let exporter = &terms.exporter.cluster;
        let has_share = self.has_share(terms);
        let mut found = Vec::new();
        if has_share {
            let range = Range { guess: 10.0, max: 99.0 };
            found.extend(self.smallest(exporter, range, |percent| Cause::CapacityPercent(-percent)));
        } else if terms.exporter.congestion_price_ms > self.objective.tuning.epsilon_ms {
            let range = Range { guess: 10.0, max: 100.0 * MAX_GROWTH };
            found.extend(self.smallest(exporter, range, Cause::CapacityPercent));
        }
        let Some(path) = terms.path_cost.filter(|_| exporter != self.source) else { return found };
        let sign = if has_share { 1.0 } else { -1.0 };
        let guess = self.gap_ms(terms);
        let round_trips = self.objective.round_trips.max(1.0);
        let max = if has_share { MAX_GROWTH * path.latency_ms.max(guess) } else { MAX_REDUCTION * path.latency_ms };
        let range = Range { guess: guess / round_trips, max: max / round_trips };
        let by_rtt = self.smallest(exporter, range, |ms| Cause::RttMs(sign * ms));
        // The threshold in money is near the one in time, converted.
        let ms = by_rtt.as_ref().map_or(guess, |(part, _)| part * path.latency_ms);
        found.extend(by_rtt);
        let price = (self.usd_per_gb)(exporter);
        let max = if has_share { MAX_GROWTH * price.max(self.exchanged_per_gb(guess)) } else { price };
        let range = Range { guess: self.exchanged_per_gb(ms), max };
        if range.max > 0.0 && range.max.is_finite() {
            found.extend(self.smallest(exporter, range, |usd| Cause::UsdPerGb(sign * usd)));
        }
        found
    }

    /// Returns the minimum share, as a fraction of 1.
    fn min_share(&self, cluster: &ClusterId) -> f64 {
        f64::from((self.floor)(cluster)) / f64::from(TOTAL_WEIGHT)
    }

    /// Returns true if the exporter has a share to lose.
    fn has_share(&self, terms: &ExplainedShare<'_>) -> bool {
        terms.share >= self.min_share(&terms.exporter.cluster) + STARTS
    }

    /// Returns the price of a gigabyte of responses that adds `ms` to the cost of a request.
    fn exchanged_per_gb(&self, ms: f64) -> f64 {
        let gb = self.objective.bytes.per_response * MILLION / BYTES_PER_GB;
        self.objective.rate.exchanged(ms) / gb
    }

    /// Returns the change of cost at which the share would begin or end if congestion did not change.
    fn gap_ms(&self, terms: &ExplainedShare<'_>) -> f64 {
        let epsilon = self.objective.tuning.epsilon_ms;
        let has_share = self.has_share(terms);
        let cost = |terms: &ExplainedShare<'_>| {
            let (exporter, path) = (terms.exporter, terms.path_cost?);
            let ms = path.latency_ms + path.price_ms + exporter.service_ms + exporter.congestion_price_ms;
            Some(ms - epsilon * exporter.usable_rps.ln())
        };
        let all = self.solution.explain(&self.input.facts, self.source);
        let others = all.iter().filter(|one| one.exporter != terms.exporter && (has_share || one.share >= STARTS));
        let least = others.filter_map(cost).fold(f64::INFINITY, f64::min);
        let gap = cost(terms).map_or(f64::NAN, |own| if has_share { least - own } else { own - least });
        let at_the_edge = epsilon * if has_share { -ENDS.ln() } else { STARTS.ln() };
        if gap.is_finite() { (gap + at_the_edge).max(epsilon) } else { epsilon }
    }

    /// Returns the smallest change of a kind that has an effect, with its size relative to the fact.
    fn smallest(
        &mut self,
        cluster: &ClusterId,
        Range { guess, max }: Range,
        cause: impl Fn(f64) -> Cause,
    ) -> Option<(f64, NextChange)> {
        let (mut low, mut high) = (0.0, guess.min(max));
        let mut change = loop {
            if high <= low {
                return None;
            }
            match self.change(cluster, cause(high))? {
                Some(change) => break change,
                None => (low, high) = (high, if high < max { (2.0 * high).min(max) } else { low }),
            }
        };
        while high - low > PRECISION * high && self.left > 0 {
            let middle = f64::midpoint(low, high);
            match self.change(cluster, cause(middle))? {
                Some(found) => (change, high) = (found, middle),
                None => low = middle,
            }
        }
        let at = outward(high).min(max);
        change.cause = cause(at);
        Some((self.part(cluster, change.cause), change))
    }

    /// Returns the effect of a change. The outer `None` means that the limit of solutions is reached.
    #[expect(clippy::option_option, reason = "no effect is a result, and the limit is none")]
    fn change(&mut self, cluster: &ClusterId, cause: Cause) -> Option<Option<NextChange>> {
        self.left = self.left.checked_sub(1)?;
        let facts = changed(&self.input.facts, self.objective, (self.source, cluster), cause);
        let solution = solve_jointly(&facts, &self.objective.tuning, &self.solution.prices()).ok();
        let after = solution.and_then(|solution| solution.shares(self.source)).unwrap_or_default();
        let before = self.solution.shares(self.source).unwrap_or_default();
        let effect = |(affected, before): (&ClusterId, &f64)| {
            let after = after.get(affected).copied().unwrap_or(0.0);
            let (floor, least) = ((self.floor)(affected), self.min_share(affected));
            let effect = match floor {
                0 if *before >= STARTS && after < ENDS => Effect::FallsToZero,
                1.. if *before >= least + STARTS && after < least + ENDS => Effect::FallsToMinimum(floor),
                _ if least < STARTS && *before < ENDS && after >= STARTS => Effect::Starts,
                _ => return None,
            };
            Some((affected.clone(), effect))
        };
        // An effect on the cluster itself is the most relevant one.
        let mut effects: Vec<_> = before.iter().filter_map(effect).collect();
        effects.sort_by_key(|(affected, _)| affected != cluster);
        let first = effects.into_iter().next();
        Some(first.map(|(affected, effect)| NextChange { cluster: cluster.clone(), cause, affected, effect }))
    }

    /// Returns the size of a change relative to the fact.
    fn part(&self, cluster: &ClusterId, cause: Cause) -> f64 {
        let path = self.input.facts.sources.get(self.source).and_then(|source| source.costs.get(cluster));
        let latency_ms = path.map_or(0.0, |path| path.latency_ms);
        match cause {
            Cause::RttMs(ms) => ms.abs() * self.objective.round_trips.max(1.0) / latency_ms,
            Cause::UsdPerGb(usd) => usd.abs() / (self.usd_per_gb)(cluster).max(MIN_USD_PER_GB),
            Cause::CapacityPercent(percent) | Cause::DemandPercent(percent) => percent.abs() / 100.0,
        }
    }
}

/// Rounds to two digits, away from 0, so that the printed change suffices.
fn outward(number: f64) -> f64 {
    const ROUNDING: f64 = 1e-9;
    let step = 10.0_f64.powf(number.log10().floor() - 1.0);
    ((number / step) * (1.0 - ROUNDING)).ceil() * step
}

/// Returns the facts with one of them changed. A round-trip time is the same in both directions. A price of one
/// direction applies to the responses of the exporter and to the requests of its own clients.
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
            let longer = |path: &mut UnitCost| path.latency_ms = (path.latency_ms + ms).max(0.0);
            change_path(&mut facts, (source, cluster), longer);
            change_path(&mut facts, (cluster, source), longer);
        }
        Cause::UsdPerGb(usd) => {
            let ms = |bytes: f64| objective.rate.ms(usd * bytes * MILLION / BYTES_PER_GB);
            let (responses, requests) = (ms(objective.bytes.per_response), ms(objective.bytes.per_request));
            change_path(&mut facts, (source, cluster), |path| path.price_ms = (path.price_ms + responses).max(0.0));
            change_path(&mut facts, (cluster, source), |path| path.price_ms = (path.price_ms + requests).max(0.0));
        }
        Cause::CapacityPercent(percent) => {
            let exporter = facts.exporters.get_mut(cluster);
            exporter.into_iter().for_each(|exporter| exporter.capacity_rps *= 1.0 + percent / 100.0);
        }
        Cause::DemandPercent(percent) => {
            let source = Arc::make_mut(&mut facts.sources).get_mut(cluster);
            source.into_iter().for_each(|source| source.demand_rps *= 1.0 + percent / 100.0);
        }
    }
    facts
}

fn change_path(facts: &mut Facts, (from, to): (&ClusterId, &ClusterId), change: impl Fn(&mut UnitCost)) {
    if let Some(source) = Arc::make_mut(&mut facts.sources).get_mut(from) {
        Arc::make_mut(&mut source.costs).get_mut(to).into_iter().for_each(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimize::report::{Report, planning_input};
    use std::collections::BTreeMap;

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    /// Returns the input of three clusters in a line, 10 ms from one to the next; prices are 0.
    fn input(demand_rps: f64, capacities: [f64; 3]) -> PlanningInput {
        let names = ["a", "b", "c"];
        let path = |i: usize, j: usize| UnitCost { latency_ms: 10.0 * i.abs_diff(j) as f64, price_ms: 0.0 };
        let row = |i| (0..3).map(|j| (id(names[j]), path(i, j))).collect::<BTreeMap<_, _>>();
        let costs = (0..3).map(|i| (id(names[i]), Arc::new(row(i)))).collect();
        let report = |i: usize| {
            let demand_rps = Some(if i == 0 { demand_rps } else { 0.0 });
            (id(names[i]), Report { demand_rps, capacity_rps: Some(capacities[i]), ..Report::default() })
        };
        planning_input(&(0..3).map(report).collect(), &costs, |_| Some(0.0), (&Objective::default(), 0))
    }

    fn shares(facts: &Facts) -> ByCluster<f64> {
        solve_jointly(facts, &Tuning::default(), &ByCluster::new()).unwrap().shares(&id("a")).unwrap()
    }

    #[test]
    fn next_change_has_its_effect_and_a_smaller_one_does_not() {
        let objective = Objective::default();
        for input in [input(100.0, [1000.0; 3]), input(950.0, [1000.0; 3]), input(1500.0, [1000.0; 3])] {
            let changes = next_changes(&input, &objective, &id("a"), &|_| 0.0, &|_| 0);
            assert!(!changes.is_empty());
            for NextChange { cluster, cause, affected, effect } in &changes {
                let after = |cause| shares(&changed(&input.facts, &objective, (&id("a"), cluster), cause))[affected];
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
                    Effect::FallsToMinimum(_) => panic!("no cluster has a minimum: {changes:?}"),
                }
            }
        }
    }

    #[test]
    fn cluster_with_a_minimum_share_neither_starts_nor_falls_below_it() {
        let objective = Objective::default();
        let floor = |of: &ClusterId| if *of == id("b") { 100 } else { 0 };
        let changes = |input: &PlanningInput| next_changes(input, &objective, &id("a"), &|_| 0.0, &floor);
        let of_b = |changes: Vec<NextChange>| -> Vec<NextChange> {
            changes.into_iter().filter(|change| change.affected == id("b")).collect()
        };
        let nothing = input(100.0, [1000.0; 3]);
        assert!(shares(&nothing.facts)[&id("b")] < ENDS);
        assert_eq!(of_b(changes(&nothing)), [], "it has its minimum already");
        let some = input(1500.0, [1000.0; 3]);
        assert!(shares(&some.facts)[&id("b")] > 0.3);
        let falls = of_b(changes(&some));
        assert!(!falls.is_empty());
        for NextChange { cluster, cause, effect, .. } in falls {
            assert_eq!(effect, Effect::FallsToMinimum(100));
            let then = shares(&changed(&some.facts, &objective, (&id("a"), &cluster), cause))[&id("b")];
            assert!(then < 0.1 + ENDS && then > 0.01, "at the least change that does it: {then}");
        }
        let below = input(1000.0, [1000.0; 3]);
        let planned = shares(&below.facts)[&id("b")];
        let floor = |of: &ClusterId| if *of == id("b") { 500 } else { 0 };
        assert!(planned > 0.1 && planned < 0.5);
        assert_eq!(of_b(next_changes(&below, &objective, &id("a"), &|_| 0.0, &floor)), [], "it stays at its minimum");
    }

    #[test]
    fn next_change_is_printed_as_a_sentence() {
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
    fn price_falls_to_zero_at_most_and_a_price_of_zero_can_rise() {
        let objective = Objective { rate: crate::optimize::cost::ExchangeRate::COST, ..Objective::default() };
        let mut dear = input(100.0, [1000.0, 1000.0, 1000.0]);
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
    fn busy_exporter_is_named_with_its_overflow_and_none_while_capacity_lasts() {
        let of = |input: &PlanningInput| {
            let solution = solve_jointly(&input.facts, &Tuning::default(), &ByCluster::new()).unwrap();
            let busy = busy(&solution, &input.facts, &Tuning::default(), &id("a"));
            busy.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of(&input(100.0, [1000.0; 3])), Vec::<String>::new());
        let full = of(&input(30_000.0, [20_000.0; 3]));
        assert_eq!(full, ["a is full (90% of 20000 requests/s): what does not fit goes to b"]);
        let busy = of(&input(1000.0, [1000.0; 3]));
        assert_eq!(
            busy,
            ["a is busy (71% of 1000 requests/s): one more request costs 11 ms there, so the rest goes to b"]
        );
    }

    #[test]
    fn without_an_alternative_or_a_plan_there_is_no_next_change() {
        assert!(next_changes(&input(1.0, [0.0; 3]), &Objective::default(), &id("a"), &|_| 0.0, &|_| 0).is_empty());
        let alone = next_changes(&input(1.0, [1000.0, 0.0, 0.0]), &Objective::default(), &id("a"), &|_| 0.0, &|_| 0);
        assert!(alone.is_empty(), "{alone:?}");
    }
}
