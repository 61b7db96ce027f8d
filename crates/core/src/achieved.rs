//! Compares counted answers with the weights they were drawn by.
//!
//! The interval is Wilson's, as if draws were independent. Answers are drawn along a golden-ratio sequence, which is
//! smoother: a deviation here has more than 95 % certainty. Caches between a server and its clients are not in the
//! count; one counted answer can lead to one request or to thousands.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::ClusterId;

/// Minimum number of answers for a verdict.
pub const MIN_ANSWERS: u64 = 100;

/// Quantile of the normal distribution for 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// Share of one cluster in the counted answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Achieved {
    pub cluster: ClusterId,
    pub answers: u64,
    /// Intended share, as a fraction of 1.
    pub intended: f64,
    pub share: f64,
    /// Interval that contains the long-run share with 95 % certainty.
    pub interval: (f64, f64),
    pub verdict: Verdict,
}

/// Result of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The intended share is in the interval.
    AsIntended,
    /// The intended share is outside of the interval.
    Deviates,
    /// Fewer than [`MIN_ANSWERS`] were counted in all.
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

/// Returns one entry per cluster that has a weight or an answer, in the order of their ids. `weights` are those in
/// force while the answers were counted; they may have any sum. Returns nothing if there are no weights or no answers.
pub fn achieved(weights: &BTreeMap<ClusterId, u32>, answers: &BTreeMap<ClusterId, u64>) -> Vec<Achieved> {
    let total: u64 = weights.values().map(|&weight| u64::from(weight)).sum();
    let all: u64 = answers.values().sum();
    if total == 0 || all == 0 {
        return Vec::new();
    }
    let clusters: BTreeSet<&ClusterId> = weights.keys().chain(answers.keys()).collect();
    let one = |cluster: &ClusterId| {
        let answers = answers.get(cluster).copied().unwrap_or(0);
        let intended = f64::from(weights.get(cluster).copied().unwrap_or(0)) / total as f64;
        let interval = wilson(answers, all);
        let verdict = match (interval.0..=interval.1).contains(&intended) {
            _ if all < MIN_ANSWERS => Verdict::TooFew,
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

/// Returns the score interval of E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
/// 1927. Unlike the textbook interval it is also right near 0 and 1, where small shares are.
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
    fn interval_is_that_of_the_tables() {
        assert!(near(wilson(50, 100), (0.4038, 0.5962)));
        assert!(near(wilson(0, 100), (0.0, 0.0370)));
        assert!(near(wilson(100, 100), (0.9630, 1.0)));
        assert!(near(wilson(1, 10), (0.0179, 0.4042)));
        assert!(near(wilson(0, 0), (0.0, 1.0)));
    }

    #[test]
    fn counted_answers_are_compared_with_the_intended_shares() {
        let weights = of(&[("east", 700), ("west", 300), ("south", 0)]);
        let right = achieved(&weights, &of(&[("east", 6950_u64), ("west", 3050)]));
        assert_eq!(right.iter().map(|one| one.cluster.as_str()).collect::<Vec<_>>(), ["east", "west"]);
        assert!(right.iter().all(|one| one.verdict == Verdict::AsIntended), "{right:?}");
        assert!((right[1].share - 0.305).abs() < 1e-12 && (right[1].intended - 0.3).abs() < 1e-12);
        let wrong = achieved(&weights, &of(&[("east", 6000_u64), ("west", 3990), ("south", 10)]));
        assert!(wrong.iter().all(|one| one.verdict == Verdict::Deviates), "south was to get nothing: {wrong:?}");
    }

    #[test]
    fn few_answers_give_no_verdict() {
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
