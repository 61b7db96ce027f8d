//! What the probes of one peer say: whether it can be reached, at once, and what the way there is like, once a round.
//!
//! Nothing here knows the time. A probe is answered, after so many milliseconds, or it is not: `None`.

use std::collections::VecDeque;

use crate::optimize::rtt::Rtt;

/// The longest round, at a probe per second; of a longer one, the newest.
const MOST_PROBES: usize = 1200;

/// Of fewer answers, a tenth slowest says nothing.
const LEAST_ANSWERS: usize = 5;

/// More than ten minutes are no round-trip time.
const MOST_MS: f64 = 600_000.0;

const GAIN: f64 = 0.3;

/// What is much longer or shorter: by this many ms, and this part.
const NEWS: (f64, f64) = (5.0, 0.5);
const NEWS_PROBES: usize = 10;

/// What is published stays while the smoothed value is within this of it: an absolute difference, or a part.
const JITTER_BAND: (f64, f64) = (2.0, 0.1);
/// What is measured counts as at most this many times the smoothed value, and this many ms more.
const JITTER_GATE: (f64, f64) = (1.5, 2.0);
const LOSS_BAND: (f64, f64) = (0.005, 0.0);

/// Reachable until so many probes in a row were not answered, and again from the first answer on. Who was never asked
/// counts as reachable: a process that starts must not find everybody gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    limit: u32,
    /// In a row, up to now.
    failures: u32,
}

impl Default for Reach {
    /// Three: one lost packet is nothing, and at a probe per second a dead cluster is out within ten.
    fn default() -> Self {
        Self::new(3)
    }
}

impl Reach {
    /// `limit`: how many failures in a row are too many, at least 1.
    pub fn new(limit: u32) -> Self {
        Self { limit: limit.max(1), failures: 0 }
    }

    #[must_use]
    pub fn step(self, rtt_ms: Option<f64>) -> Self {
        let failures = if rtt_ms.is_some() { 0 } else { self.failures.saturating_add(1) };
        Self { failures, ..self }
    }

    pub fn is_reachable(self) -> bool {
        self.failures < self.limit
    }
}

/// The probes of a round.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Probes {
    rtts_ms: VecDeque<Option<f64>>,
}

/// Of the probes of a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    pub median_ms: f64,
    /// From the median to the slowest tenth.
    pub jitter_ms: f64,
    /// The part that was not answered.
    pub loss: f64,
}

impl Probes {
    /// What is no time is no probe.
    pub fn push(&mut self, rtt_ms: Option<f64>) {
        if rtt_ms.is_some_and(|ms| !(0.0..=MOST_MS).contains(&ms)) {
            return;
        }
        if self.rtts_ms.len() == MOST_PROBES {
            self.rtts_ms.pop_front();
        }
        self.rtts_ms.push_back(rtt_ms);
    }

    pub fn len(&self) -> usize {
        self.rtts_ms.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rtts_ms.is_empty()
    }

    /// The last ones, up to the last answer.
    fn forget_failures(&mut self) {
        while self.rtts_ms.back().is_some_and(Option::is_none) {
            self.rtts_ms.pop_back();
        }
    }

    /// So many of them at most.
    fn newest(&self, most: usize) -> Self {
        Self { rtts_ms: self.rtts_ms.range(self.len().saturating_sub(most)..).copied().collect() }
    }

    /// `None`: too few were answered to say anything.
    pub fn summary(&self) -> Option<Summary> {
        let mut answered: Vec<f64> = self.rtts_ms.iter().copied().flatten().collect();
        if answered.len() < LEAST_ANSWERS {
            return None;
        }
        answered.sort_by(f64::total_cmp);
        let median_ms = quantile(&answered, 0.5);
        let unanswered = self.rtts_ms.len() - answered.len();
        let loss = unanswered as f64 / self.rtts_ms.len() as f64;
        Some(Summary { median_ms, jitter_ms: quantile(&answered, 0.9) - median_ms, loss })
    }
}

/// Between the two values next to it. `sorted` must not be empty.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = part * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + at.fract() * (above - below)
}

/// All that is known of the way to one peer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Way {
    reach: Reach,
    probes: Probes,
    rtt: Rtt,
    jitter: Steady,
    loss: Steady,
}

/// What the others are told of a way: the same, round after round, until it is another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    pub rtt_ms: f64,
    pub jitter_ms: f64,
    /// From 0 to 1.
    pub loss: f64,
}

impl Way {
    pub fn new(reach: Reach) -> Self {
        Self { reach, ..Self::default() }
    }

    /// Takes in a probe. Those of a peer that is not there say nothing of the way to it: nothing of them is loss.
    pub fn probed(&mut self, rtt_ms: Option<f64>) {
        self.reach = self.reach.step(rtt_ms);
        match self.reach.is_reachable() {
            true => self.probes.push(rtt_ms),
            false => self.probes.forget_failures(),
        }
    }

