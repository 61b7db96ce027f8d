//! Estimates the demand of a cluster's clients from the DNS answers that they got.
//!
//! An answer is not a request: a client keeps an answer for a second or an hour, and makes one request with it or a
//! million. But exporters measure their load y, and all clusters count the answers A that named an exporter. Their
//! quotient r is the number of requests per answer, and gives the demand λ of each source:
//!
//! ```text
//! r_j = y_j / Σ_k A_kj          λ_i = Σ_j r_j A_ij          so that          Σ_i λ_i = Σ_j y_j
//! ```
//!
//! Load from clients that Landfall does not answer is included in proportion.

use std::collections::BTreeMap;

use crate::name::{ByCluster, ClusterId};
use crate::optimize::facts::{MAX_RPS, within};

/// Minimum number of answers in a window. With fewer, one more answer changes the quotient by more than the error that
/// a demand may have.
pub const MIN_ANSWERS: f64 = 20.0;

/// Range of requests per answer. An exporter outside of it counts differently, or has load of another origin.
const REQUESTS_PER_ANSWER: (f64, f64) = (0.01, 10_000.0);

/// Answers per second, by the source cluster and the exporter that they named.
pub type Answers = BTreeMap<ClusterId, ByCluster<f64>>;

/// Answers and loads of one service in one window, as all clusters report them.
#[derive(Debug, Clone, Copy)]
pub struct AnswerModel<'a> {
    /// Answers of all source clusters, the local one included.
    pub answers: &'a Answers,
    /// Measured loads, of the exporters that measure theirs.
    pub loads_rps: &'a ByCluster<f64>,
    pub window_seconds: f64,
    /// Requests per answer where they cannot be measured.
    pub requests_per_answer: f64,
}

impl AnswerModel<'_> {
    /// Returns the demand of the clients of a source cluster.
    pub fn demand_rps(&self, source: &ClusterId) -> f64 {
        let answers = self.answers.get(source).into_iter().flatten();
        answers.map(|(exporter, &answers)| self.requests_per_answer(exporter) * rps(answers)).sum()
    }

    /// Returns the load of an exporter estimated from answers alone, for an exporter that does not measure it.
    pub fn answered_rps(&self, exporter: &ClusterId) -> f64 {
        self.requests_per_answer * self.answers_of(exporter)
    }

    /// Returns the number of requests per answer that named the exporter.
    pub fn requests_per_answer(&self, exporter: &ClusterId) -> f64 {
        self.measured_per_answer(exporter).unwrap_or(self.requests_per_answer)
    }

    /// Returns the measured number of requests per answer, or `None` without a measured load or with too few answers.
    pub fn measured_per_answer(&self, exporter: &ClusterId) -> Option<f64> {
        self.quotient(*self.loads_rps.get(exporter)?, self.answers_of(exporter))
    }

    /// Returns the requests per answer over all exporters that measure, so that the distribution of the answers among
    /// them does not matter.
    pub fn mean_per_answer(&self) -> Option<f64> {
        let loads = self.loads_rps.values().map(|&load| rps(load)).sum();
        self.quotient(loads, self.loads_rps.keys().map(|exporter| self.answers_of(exporter)).sum())
    }

    fn quotient(&self, load: f64, answers: f64) -> Option<f64> {
        let enough = answers * self.window_seconds >= MIN_ANSWERS;
        enough.then(|| within(rps(load) / answers, REQUESTS_PER_ANSWER, self.requests_per_answer))
    }

    fn answers_of(&self, exporter: &ClusterId) -> f64 {
        self.answers.values().filter_map(|row| row.get(exporter)).map(|&answers| rps(answers)).sum()
    }
}

