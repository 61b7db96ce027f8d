//! Evaluates the probes of one peer: its reachability at once, and the quality of the network path once a round.
//!
//! Nothing here knows the time. The result of a probe is a round-trip time in milliseconds, or `None` if there was no
//! reply.

use std::collections::VecDeque;

use crate::optimize::rtt::Rtt;

/// Limit of probes of a round: twenty minutes at a probe per second. Of a longer round the newest count.
const MAX_PROBES: usize = 1200;

/// With fewer replies a 90th percentile is meaningless.
const MIN_REPLIES: usize = 5;

/// Upper limit of a round-trip time: ten minutes.
const MAX_MS: f64 = 600_000.0;

/// Smoothing factor.
const GAIN: f64 = 0.3;

/// Change of a round-trip time that ends a round early: in ms, and as a fraction. The larger one counts.
const MOVED: (f64, f64) = (5.0, 0.5);
/// Number of the newest probes that are compared with the smoothed value.
const RECENT_PROBES: usize = 10;

/// Dead band of the published jitter: an absolute difference, and a fraction.
const JITTER_BAND: (f64, f64) = (2.0, 0.1);
/// Gate on a measured jitter: at most this many times the smoothed value, plus this many ms.
const JITTER_GATE: (f64, f64) = (1.5, 2.0);
/// Dead band of the published loss: an absolute difference, and a fraction.
const LOSS_BAND: (f64, f64) = (0.005, 0.0);

/// Marks a peer unreachable after `limit` consecutive failures and reachable after one success. A peer is reachable
/// before its first probe, so that a restart does not drop all peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureDetector {
    limit: u32,
    /// Consecutive failures up to now.
    failures: u32,
}

impl Default for FailureDetector {
    /// Returns a detector with a limit of three failures: one lost packet does not count, and at a probe per second a
    /// dead cluster is detected within ten seconds.
    fn default() -> Self {
        Self::new(3)
    }
}

impl FailureDetector {
    /// Returns a detector with a limit of consecutive failures, at least 1.
    pub fn new(limit: u32) -> Self {
        Self { limit: limit.max(1), failures: 0 }
    }

    /// Takes in the result of a probe.
    #[must_use]
    pub fn step(self, rtt_ms: Option<f64>) -> Self {
        let failures = if rtt_ms.is_some() { 0 } else { self.failures.saturating_add(1) };
        Self { failures, ..self }
    }

    /// Returns true if the peer is reachable.
    pub fn is_reachable(self) -> bool {
        self.failures < self.limit
    }
}

/// Results of the probes of a round.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Probes {
    rtts_ms: VecDeque<Option<f64>>,
}

/// Summary of the probes of a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeSummary {
    pub median_ms: f64,
    /// Distance from the median to the 90th percentile.
    pub jitter_ms: f64,
    /// Fraction of the probes without a reply.
    pub loss: f64,
}

impl Probes {
    /// Adds the result of a probe. Ignores values that are not a valid duration.
    pub fn push(&mut self, rtt_ms: Option<f64>) {
        if rtt_ms.is_some_and(|ms| !(0.0..=MAX_MS).contains(&ms)) {
            return;
        }
        if self.rtts_ms.len() == MAX_PROBES {
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

    /// Drops the failures after the last reply.
    fn drop_trailing_failures(&mut self) {
        while self.rtts_ms.back().is_some_and(Option::is_none) {
            self.rtts_ms.pop_back();
        }
    }

    /// Returns the newest probes, at most `max`.
    fn newest(&self, max: usize) -> Self {
        Self { rtts_ms: self.rtts_ms.range(self.len().saturating_sub(max)..).copied().collect() }
    }

    /// Returns `None` with too few replies.
    pub fn summary(&self) -> Option<ProbeSummary> {
        let mut replies: Vec<f64> = self.rtts_ms.iter().copied().flatten().collect();
        if replies.len() < MIN_REPLIES {
            return None;
        }
        replies.sort_by(f64::total_cmp);
        let median_ms = quantile(&replies, 0.5);
        let lost = self.rtts_ms.len() - replies.len();
        let loss = lost as f64 / self.rtts_ms.len() as f64;
        Some(ProbeSummary { median_ms, jitter_ms: quantile(&replies, 0.9) - median_ms, loss })
    }
}

/// Returns a quantile, interpolated between the two values next to it. `sorted` must not be empty.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = part * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + at.fract() * (above - below)
}

/// State of the network path to one peer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NetworkPath {
    detector: FailureDetector,
    probes: Probes,
    rtt: Rtt,
    jitter: DeadBand,
    loss: DeadBand,
}

/// Quality of a path for publication: unchanged from round to round while it stays within the dead bands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PathQuality {
    pub rtt_ms: f64,
    pub jitter_ms: f64,
    /// Fraction of the probes that is lost, from 0 to 1.
    pub loss: f64,
}

