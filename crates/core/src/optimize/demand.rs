//! What the clients of a cluster ask for, from the answers of DNS that they got.
//!
//! An answer is not a request: a client keeps it for a second or for an hour, and makes one request with it or a million. But
//! exporters measure what came, everybody counts the answers that named them, and what came over what was answered is how many
//! requests an answer brings:
//!
//! ```text
//! r_j = y_j / Σ_k A_kj          λ_i = Σ_j r_j A_ij          so that          Σ_i λ_i = Σ_j y_j
//! ```
//!
//! Load of clients that Landfall never answered is in this, in proportion.

use std::collections::BTreeMap;

use crate::name::{ByCluster, ClusterId};
use crate::optimize::facts::{MOST_RPS, within};

/// With fewer in a window the next answer changes the quotient by more than a demand may err.
pub const LEAST_ANSWERS: f64 = 20.0;

/// Who claims to get less or more with an answer counts it otherwise, or has a load of another origin.
const REQUESTS_PER_ANSWER: (f64, f64) = (0.01, 10_000.0);

/// Answers per second that named an exporter: by the cluster of who asked, and the exporter.
pub type Answers = BTreeMap<ClusterId, ByCluster<f64>>;

/// Of one service, in one window, as all clusters say.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The own ones too.
    pub answers: &'a Answers,
    /// What the exporters measured, those that do.
    pub loads_rps: &'a ByCluster<f64>,
    pub window_seconds: f64,
    /// What an answer brings where nobody can tell.
    pub requests_per_answer: f64,
}

impl Observed<'_> {
    /// What the clients of a cluster asked for.
    pub fn demand_rps(&self, source: &ClusterId) -> f64 {
        let answers = self.answers.get(source).into_iter().flatten();
        answers.map(|(exporter, &answers)| self.requests_per_answer(exporter) * rps(answers)).sum()
    }

    /// What an exporter was asked for as far as answers tell: for one that does not measure it.
    pub fn answered_rps(&self, exporter: &ClusterId) -> f64 {
        self.requests_per_answer * self.answers_of(exporter)
    }

    /// How many requests an answer that names this exporter brings to it.
    pub fn requests_per_answer(&self, exporter: &ClusterId) -> f64 {
        self.measured_per_answer(exporter).unwrap_or(self.requests_per_answer)
    }

    /// The same. `None`: nobody can tell.
    pub fn measured_per_answer(&self, exporter: &ClusterId) -> Option<f64> {
        self.quotient(*self.loads_rps.get(exporter)?, self.answers_of(exporter))
    }

    /// Of all exporters that measure together, so that it is no matter whom answers named while loads were measured.
    pub fn mean_per_answer(&self) -> Option<f64> {
        let loads = self.loads_rps.values().map(|&load| rps(load)).sum();
        self.quotient(loads, self.loads_rps.keys().map(|exporter| self.answers_of(exporter)).sum())
    }

    fn quotient(&self, load: f64, answers: f64) -> Option<f64> {
        let enough = answers * self.window_seconds >= LEAST_ANSWERS;
        enough.then(|| within(rps(load) / answers, REQUESTS_PER_ANSWER, self.requests_per_answer))
    }

    fn answers_of(&self, exporter: &ClusterId) -> f64 {
        self.answers.values().filter_map(|row| row.get(exporter)).map(|&answers| rps(answers)).sum()
    }
}

/// What others say is not taken for granted.
fn rps(said: f64) -> f64 {
    within(said, (0.0, MOST_RPS), 0.0)
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

    fn observed<'a>(answers: &'a Answers, loads_rps: &'a ByCluster<f64>) -> Observed<'a> {
        Observed { answers, loads_rps, window_seconds: 300.0, requests_per_answer: 2.0 }
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
        assert!(near(observed.demand_rps(&id("north")), 0.0), "who was not answered asked for nothing");
    }

    #[test]
    fn the_mean_is_the_same_while_answers_name_others_than_when_loads_were_measured() {
        let loads = row(&[("east", 900.0), ("west", 100.0)]);
        for (east, west) in [(9.0, 1.0), (1.0, 9.0)] {
            let answers = [(id("east"), row(&[("east", east), ("west", west), ("north", 5.0)]))].into();
            assert_eq!(observed(&answers, &loads).mean_per_answer(), Some(100.0), "north does not measure");
        }
        assert_eq!(observed(&Answers::new(), &loads).mean_per_answer(), None);
    }

    #[test]
    fn where_nobody_measures_or_answers_are_few_the_policy_says_what_one_brings() {
        let answers = [(id("east"), row(&[("east", 3.0), ("west", 0.05)]))].into();
        let loads = row(&[("west", 400.0)]);
        let observed = observed(&answers, &loads);
        assert!(near(observed.requests_per_answer(&id("east")), 2.0), "it does not measure");
        assert!(near(observed.requests_per_answer(&id("west")), 2.0), "15 answers in five minutes");
        assert!(near(observed.demand_rps(&id("east")), 6.1));
        assert!(near(observed.answered_rps(&id("east")), 6.0) && near(observed.answered_rps(&id("north")), 0.0));
        let longer = Observed { window_seconds: 400.0, ..observed };
        assert!(near(longer.requests_per_answer(&id("west")), 8000.0), "20 are enough");
    }

    #[test]
    fn nothing_is_believed_that_an_answer_cannot_bring() {
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
            // No more than what anybody is believed.
            let load = |j: usize| (brings[j] * answered(j)).min(MOST_RPS);
            let loads = (0..CLUSTERS).filter(|&j| answered(j) > 0.0).map(|j| (name(j), load(j))).collect();
            let observed = observed(&all, &loads);
            let demands: f64 = all.keys().map(|source| observed.demand_rps(source)).sum();
            prop_assert!(near(demands, loads.values().sum()), "{demands} of {loads:?}");
            prop_assert!(all.keys().all(|source| observed.demand_rps(source) >= 0.0));
        }

        #[test]
        fn without_loads_demands_add_up_to_what_the_answers_bring(
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
