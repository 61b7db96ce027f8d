//! Runs a policy round by round: facts, decision, cost. The round number is the clock, so a day takes a second and repeats
//! exactly.

use landfall_core::optimize::cost::UNKNOWN_RTT_MS;
use landfall_core::optimize::rtt::Rtt;
use landfall_core::optimize::weights;

use crate::judge::erlang::WaitTables;
use crate::judge::{Judgment, judge, loads};
use crate::matrix::Matrix;
use crate::policy::{EarlyMeasurement, Moment, PastRound, SharingPolicy};
use crate::world::{Round, World};

/// Sum of the weights of a row, as in DNS answers.
pub const WHOLE_WEIGHT: u32 = 1000;

/// Delay between a jump of the demand and new shares: ten seconds to measure it, and at most five to publish it, to solve,
/// and to apply the result.
pub const REACTION_SECONDS: f64 = 15.0;

/// Result of one round. If the round has two segments, values are averages over requests.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundOutcome {
    /// Mean time of served requests. 0 if none was served.
    pub mean_ms: f64,
    pub usd_per_million: f64,
    /// Fraction of requests that were not served.
    pub rejected: f64,
    /// J in ms per request.
    pub cost_ms: f64,
    /// Utilization of each exporter in its worst segment.
    pub utilization: Vec<f64>,
    /// Σ |p − q| of all changes of the round, averaged over sources by demand: 2 moves everything. The first decision of a run
    /// is no change.
    pub l1: f64,
    /// One segment, or two after a reaction.
    pub segments: Vec<Segment>,
}

/// A part of a round in which shares do not change.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    pub seconds: f64,
    /// Applied shares: as whole weights, including the rows of clusters without an agent.
    pub shares: Matrix<f64>,
    pub judgment: Judgment,
}

/// Runs a policy over all rounds of a world.
pub fn run(world: &World, policy: &mut dyn SharingPolicy) -> Vec<RoundOutcome> {
    Run::new(world, policy).collect()
}

/// A run as an iterator over rounds, so that a caller can show its progress.
pub struct Run<'a> {
    world: &'a World,
    policy: &'a mut dyn SharingPolicy,
    round_trips: KnownRoundTrips,
    nominal_rps: Vec<f64>,
    past: Vec<PastRound>,
    /// Applied shares of the previous round. `None` before the first round.
    in_force: Option<Matrix<f64>>,
    tables: WaitTables,
}

impl<'a> Run<'a> {
    pub fn new(world: &'a World, policy: &'a mut dyn SharingPolicy) -> Self {
        let round_trips = KnownRoundTrips::new(world.rounds.first().map(|round| &round.measured_rtt_ms));
        let nominal_rps = vec![0.0; world.size()];
        Self {
            world,
            policy,
            round_trips,
            nominal_rps,
            past: Vec::new(),
            in_force: None,
            tables: WaitTables::default(),
        }
    }

    /// Returns the shares of the round with their duration: one entry, or two if the policy reacts.
    fn decide(&mut self, t: usize) -> Vec<(f64, Matrix<f64>)> {
        let (world, round) = (self.world, &self.world.rounds[t]);
        let cost_ms = self.round_trips.cost_ms(world, round);
        let moment = Moment {
            world,
            round: t,
            past: &self.past,
            published_rtt_ms: &self.round_trips.published,
            cost_ms: &cost_ms,
            nominal_rps: &self.nominal_rps,
        };
        let first = in_force(&moment, &self.policy.shares(&moment));
        if world.round_seconds <= REACTION_SECONDS {
            return vec![(world.round_seconds, first)];
        }
        let reported_rps = reported(world, round);
        let seen = EarlyMeasurement { reported_rps: &reported_rps, elapsed: REACTION_SECONDS / world.round_seconds };
        match self.policy.react(&moment, &seen) {
            None => vec![(world.round_seconds, first)],
            Some(rest) => {
                let rest = in_force(&moment, &rest);
                vec![(REACTION_SECONDS, first), (world.round_seconds - REACTION_SECONDS, rest)]
            }
        }
    }

    /// Records the measurements of a round.
    fn remember(&mut self, round: &Round, segments: &[Segment]) {
        let world = self.world;
        let part = |segment: &Segment| segment.seconds / world.round_seconds;
        let average = |i, j| segments.iter().map(|segment| part(segment) * segment.shares[(i, j)]).sum();
        let shares = Matrix::from_fn(world.size(), average);
        self.past.push(PastRound {
            demand_rps: round.demand_rps.clone(),
            reported_rps: reported(world, round),
            sent_rps: Matrix::from_fn(world.size(), |i, j| round.demand_rps[i] * shares[(i, j)]),
            load_rps: loads(world, round, &shares),
            limit_rps: limits(world, round, segments),
            advertised_rps: round.advertised_rps.clone(),
            shares,
        });
    }
}