impl NetworkPath {
    /// Returns the state before the first probe.
    pub fn new(detector: FailureDetector) -> Self {
        Self { detector, ..Self::default() }
    }

    /// Takes in the result of a probe. Failures of an unreachable peer do not count as loss of the path.
    pub fn record_probe(&mut self, rtt_ms: Option<f64>) {
        self.detector = self.detector.step(rtt_ms);
        match self.detector.is_reachable() {
            true => self.probes.push(rtt_ms),
            false => self.probes.drop_trailing_failures(),
        }
    }

    /// Returns true if the peer is reachable.
    pub fn is_reachable(&self) -> bool {
        self.detector.is_reachable()
    }

    /// Returns true if the round should end now: after the first usable probes, or if the newest ten show that the
    /// round-trip time has moved far.
    pub fn should_end_round(&self) -> bool {
        match self.rtt.smoothed_ms() {
            None => self.probes.summary().is_some(),
            Some(_) => self.moved().is_some(),
        }
    }

    /// Returns the summary of the newest ten probes if their round-trip time has moved far.
    fn moved(&self) -> Option<ProbeSummary> {
        let smoothed = self.rtt.smoothed_ms().filter(|_| self.probes.len() >= RECENT_PROBES)?;
        let summary = self.probes.newest(RECENT_PROBES).summary()?;
        let moved = (summary.median_ms - smoothed).abs() > MOVED.0.max(MOVED.1 * smoothed);
        moved.then_some(summary)
    }

    /// Ends a round: its probes become one step of each filter. Returns the quality to publish. A round with too few
    /// replies changes nothing; [`is_reachable`](Self::is_reachable) tells whether the peer is there.
    pub fn end_round(&mut self) -> Option<PathQuality> {
        if let Some(summary) = self.moved().or_else(|| self.probes.summary()) {
            self.rtt = self.rtt.step(summary.median_ms);
            // In the round in which the path becomes longer, the 90th percentile is as far from the median as both
            // paths differ.
            let jitter_ms = self.jitter.gated(summary.jitter_ms, JITTER_GATE);
            self.jitter = self.jitter.step(jitter_ms, JITTER_BAND);
            self.loss = self.loss.step(summary.loss, LOSS_BAND);
        }
        self.probes = Probes::default();
        self.quality()
    }

    /// Returns the quality as of the last round; `None` before the first usable one.
    pub fn quality(&self) -> Option<PathQuality> {
        let (jitter_ms, loss) = (self.jitter.published()?, self.loss.published()?);
        Some(PathQuality { rtt_ms: self.rtt.published_ms()?, jitter_ms, loss })
    }
}

/// Exponential smoothing, published with a dead band.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct DeadBand {
    /// Smoothed and published value.
    known: Option<(f64, f64)>,
}