/// Clamps a reported number to the possible range.
fn rps(reported: f64) -> f64 {
    within(reported, (0.0, MAX_RPS), 0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    fn row(numbers: &[(&str, f64)]) -> ByCluster<f64> {
        numbers.iter().map(|(name, number)| (id(name), *number)).collect()
    }

    fn observed<'a>(answers: &'a Answers, loads_rps: &'a ByCluster<f64>) -> AnswerModel<'a> {
        AnswerModel { answers, loads_rps, window_seconds: 300.0, requests_per_answer: 2.0 }
    }

    fn near(number: f64, expected: f64) -> bool {
        (number - expected).abs() <= 1e-9 * expected.abs().max(1.0)
    }

    #[test]
    fn the_load_of_an_exporter_is_split_by_the_answers_that_named_it() {
        let answers = [(id("east"), row(&[("east", 3.0), ("west", 1.0)])), (id("west"), row(&[("west", 1.0)]))].into();
        let loads = row(&[("east", 600.0), ("west", 100.0)]);
        let observed = observed(&answers, &loads);
        assert!(near(observed.requests_per_answer(&id("east")), 200.0));
        assert!(near(observed.demand_rps(&id("east")), 650.0) && near(observed.demand_rps(&id("west")), 50.0));
        assert!(near(observed.demand_rps(&id("north")), 0.0), "a cluster without answers has no demand");
    }

    #[test]
    fn mean_does_not_depend_on_the_exporters_that_answers_named() {
        let loads = row(&[("east", 900.0), ("west", 100.0)]);
        for (east, west) in [(9.0, 1.0), (1.0, 9.0)] {
            let answers = [(id("east"), row(&[("east", east), ("west", west), ("north", 5.0)]))].into();
            assert_eq!(observed(&answers, &loads).mean_per_answer(), Some(100.0), "north does not measure");
        }
        assert_eq!(observed(&Answers::new(), &loads).mean_per_answer(), None);
    }

    #[test]
    fn without_measurements_or_with_few_answers_the_setting_of_the_policy_counts() {
        let answers = [(id("east"), row(&[("east", 3.0), ("west", 0.05)]))].into();
        let loads = row(&[("west", 400.0)]);
        let observed = observed(&answers, &loads);
        assert!(near(observed.requests_per_answer(&id("east")), 2.0), "it does not measure");
        assert!(near(observed.requests_per_answer(&id("west")), 2.0), "15 answers in five minutes");
        assert!(near(observed.demand_rps(&id("east")), 6.1));
        assert!(near(observed.answered_rps(&id("east")), 6.0) && near(observed.answered_rps(&id("north")), 0.0));
        let longer = AnswerModel { window_seconds: 400.0, ..observed };
        assert!(near(longer.requests_per_answer(&id("west")), 8000.0), "20 are enough");
    }

    #[test]
    fn requests_per_answer_are_clamped_to_a_plausible_range() {
        let answers: Answers = [(id("east"), row(&[("east", 1.0), ("west", 1.0)]))].into();
        let brings = |load: f64| {
            let loads = row(&[("east", load)]);
            observed(&answers, &loads).requests_per_answer(&id("east"))
        };
        assert!(near(brings(1e6), 10_000.0) && near(brings(1e-6), 0.01) && near(brings(0.0), 0.01));
        for nonsense in [f64::NAN, f64::INFINITY, -1.0] {
            assert!((0.01..=10_000.0).contains(&brings(nonsense)), "{nonsense}");
            let odd: Answers = [(id("east"), row(&[("east", nonsense)]))].into();
            let loads = row(&[("east", 100.0)]);
            let demand = observed(&odd, &loads).demand_rps(&id("east"));
            assert!(demand.is_finite() && demand >= 0.0, "{nonsense}: {demand}");
        }
    }

    const CLUSTERS: usize = 6;

    proptest! {
        #[test]
        fn demands_add_up_to_the_loads_when_all_are_known(
            answers in proptest::collection::vec(proptest::option::of(0.5_f64..5000.0), CLUSTERS * CLUSTERS),
            brings in proptest::collection::vec(0.02_f64..9000.0, CLUSTERS),
        ) {
            let name = |i: usize| id(&format!("c{i}"));
            let of = |i: usize| (0..CLUSTERS).filter_map(|j| Some((name(j), answers[i * CLUSTERS + j]?))).collect();
            let all: Answers = (0..CLUSTERS).map(|i| (name(i), of(i))).collect();
            let answered = |j: usize| all.values().filter_map(|row| row.get(&name(j))).sum::<f64>();
            // At most what a report may claim.
            let load = |j: usize| (brings[j] * answered(j)).min(MAX_RPS);
            let loads = (0..CLUSTERS).filter(|&j| answered(j) > 0.0).map(|j| (name(j), load(j))).collect();
            let observed = observed(&all, &loads);
            let demands: f64 = all.keys().map(|source| observed.demand_rps(source)).sum();
            prop_assert!(near(demands, loads.values().sum()), "{demands} of {loads:?}");
            prop_assert!(all.keys().all(|source| observed.demand_rps(source) >= 0.0));
        }

        #[test]
        fn without_loads_demands_add_up_to_the_answers_times_the_setting(
            answers in proptest::collection::vec(0.0_f64..5000.0, CLUSTERS * CLUSTERS),
        ) {
            let name = |i: usize| id(&format!("c{i}"));
            let of = |i: usize| (0..CLUSTERS).map(|j| (name(j), answers[i * CLUSTERS + j])).collect();
            let all: Answers = (0..CLUSTERS).map(|i| (name(i), of(i))).collect();
            let loads = ByCluster::new();
            let observed = observed(&all, &loads);
            let demands: f64 = all.keys().map(|source| observed.demand_rps(source)).sum();
            let answered: f64 = all.keys().map(|exporter| observed.answered_rps(exporter)).sum();
            prop_assert!(near(demands, answered), "{demands} {answered}");
        }
    }
}