    pub fn is_reachable(&self) -> bool {
        self.reach.is_reachable()
    }

    /// Whether the probes since the last round are reason to end it now: the first that tell anything, or a last ten by which
    /// the way is much longer or shorter than it was.
    pub fn is_news(&self) -> bool {
        match self.rtt.smoothed_ms() {
            None => self.probes.summary().is_some(),
            Some(_) => self.moved().is_some(),
        }
    }

    /// What the last ten probes say, if that is another way than it was.
    fn moved(&self) -> Option<Summary> {
        let smoothed = self.rtt.smoothed_ms().filter(|_| self.probes.len() >= NEWS_PROBES)?;
        let summary = self.probes.newest(NEWS_PROBES).summary()?;
        let moved = (summary.median_ms - smoothed).abs() > NEWS.0.max(NEWS.1 * smoothed);
        moved.then_some(summary)
    }

    /// Ends a round: its probes become a step of each filter. Returns what to publish. A round with too few answers
    /// changes nothing: whether the peer is there is for [`is_reachable`](Self::is_reachable) to say.
    pub fn close_round(&mut self) -> Option<Conditions> {
        if let Some(summary) = self.moved().or_else(|| self.probes.summary()) {
            self.rtt = self.rtt.step(summary.median_ms);
            // In the round in which the way becomes longer, the slowest tenth is as far from the median as both ways differ.
            let jitter_ms = self.jitter.gated(summary.jitter_ms, JITTER_GATE);
            self.jitter = self.jitter.step(jitter_ms, JITTER_BAND);
            self.loss = self.loss.step(summary.loss, LOSS_BAND);
        }
        self.probes = Probes::default();
        self.conditions()
    }

    /// As of the last round. `None` before the first one that said something.
    pub fn conditions(&self) -> Option<Conditions> {
        let (jitter_ms, loss) = (self.jitter.published()?, self.loss.published()?);
        Some(Conditions { rtt_ms: self.rtt.published_ms()?, jitter_ms, loss })
    }
}

/// Exponential smoothing, published with a dead band.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Steady {
    /// Smoothed and published.
    known: Option<(f64, f64)>,
}

impl Steady {
    /// At most so many times the smoothed value, and so much more.
    fn gated(self, measured: f64, (times, more): (f64, f64)) -> f64 {
        self.known.map_or(measured, |(smoothed, _)| measured.min(times * smoothed + more))
    }

    #[must_use]
    fn step(self, measured: f64, (difference, part): (f64, f64)) -> Self {
        let Some((smoothed, published)) = self.known else {
            return Self { known: Some((measured, measured)) };
        };
        let smoothed = smoothed + GAIN * (measured - smoothed);
        let moved = (smoothed - published).abs() > difference.max(part * published);
        Self { known: Some((smoothed, if moved { smoothed } else { published })) }
    }