impl DeadBand {
    /// Returns the measurement, at most `times` the smoothed value plus `more`.
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
        probes.iter().fold(FailureDetector::default(), |detector, rtt| detector.step(*rtt)).is_reachable()
    }

    fn round(path: &mut NetworkPath, probes: impl IntoIterator<Item = Option<f64>>) -> Option<PathQuality> {
        probes.into_iter().for_each(|probe| path.record_probe(probe));
        path.end_round()
    }

    #[test]
    fn peer_is_unreachable_after_three_failures_and_reachable_after_one_reply() {
        let (yes, no) = (Some(1.0), None);
        assert!(reachable(&[]) && reachable(&[no, no]) && !reachable(&[no, no, no]));
        assert!(reachable(&[no, no, yes, no, no]));
        assert!(!reachable(&[yes, no, no, no, no]) && reachable(&[no, no, no, no, yes]));
        assert!(!FailureDetector::new(1).step(no).is_reachable() && FailureDetector::new(0).is_reachable());
        let long = (0..10).fold(FailureDetector::new(u32::MAX), |detector, _| detector.step(no));
        assert!(long.is_reachable());
    }

    #[test]
    fn changed_path_ends_the_round_after_ten_probes_and_jitter_does_not() {
        let mut path = NetworkPath::default();
        (0..4).for_each(|_| path.record_probe(Some(20.0)));
        assert!(!path.should_end_round());
        path.record_probe(Some(20.0));
        assert!(path.should_end_round(), "the first that is known");
        path.end_round();
        let at = (0..30).position(|i| {
            path.record_probe(Some(if i < 5 { 20.0 } else { 100.0 }));
            path.should_end_round()
        });
        assert_eq!(at, Some(9), "five of ten");
        let known = path.end_round().unwrap();
        assert!(known.rtt_ms > 23.0 && known.jitter_ms < 3.0, "{known:?}");
    }

    #[test]
    fn probes_before_a_change_do_not_hide_it() {
        let mut path = NetworkPath::default();
        round(&mut path, [Some(20.0); 30]);
        (0..25).for_each(|_| path.record_probe(Some(20.0)));
        let at = (0..30).position(|_| {
            path.record_probe(Some(100.0));
            path.should_end_round()
        });
        assert_eq!(at, Some(4), "half of the last ten");
        assert!(path.end_round().unwrap().rtt_ms > 23.0);
    }

    #[test]
    fn summary_is_the_median_the_distance_to_the_90th_percentile_and_the_loss() {
        let mut probes = Probes::default();
        (1..=9).for_each(|ms| probes.push(Some(f64::from(ms))));
        probes.push(None);
        let summary = probes.summary().unwrap();
        assert!((summary.median_ms - 5.0).abs() < 1e-9, "{summary:?}");
        assert!((summary.jitter_ms - 3.2).abs() < 1e-9, "{summary:?}");
        assert!((summary.loss - 0.1).abs() < 1e-9, "{summary:?}");
    }

    #[test]
    fn fewer_than_five_replies_give_no_summary() {
        let mut probes = Probes::default();
        (0..4).for_each(|_| probes.push(Some(1.0)));
        (0..100).for_each(|_| probes.push(None));
        assert_eq!(probes.summary(), None);
        probes.push(Some(1.0));
        assert!(probes.summary().is_some_and(|summary| summary.loss > 0.9));
    }

    #[test]
    fn newest_probes_of_a_long_round_count_and_invalid_durations_are_ignored() {
        let mut probes = Probes::default();
        for nonsense in [f64::NAN, f64::INFINITY, -1.0, 1e9] {
            probes.push(Some(nonsense));
        }
        assert!(probes.is_empty());
        (0..MAX_PROBES).for_each(|_| probes.push(None));
        (0..MAX_PROBES).for_each(|_| probes.push(Some(7.0)));
        assert_eq!(probes.len(), MAX_PROBES);
        assert_eq!(probes.summary(), Some(ProbeSummary { median_ms: 7.0, jitter_ms: 0.0, loss: 0.0 }));
    }

    #[test]
    fn noise_between_rounds_is_not_published_and_a_changed_path_is() {
        let mut path = NetworkPath::default();
        let noisy = |i: u32, ms: f64| (0..60).map(move |n| Some(ms + f64::from((n * 7 + i * 3) % 5) / 4.0));
        let first = round(&mut path, noisy(0, 20.0)).unwrap();
        assert!((1..20).all(|i| round(&mut path, noisy(i, 20.0)) == Some(first)));
        let longer = (20..50).fold(first, |_, i| round(&mut path, noisy(i, 80.0)).unwrap());
        assert!((longer.rtt_ms - 80.0).abs() < 8.0, "{longer:?}");
        assert!((longer.jitter_ms - first.jitter_ms).abs() < f64::EPSILON);
    }

    #[test]
    fn loss_and_jitter_are_published_when_they_have_moved() {
        let mut path = NetworkPath::default();
        let quiet = || (0..200).map(|_| Some(10.0));
        let one_lost = || quiet().take(199).chain([None]);
        let one_in_ten = || quiet().enumerate().map(|(i, ms)| ms.filter(|_| i % 10 > 0));
        let first = round(&mut path, quiet()).unwrap();
        assert_eq!(round(&mut path, one_lost()), Some(first), "half a point is nothing");
        let lossy = (0..20).fold(first, |_, _| round(&mut path, one_in_ten()).unwrap());
        assert!((lossy.loss - 0.1).abs() < 0.01, "{lossy:?}");
        let shaky = || (0..200).map(|i| Some(if i % 4 == 0 { 30.0 } else { 10.0 }));
        let shaken = (0..20).fold(lossy, |_, _| round(&mut path, shaky()).unwrap());
        assert!((shaken.jitter_ms - 20.0).abs() < 2.1 && (shaken.rtt_ms - 10.0).abs() < 1e-9, "{shaken:?}");
    }

    #[test]
    fn peer_that_was_away_comes_back_with_the_same_quality_and_without_loss() {
        let mut path = NetworkPath::default();
        let known = round(&mut path, [Some(5.0); 30]);
        let away = round(&mut path, [Some(5.0); 10].into_iter().chain([None; 20]));
        assert!(!path.is_reachable() && away == known, "{away:?}");
        let back = round(&mut path, [None; 10].into_iter().chain([Some(5.0); 20]));
        assert!(path.is_reachable() && back == known, "{back:?}");
    }

    #[test]
    fn round_without_replies_changes_reachability_and_not_quality() {
        let mut path = NetworkPath::default();
        assert_eq!(round(&mut path, [None, None]), None);
        let known = round(&mut path, [Some(5.0); 30]);
        assert!(known.is_some() && path.is_reachable());
        assert_eq!(round(&mut path, [None; 30]), known);
        assert!(!path.is_reachable());
        assert_eq!(path.quality(), known);
    }
}
