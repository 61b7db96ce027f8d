//! Measurements since the end of the last round, or since facts were last published.

use crate::measured::Measured;
use crate::measured::Reading;
use std::collections::BTreeMap;

use landfall_core::name::{ByCluster, ClusterId, ServiceKey};

/// Number of standard deviations from the expected count at which a difference is significant.
const SIGNIFICANT: f64 = 4.0;

/// Sums of answers, and means of the readings of meters.
#[derive(Debug, Default)]
pub(super) struct AnswerWindow {
    seconds: f64,
    answers: BTreeMap<ServiceKey, BTreeMap<Option<ClusterId>, u64>>,
    loads: BTreeMap<ServiceKey, Mean>,
    utilizations: BTreeMap<ServiceKey, Mean>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.sum += value;
            self.count += 1.0;
        }
    }

    fn append(&mut self, later: Self) {
        self.sum += later.sum;
        self.count += later.count;
    }

    fn value(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}

impl AnswerWindow {
    pub(super) fn add(&mut self, measured: Measured) {
        self.seconds += measured.seconds.max(0.0);
        self.add_answers(measured.answers);
        for (key, reading) in measured.readings {
            self.loads.entry(key.clone()).or_default().add(reading.load_rps);
            self.utilizations.entry(key).or_default().add(reading.utilization);
        }
    }

    /// Appends the window that followed.
    pub(super) fn append(&mut self, later: Self) {
        self.seconds += later.seconds;
        self.add_answers(later.answers);
        for (means, later) in [(&mut self.loads, later.loads), (&mut self.utilizations, later.utilizations)] {
            for (key, mean) in later {
                means.entry(key).or_default().append(mean);
            }
        }
    }

    fn add_answers(&mut self, answers: BTreeMap<ServiceKey, BTreeMap<Option<ClusterId>, u64>>) {
        for (key, counts) in answers {
            let known = self.answers.entry(key).or_default();
            for (cluster, count) in counts {
                let known = known.entry(cluster).or_default();
                *known = known.saturating_add(count);
            }
        }
    }

    /// Returns whether answers were counted.
    pub(super) fn counted(&self) -> bool {
        self.seconds >= 1.0
    }

    pub(super) fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Services with answers.
    pub(super) fn asked(&self) -> impl Iterator<Item = &ServiceKey> {
        self.answers.keys()
    }

    /// Answers that named each cluster, per second.
    pub(super) fn answers_rps(&self, key: &ServiceKey) -> ByCluster<f64> {
        let named =
            |(cluster, count): (&Option<ClusterId>, &u64)| Some((cluster.clone()?, *count as f64 / self.seconds));
        match self.counted() {
            true => self.answers.get(key).into_iter().flatten().filter_map(named).collect(),
            false => ByCluster::new(),
        }
    }

    /// Answers that named a cluster, by service.
    pub(super) fn named(&self) -> impl Iterator<Item = (&ServiceKey, BTreeMap<ClusterId, u64>)> {
        let named = |(cluster, count): (&Option<ClusterId>, &u64)| Some((cluster.clone()?, *count));
        self.answers.iter().map(move |(key, counts)| (key, counts.iter().filter_map(named).collect()))
    }

    /// All answers per second, also those that named no cluster.
    pub(super) fn all_answers_rps(&self, key: &ServiceKey) -> f64 {
        if self.counted() { self.count(key) / self.seconds } else { 0.0 }
    }

    pub(super) fn count(&self, key: &ServiceKey) -> f64 {
        self.answers.get(key).into_iter().flat_map(BTreeMap::values).map(|count| *count as f64).sum()
    }

    /// Returns whether the number of answers differs from the expected one by more than chance explains. Small counts
    /// are uncertain: where ten answers are expected, three and twenty are both plausible.
    pub(super) fn is_significant(&self, key: &ServiceKey, expected_rps: Option<f64>, per_answer: f64) -> bool {
        let Some(expected_rps) = expected_rps else { return self.count(key) > 0.0 };
        let expected = expected_rps * self.seconds / per_answer;
        self.counted() && (self.count(key) - expected).abs() > SIGNIFICANT * expected.max(1.0).sqrt()
    }

    pub(super) fn reading(&self, key: &ServiceKey) -> Reading {
        let of = |means: &BTreeMap<ServiceKey, Mean>| means.get(key).copied().and_then(Mean::value);
        Reading { load_rps: of(&self.loads), utilization: of(&self.utilizations) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ServiceKey {
        ServiceKey::new("shop", "web").unwrap()
    }

    fn window(seconds: f64, count: u64) -> AnswerWindow {
        let east = ClusterId::new("east").unwrap();
        let mut window = AnswerWindow::default();
        for _ in 0..2 {
            let answers = BTreeMap::from([(key(), BTreeMap::from([(Some(east.clone()), count / 2)]))]);
            window.add(Measured { seconds: seconds / 2.0, answers, ..Measured::default() });
        }
        window
    }

    #[test]
    fn parts_of_a_window_are_added_up() {
        let mut both = window(10.0, 500);
        assert!((both.all_answers_rps(&key()) - 50.0).abs() < 1e-9);
        both.append(window(30.0, 500));
        assert!((both.answers_rps(&key())[&ClusterId::new("east").unwrap()] - 25.0).abs() < 1e-9, "1000 in 40 s");
    }

    #[test]
    fn rate_within_chance_is_not_significant() {
        assert!(!window(10.0, 14).is_significant(&key(), Some(1.0), 1.0), "14 where 10 were expected");
        assert!(window(10.0, 1400).is_significant(&key(), Some(100.0), 1.0));
        assert!(window(10.0, 10).is_significant(&key(), None, 1.0), "no rate was expected");
    }

    #[test]
    fn missing_readings_are_not_averaged() {
        let mut window = AnswerWindow::default();
        for load_rps in [Some(10.0), None, Some(30.0), Some(f64::NAN)] {
            let readings = BTreeMap::from([(key(), Reading { load_rps, utilization: None })]);
            window.add(Measured { readings, ..Measured::default() });
        }
        assert_eq!(window.reading(&key()), Reading { load_rps: Some(20.0), utilization: None });
    }
}