    fn published(self) -> Option<f64> {
        self.known.map(|(_, published)| published)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reachable(probes: &[Option<f64>]) -> bool {
        probes.iter().fold(Reach::default(), |reach, rtt| reach.step(*rtt)).is_reachable()
    }

    fn round(way: &mut Way, probes: impl IntoIterator<Item = Option<f64>>) -> Option<Conditions> {
        probes.into_iter().for_each(|probe| way.probed(probe));
        way.close_round()
    }

    #[test]
    fn three_failures_in_a_row_are_too_many_and_one_answer_brings_a_peer_back() {
        let (yes, no) = (Some(1.0), None);
        assert!(reachable(&[]) && reachable(&[no, no]) && !reachable(&[no, no, no]));
        assert!(reachable(&[no, no, yes, no, no]));
        assert!(!reachable(&[yes, no, no, no, no]) && reachable(&[no, no, no, no, yes]));
        assert!(!Reach::new(1).step(no).is_reachable() && Reach::new(0).is_reachable());
        let long = (0..10).fold(Reach::new(u32::MAX), |reach, _| reach.step(no));
        assert!(long.is_reachable());
    }

    #[test]
    fn a_way_that_becomes_another_one_is_news_after_ten_probes_and_its_jitter_is_not() {
        let mut way = Way::default();
        (0..4).for_each(|_| way.probed(Some(20.0)));
        assert!(!way.is_news());
        way.probed(Some(20.0));
        assert!(way.is_news(), "the first that is known");
        way.close_round();
        let at = (0..30).position(|i| {
            way.probed(Some(if i < 5 { 20.0 } else { 100.0 }));
            way.is_news()
        });
        assert_eq!(at, Some(9), "five of ten");
        let known = way.close_round().unwrap();
        assert!(known.rtt_ms > 23.0 && known.jitter_ms < 3.0, "{known:?}");
    }

    #[test]
    fn what_was_before_a_way_became_longer_does_not_hide_it() {
        let mut way = Way::default();
        round(&mut way, [Some(20.0); 30]);
        (0..25).for_each(|_| way.probed(Some(20.0)));
        let at = (0..30).position(|_| {
            way.probed(Some(100.0));
            way.is_news()
        });
        assert_eq!(at, Some(4), "half of the last ten");
        assert!(way.close_round().unwrap().rtt_ms > 23.0);
    }

    #[test]
    fn a_summary_is_the_median_the_distance_of_the_slowest_tenth_and_what_was_lost() {
        let mut probes = Probes::default();
        (1..=9).for_each(|ms| probes.push(Some(f64::from(ms))));
        probes.push(None);
        let summary = probes.summary().unwrap();
        assert!((summary.median_ms - 5.0).abs() < 1e-9, "{summary:?}");
        assert!((summary.jitter_ms - 3.2).abs() < 1e-9, "{summary:?}");
        assert!((summary.loss - 0.1).abs() < 1e-9, "{summary:?}");
    }

    #[test]
    fn fewer_than_five_answers_say_nothing() {
        let mut probes = Probes::default();
        (0..4).for_each(|_| probes.push(Some(1.0)));
        (0..100).for_each(|_| probes.push(None));
        assert_eq!(probes.summary(), None);
        probes.push(Some(1.0));
        assert!(probes.summary().is_some_and(|summary| summary.loss > 0.9));
    }

    #[test]
    fn of_a_long_round_the_newest_probes_count_and_what_is_no_time_is_none() {
        let mut probes = Probes::default();
        for nonsense in [f64::NAN, f64::INFINITY, -1.0, 1e9] {
            probes.push(Some(nonsense));
        }
        assert!(probes.is_empty());
        (0..MOST_PROBES).for_each(|_| probes.push(None));
        (0..MOST_PROBES).for_each(|_| probes.push(Some(7.0)));
        assert_eq!(probes.len(), MOST_PROBES);
        assert_eq!(probes.summary(), Some(Summary { median_ms: 7.0, jitter_ms: 0.0, loss: 0.0 }));
    }

    #[test]
    fn noise_from_round_to_round_is_not_published_and_another_way_is() {
        let mut way = Way::default();
        let noisy = |i: u32, ms: f64| (0..60).map(move |n| Some(ms + f64::from((n * 7 + i * 3) % 5) / 4.0));
        let first = round(&mut way, noisy(0, 20.0)).unwrap();
        assert!((1..20).all(|i| round(&mut way, noisy(i, 20.0)) == Some(first)));
        let longer = (20..50).fold(first, |_, i| round(&mut way, noisy(i, 80.0)).unwrap());
        assert!((longer.rtt_ms - 80.0).abs() < 8.0, "{longer:?}");
        assert!((longer.jitter_ms - first.jitter_ms).abs() < f64::EPSILON);
    }

    #[test]
    fn loss_and_jitter_are_published_when_they_have_moved() {
        let mut way = Way::default();
        let quiet = || (0..200).map(|_| Some(10.0));
        let one_lost = || quiet().take(199).chain([None]);
        let one_in_ten = || quiet().enumerate().map(|(i, ms)| ms.filter(|_| i % 10 > 0));
        let first = round(&mut way, quiet()).unwrap();
        assert_eq!(round(&mut way, one_lost()), Some(first), "half a point is nothing");
        let lossy = (0..20).fold(first, |_, _| round(&mut way, one_in_ten()).unwrap());
        assert!((lossy.loss - 0.1).abs() < 0.01, "{lossy:?}");
        let shaky = || (0..200).map(|i| Some(if i % 4 == 0 { 30.0 } else { 10.0 }));
        let shaken = (0..20).fold(lossy, |_, _| round(&mut way, shaky()).unwrap());
        assert!((shaken.jitter_ms - 20.0).abs() < 2.1 && (shaken.rtt_ms - 10.0).abs() < 1e-9, "{shaken:?}");
    }

    #[test]
    fn a_peer_that_was_away_is_as_near_as_before_and_no_packet_was_lost_on_the_way() {
        let mut way = Way::default();
        let known = round(&mut way, [Some(5.0); 30]);
        let away = round(&mut way, [Some(5.0); 10].into_iter().chain([None; 20]));
        assert!(!way.is_reachable() && away == known, "{away:?}");
        let back = round(&mut way, [None; 10].into_iter().chain([Some(5.0); 20]));
        assert!(way.is_reachable() && back == known, "{back:?}");
    }

    #[test]
    fn a_round_without_answers_changes_what_can_be_reached_and_not_what_the_way_is_like() {
        let mut way = Way::default();
        assert_eq!(round(&mut way, [None, None]), None);
        let known = round(&mut way, [Some(5.0); 30]);
        assert!(known.is_some() && way.is_reachable());
        assert_eq!(round(&mut way, [None; 30]), known);
        assert!(!way.is_reachable());
        assert_eq!(way.conditions(), known);
    }
}