impl Iterator for Run<'_> {
    type Item = RoundOutcome;

    fn next(&mut self) -> Option<RoundOutcome> {
        let t = self.past.len();
        let (world, round) = (self.world, self.world.rounds.get(t)?);
        // The first round starts with a fresh measurement, later ones with that of the round before.
        if let Some(before) = t.checked_sub(1) {
            self.round_trips.step(&world.rounds[before].measured_rtt_ms);
        }
        self.nominal_rps.iter_mut().zip(&round.advertised_rps).for_each(|(most, now)| *most = most.max(*now));
        let decided = self.decide(t);
        let before = self.in_force.replace(decided[decided.len() - 1].1.clone());
        let steps = before.iter().chain(decided.iter().map(|(_, shares)| shares));
        let l1 = steps.clone().zip(steps.skip(1)).map(|(from, to)| change(&round.demand_rps, from, to)).sum();
        let judged = |(seconds, shares): (f64, Matrix<f64>)| {
            let judgment = judge(&mut self.tables, world, round, &shares);
            Segment { seconds, shares, judgment }
        };
        let segments: Vec<Segment> = decided.into_iter().map(judged).collect();
        self.remember(round, &segments);
        Some(RoundOutcome::of(segments, l1))
    }
}

impl RoundOutcome {
    fn of(segments: Vec<Segment>, l1: f64) -> Self {
        let average = |value: fn(&Judgment) -> f64, weight: fn(&Judgment) -> f64| {
            let weight = |segment: &Segment| segment.seconds * weight(&segment.judgment);
            let all: f64 = segments.iter().map(weight).sum();
            let sum: f64 = segments.iter().map(|segment| weight(segment) * value(&segment.judgment)).sum();
            if all > 0.0 { sum / all } else { 0.0 }
        };
        let exporters = segments.first().map_or(0, |segment| segment.judgment.queues.len());
        let utilization = |segment: &Segment, j: usize| segment.judgment.queues[j].utilization;
        let worst = |j| segments.iter().map(|segment| utilization(segment, j)).fold(0.0, f64::max);
        Self {
            mean_ms: average(|judgment| judgment.mean_ms, |judgment| judgment.served_rps),
            usd_per_million: average(|judgment| judgment.usd_per_million, |judgment| judgment.served_rps),
            rejected: average(|judgment| judgment.rejected, |judgment| judgment.asked_rps),
            cost_ms: average(|judgment| judgment.cost_ms, |judgment| judgment.asked_rps),
            utilization: (0..exporters).map(worst).collect(),
            l1,
            segments,
        }
    }
}

/// Applies a decision: rounds rows to weights, and sends clusters without an agent to the nearest exporter. A row of zeros
/// stays, and its requests are lost.
fn in_force(moment: &Moment<'_>, decided: &Matrix<f64>) -> Matrix<f64> {
    let size = decided.size();
    let mut shares = Matrix::filled(size, 0.0);
    for i in 0..size {
        let row = shares.row_mut(i);
        if moment.world.legacy[i] {
            nearest(moment, i).into_iter().for_each(|j| row[j] = 1.0);
        } else {
            let whole = weights(decided.row(i), WHOLE_WEIGHT);
            row.iter_mut().zip(whole).for_each(|(share, w)| *share = f64::from(w) / f64::from(WHOLE_WEIGHT));
        }
    }
    shares
}

/// Returns the alive exporter with the shortest published round trip, the first one of equals. Returns `None` if none is
/// alive.
pub(crate) fn nearest(moment: &Moment<'_>, source: usize) -> Option<usize> {
    let rtt_ms = moment.published_rtt_ms.row(source);
    let alive = (0..rtt_ms.len()).filter(|&j| moment.alive()[j]);
    alive.min_by(|&a, &b| rtt_ms[a].total_cmp(&rtt_ms[b]))
}

/// Returns the rate that each exporter served while it rejected requests. An overloaded exporter measures its true
/// capacity.
fn limits(world: &World, round: &Round, segments: &[Segment]) -> Vec<Option<f64>> {
    let limit = |j: usize| {
        let served = |segment: &Segment| {
            let rejected = segment.judgment.queues[j].rejected;
            (rejected > 0.0 && round.alive[j]).then(|| (1.0 - rejected) * loads(world, round, &segment.shares)[j])
        };
        segments.iter().find_map(served)
    };
    (0..world.size()).map(limit).collect()
}

fn reported(world: &World, round: &Round) -> Vec<f64> {
    round.demand_rps.iter().zip(&world.report_factor).map(|(demand, factor)| demand * factor).collect()
}

