//! Whether clients were sent where they should have been: answers that were counted, against the weights they were drawn by.
//!
//! The interval is Wilson's, as if each answer were drawn by a die. Answers are drawn along a golden-ratio sequence, which
//! is smoother than that: what deviates here does so with more than 95 % certainty. What caches between a server and its
//! clients make of an answer is not in the count; one counted answer can lead to one request or to thousands.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::ClusterId;

/// Fewer answers say nothing about a weight.
pub const LEAST_ANSWERS: u64 = 100;

/// Of the normal distribution, for 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// What one cluster got.
#[derive(Debug, Clone, PartialEq)]
pub struct Achieved {
    pub cluster: ClusterId,
    pub answers: u64,
    /// Parts of 1.
    pub intended: f64,
    pub share: f64,
    /// Where the share would be, with 95 % certainty, if there had been answers without end.
    pub interval: (f64, f64),
    pub verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The intended share is in the interval.
    AsIntended,
    Deviates,
    /// Fewer than [`LEAST_ANSWERS`] were counted in all.
    TooFew,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsIntended => "AsIntended",
            Self::Deviates => "Deviates",
            Self::TooFew => "TooFew",
        }
    }
}

/// One per cluster that has a weight or an answer, by their ids. `weights` are those that were in force while the answers were
/// counted, of any total. Empty: nobody has a weight, or nothing was answered.
pub fn achieved(weights: &BTreeMap<ClusterId, u32>, answers: &BTreeMap<ClusterId, u64>) -> Vec<Achieved> {
    let whole: u64 = weights.values().map(|&weight| u64::from(weight)).sum();
    let all: u64 = answers.values().sum();
    if whole == 0 || all == 0 {
        return Vec::new();
    }
    let clusters: BTreeSet<&ClusterId> = weights.keys().chain(answers.keys()).collect();
    let one = |cluster: &ClusterId| {
        let answers = answers.get(cluster).copied().unwrap_or(0);
        let intended = f64::from(weights.get(cluster).copied().unwrap_or(0)) / whole as f64;
        let interval = wilson(answers, all);
        let verdict = match (interval.0..=interval.1).contains(&intended) {
            _ if all < LEAST_ANSWERS => Verdict::TooFew,
            true => Verdict::AsIntended,
            false => Verdict::Deviates,
        };
        Achieved { cluster: cluster.clone(), answers, intended, share: answers as f64 / all as f64, interval, verdict }
    };
    let of = |cluster: &&ClusterId| {
        weights.get(*cluster).is_some_and(|w| *w > 0) || answers.get(*cluster).is_some_and(|n| *n > 0)
    };
    clusters.into_iter().filter(of).map(one).collect()
}

/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927. Unlike the textbook interval it
/// is right near 0 and 1 too, where small shares are.
pub fn wilson(hits: u64, of: u64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let n = of as f64;
    let p = hits.min(of) as f64 / n;
    let z2 = Z * Z / n;
    let middle = p + z2 / 2.0;
    let reach = Z * (p * (1.0 - p) / n + z2 / (4.0 * n)).sqrt();
    let bound = |edge: f64| (edge / (1.0 + z2)).clamp(0.0, 1.0);
    let low = if hits == 0 { 0.0 } else { bound(middle - reach) };
    let high = if hits >= of { 1.0 } else { bound(middle + reach) };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    fn of<T: Copy>(parts: &[(&str, T)]) -> BTreeMap<ClusterId, T> {
        parts.iter().map(|&(name, part)| (id(name), part)).collect()
    }

    fn near(a: (f64, f64), b: (f64, f64)) -> bool {
        (a.0 - b.0).abs() < 5e-5 && (a.1 - b.1).abs() < 5e-5
    }

    #[test]
    fn the_interval_is_that_of_the_tables() {
        assert!(near(wilson(50, 100), (0.4038, 0.5962)));
        assert!(near(wilson(0, 100), (0.0, 0.0370)));
        assert!(near(wilson(100, 100), (0.9630, 1.0)));
        assert!(near(wilson(1, 10), (0.0179, 0.4042)));
        assert!(near(wilson(0, 0), (0.0, 1.0)));
    }

    #[test]
    fn what_was_answered_is_compared_with_what_was_meant() {
        let weights = of(&[("east", 700), ("west", 300), ("south", 0)]);
        let right = achieved(&weights, &of(&[("east", 6950_u64), ("west", 3050)]));
        assert_eq!(right.iter().map(|one| one.cluster.as_str()).collect::<Vec<_>>(), ["east", "west"]);
        assert!(right.iter().all(|one| one.verdict == Verdict::AsIntended), "{right:?}");
        assert!((right[1].share - 0.305).abs() < 1e-12 && (right[1].intended - 0.3).abs() < 1e-12);
        let wrong = achieved(&weights, &of(&[("east", 6000_u64), ("west", 3990), ("south", 10)]));
        assert!(wrong.iter().all(|one| one.verdict == Verdict::Deviates), "nothing was meant for south: {wrong:?}");
    }

    #[test]
    fn a_few_answers_accuse_nobody() {
        let weights = of(&[("east", 1000)]);
        assert_eq!(achieved(&weights, &of(&[("west", 99_u64)]))[0].verdict, Verdict::TooFew);
        let enough = achieved(&weights, &of(&[("west", 100_u64)]));
        assert!(enough.iter().all(|one| one.verdict == Verdict::Deviates), "{enough:?}");
    }

    #[test]
    fn without_answers_or_weights_there_is_nothing_to_compare() {
        assert!(achieved(&of(&[("east", 1000)]), &of(&[("east", 0_u64)])).is_empty());
        assert!(achieved(&of(&[("east", 0)]), &of(&[("east", 10_u64)])).is_empty());
        assert!(achieved(&BTreeMap::new(), &BTreeMap::new()).is_empty());
    }
}