/// Returns the mean of Σ |p − q| over sources, weighted by demand.
fn change(demand_rps: &[f64], from: &Matrix<f64>, to: &Matrix<f64>) -> f64 {
    let all: f64 = demand_rps.iter().sum();
    let moved = |(from, to): (&[f64], &[f64])| from.iter().zip(to).map(|(p, q)| (p - q).abs()).sum::<f64>();
    let moved = demand_rps.iter().zip(from.rows().zip(to.rows())).map(|(demand, rows)| demand * moved(rows));
    if all > 0.0 { moved.sum::<f64>() / all } else { 0.0 }
}

/// Round-trip times as the clusters know them.
struct KnownRoundTrips {
    known: Matrix<Rtt>,
    published: Matrix<f64>,
}

impl KnownRoundTrips {
    fn new(measured: Option<&Matrix<f64>>) -> Self {
        let known = Matrix::filled(measured.map_or(0, Matrix::size), Rtt::default());
        let mut round_trips = Self { known, published: Matrix::filled(0, 0.0) };
        measured.into_iter().for_each(|measured| round_trips.step(measured));
        round_trips
    }

    fn step(&mut self, measured: &Matrix<f64>) {
        self.known = Matrix::from_fn(measured.size(), |i, j| self.known[(i, j)].step(measured[(i, j)]));
        self.published = Matrix::from_fn(measured.size(), |i, j| ms(self.known[(i, j)].published_ms()));
    }

    /// Returns cost c: time and exchanged price. The price list of a round is known when it starts.
    fn cost_ms(&self, world: &World, round: &Round) -> Matrix<f64> {
        let (prices, rate) = (round.usd_per_million(world), world.usd_per_ms_per_million);
        let price_ms = |i, j| if rate > 0.0 { prices[(i, j)] / rate } else { 0.0 };
        Matrix::from_fn(world.size(), |i, j| {
            ms(self.known[(i, j)].smoothed_ms()) + world.service_ms[j] + price_ms(i, j)
        })
    }
}

/// Returns a known time. A world has one for every pair, so the default is not used.
fn ms(known: Option<f64>) -> f64 {
    known.unwrap_or(UNKNOWN_RTT_MS)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two clusters 20 ms apart with 100 rps each, half of their capacity.
    pub(crate) fn two_clusters(rounds: usize) -> World {
        let matrix = |cells: [f64; 4]| Matrix::from_fn(2, |i, j| cells[2 * i + j]);
        let rtt_ms = matrix([1.0, 20.0, 20.0, 1.0]);
        let round = Round {
            demand_rps: vec![100.0; 2],
            advertised_rps: vec![200.0; 2],
            capacity_rps: vec![200.0; 2],
            alive: vec![true; 2],
            measured_rtt_ms: rtt_ms.clone(),
            rtt_ms,
            egress_usd_per_gb: matrix([0.0, 0.1, 0.1, 0.0]),
            age: Matrix::filled(2, 0),
        };
        World {
            name: "two".to_owned(),
            clusters: vec!["east".to_owned(), "west".to_owned()],
            round_seconds: 300.0,
            rounds: vec![round; rounds],
            request_bytes: 1e3,
            response_bytes: 1e4,
            service_ms: vec![20.0; 2],
            usd_per_ms_per_million: 0.01,
            background_rps: vec![0.0; 2],
            report_factor: vec![1.0; 2],
            legacy: vec![false; 2],
            staleness: 0,
            per_pair: false,
        }
    }

    /// Sends everything to one cluster, and after the reaction to another one.
    #[derive(Default)]
    struct Mover {
        to: usize,
        then: Option<usize>,
        past: Vec<PastRound>,
        known_ms: Vec<(f64, f64)>,
    }

    fn all_to(world: &World, j: usize) -> Matrix<f64> {
        Matrix::from_fn(world.size(), |_, k| f64::from(u8::from(j == k)))
    }

    impl SharingPolicy for Mover {
        fn shares(&mut self, moment: &Moment<'_>) -> Matrix<f64> {
            self.past = moment.past.to_vec();
            self.known_ms.push((moment.published_rtt_ms[(0, 1)], moment.cost_ms[(0, 1)]));
            all_to(moment.world, self.to)
        }

        fn react(&mut self, moment: &Moment<'_>, seen: &EarlyMeasurement<'_>) -> Option<Matrix<f64>> {
            assert!((seen.elapsed * moment.world.round_seconds - REACTION_SECONDS).abs() < 1e-9);
            self.then.map(|j| all_to(moment.world, j))
        }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * (1.0 + b.abs())
    }

    #[test]
    fn reaction_splits_the_round_and_results_are_averages() {
        let mut world = two_clusters(2);
        world.rounds.iter_mut().for_each(|round| round.capacity_rps[0] = 100.0);
        let mut policy = Mover { then: Some(1), ..Mover::default() };
        let outcomes = run(&world, &mut policy);
        let [first, second] = outcomes.as_slice() else { unreachable!("two rounds") };
        assert!(near(first.l1, 2.0), "the first decision is no change, the reaction moves everything: {}", first.l1);
        assert!(near(second.l1, 4.0), "back, and away again: {}", second.l1);
        let [before, after] = second.segments.as_slice() else { unreachable!("two segments") };
        assert!(near(before.seconds, 15.0) && near(after.seconds, 285.0));
        assert!(near(before.judgment.rejected, 0.5) && near(second.rejected, 0.5 * 0.05));
        assert!(near(second.cost_ms, 0.05 * before.judgment.cost_ms + 0.95 * after.judgment.cost_ms));
        let served = (0.05 * 100.0, 0.95 * 200.0);
        let mean = served.0 * before.judgment.mean_ms + served.1 * after.judgment.mean_ms;
        assert!(near(second.mean_ms, mean / (served.0 + served.1)), "a mean over served requests");
        assert!(near(second.utilization[0], 2.0), "the worst of both: {:?}", second.utilization);
        let past = &policy.past[0];
        assert!(near(past.shares[(0, 0)], 0.05) && near(past.sent_rps[(1, 1)], 95.0) && near(past.load_rps[1], 190.0));
    }

    #[test]
    fn round_shorter_than_a_reaction_has_none() {
        let world = World { round_seconds: 15.0, ..two_clusters(1) };
        let outcomes = run(&world, &mut Mover { then: Some(1), ..Mover::default() });
        assert_eq!(outcomes[0].segments.len(), 1);
    }

    #[test]
    fn cluster_without_an_agent_goes_to_the_nearest_alive_exporter() {
        let mut world = two_clusters(2);
        world.legacy[1] = true;
        world.rounds[1].alive[1] = false;
        let outcomes = run(&world, &mut Mover::default());
        let legacy = |t: usize| outcomes[t].segments[0].shares.row(1).to_vec();
        assert_eq!(legacy(0), [0.0, 1.0]);
        assert_eq!(legacy(1), [1.0, 0.0]);
    }

    #[test]
    fn applied_shares_are_whole_weights() {
        struct Thirds;
        impl SharingPolicy for Thirds {
            fn shares(&mut self, _moment: &Moment<'_>) -> Matrix<f64> {
                Matrix::from_fn(2, |_, j| [1.0 / 3.0, 2.0 / 3.0][j])
            }
        }
        let outcomes = run(&two_clusters(1), &mut Thirds);
        assert_eq!(outcomes[0].segments[0].shares.row(0), [0.333, 0.667]);
    }

    #[test]
    fn round_trips_are_gated_smoothed_and_published_after_they_moved() {
        let mut world = two_clusters(5);
        let measured = [20.0, 21.0, 520.0, 20.0];
        for (round, measured) in world.rounds.iter_mut().zip(measured) {
            round.measured_rtt_ms[(0, 1)] = measured;
        }
        let mut policy = Mover::default();
        run(&world, &mut policy);
        let price_ms = (0.1 * 1e3 + 0.1 * 1e4) / 1e3 / 0.01;
        let gated = 0.7 * 20.3 + 0.3 * (1.5 * 20.3 + 5.0);
        let expected = [(20.0, 20.0), (20.0, 20.0), (20.0, 20.3), (gated, gated), (gated, 0.7 * gated + 6.0)];
        for (known, (published, smoothed)) in policy.known_ms.iter().zip(expected) {
            assert!(near(known.0, published) && near(known.1, smoothed + 20.0 + price_ms), "{known:?}");
        }
    }

    #[test]
    fn request_without_exporter_is_rejected() {
        let mut world = two_clusters(1);
        world.rounds[0].alive = vec![false; 2];
        world.rounds[0].capacity_rps = vec![0.0; 2];
        let nowhere = |_: &Moment<'_>| Matrix::filled(2, 0.0);
        struct FromFn<F>(F);
        impl<F: Fn(&Moment<'_>) -> Matrix<f64>> SharingPolicy for FromFn<F> {
            fn shares(&mut self, moment: &Moment<'_>) -> Matrix<f64> {
                self.0(moment)
            }
        }
        for outcome in [run(&world, &mut FromFn(nowhere)), run(&world, &mut Mover::default())].concat() {
            assert!(near(outcome.rejected, 1.0) && near(outcome.cost_ms, 11_000.0) && near(outcome.mean_ms, 0.0));
        }
    }

    #[test]
    fn results_without_demand_are_zero() {
        let mut world = two_clusters(3);
        world.rounds.iter_mut().for_each(|round| round.demand_rps = vec![0.0; 2]);
        for outcome in run(&world, &mut Mover { then: Some(1), ..Mover::default() }) {
            let values = [outcome.mean_ms, outcome.usd_per_million, outcome.rejected, outcome.cost_ms, outcome.l1];
            assert!(values.iter().all(|value| near(*value, 0.0)), "{outcome:?}");
        }
    }
}
