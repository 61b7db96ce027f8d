//! The policy of a service as accepted from the user, with its defaults filled in.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::apportion::TOTAL_WEIGHT;
use crate::name::ClusterId;
use crate::optimize::objective::Objective;

/// Mode in which the exporters of a service share its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    #[default]
    RoundRobin,
    WeightedRoundRobin,
    Optimized,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::RoundRobin, Self::WeightedRoundRobin, Self::Optimized];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::WeightedRoundRobin => "weighted-round-robin",
            Self::Optimized => "optimized",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Preference of a source cluster for its own export while that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LocalPreference {
    /// The local export has weight 0, whatever its row says: while it is eligible it gets all requests.
    Prefer,
    /// The local export is a candidate like any other.
    Balance,
}

impl LocalPreference {
    /// Returns the preference of a policy that does not set one: that of Lighthouse, except where the optimizer
    /// decides.
    pub fn default_for(mode: Mode) -> Self {
        match mode {
            Mode::RoundRobin | Mode::WeightedRoundRobin => Self::Prefer,
            Mode::Optimized => Self::Balance,
        }
    }
}

/// Weight as users write it. The *lower* the weight, the higher the share; 0 is always chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weight {
    /// Positive and finite.
    Finite(f64),
    /// Gets all requests while it is eligible.
    Zero,
    /// Negative, infinite or not a number: such a candidate gets no share, and its reason says why.
    Invalid,
}

impl From<f64> for Weight {
    fn from(weight: f64) -> Self {
        if weight.is_finite() && weight > 0.0 {
            Self::Finite(weight)
        } else if weight == 0.0 {
            Self::Zero
        } else {
            Self::Invalid
        }
    }
}

/// Weights of the exporters for the clients of one source cluster, or of every one.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightRow {
    /// `None` matches every source.
    source: Option<ClusterId>,
    weights: BTreeMap<ClusterId, Weight>,
}

impl WeightRow {
    pub fn new(source: Option<ClusterId>, weights: BTreeMap<ClusterId, Weight>) -> Result<Self, InvalidPolicy> {
        let mut zeros = weights.iter().filter(|(_, weight)| **weight == Weight::Zero).map(|(cluster, _)| cluster);
        if let (Some(first), Some(second)) = (zeros.next(), zeros.next()) {
            let row = source.as_ref().map_or_else(|| "*".to_owned(), ToString::to_string);
            return Err(InvalidPolicy::TwoZeroWeights { row, first: first.clone(), second: second.clone() });
        }
        Ok(Self { source, weights })
    }

    pub fn weight(&self, cluster: &ClusterId) -> Option<Weight> {
        self.weights.get(cluster).copied()
    }

    fn matches(&self, source: &ClusterId) -> bool {
        self.source.as_ref().is_none_or(|only| only == source)
    }
}

/// Minimum share of each named cluster while it is eligible, in parts of [`TOTAL_WEIGHT`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MinShares(BTreeMap<ClusterId, u32>);

impl MinShares {
    pub fn new(shares: BTreeMap<ClusterId, u32>) -> Result<Self, InvalidPolicy> {
        let sum: u64 = shares.values().map(|&share| u64::from(share)).sum();
        if sum > u64::from(TOTAL_WEIGHT) {
            return Err(InvalidPolicy::MinSharesOver100 { permille: sum });
        }
        Ok(Self(shares))
    }

    pub fn get(&self, cluster: &ClusterId) -> u32 {
        self.0.get(cluster).copied().unwrap_or(0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidPolicy {
    #[error(
        "the row for source {row:?} gives weight 0 to both {first} and {second}; 0 means \"always this one\", so at \
         most one cluster of a row can have it"
    )]
    TwoZeroWeights { row: String, first: ClusterId, second: ClusterId },
    #[error("minShares add up to {}.{} %, more than 100 %", permille / 10, permille % 10)]
    MinSharesOver100 { permille: u64 },
}

/// The policy that applies to a service. Which of several policies that is has been decided before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// `namespace/name` of the object; `None` for the cluster-wide default.
    pub name: Option<Arc<str>>,
    pub mode: Mode,
    /// `None` for the default of the mode.
    pub local_preference: Option<LocalPreference>,
    /// The first row that matches the source cluster counts.
    pub rows: Vec<WeightRow>,
    pub min_shares: MinShares,
    /// Used in optimized mode only.
    pub objective: Objective,
}

impl Policy {
    pub fn row(&self, source: &ClusterId) -> Option<&WeightRow> {
        self.rows.iter().find(|row| row.matches(source))
    }

    pub fn local_preference(&self) -> LocalPreference {
        self.local_preference.unwrap_or_else(|| LocalPreference::default_for(self.mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ClusterId {
        ClusterId::new(name).unwrap()
    }

    fn row(source: Option<&str>, weights: &[(&str, f64)]) -> Result<WeightRow, InvalidPolicy> {
        let weights = weights.iter().map(|&(cluster, weight)| (id(cluster), Weight::from(weight))).collect();
        WeightRow::new(source.map(id), weights)
    }

    #[test]
    fn one_zero_weight_in_a_row_is_accepted_and_two_are_refused() {
        assert!(row(None, &[("a", 0.0), ("b", 1.0)]).is_ok());
        let refused = row(Some("x"), &[("a", 0.0), ("b", -0.0), ("c", 1.0)]).unwrap_err().to_string();
        assert!(refused.contains("\"x\"") && refused.contains("both a and b"), "{refused}");
    }

    #[test]
    fn the_first_row_that_matches_the_source_counts() {
        let policy = Policy {
            rows: vec![row(Some("x"), &[("a", 1.0)]).unwrap(), row(None, &[("a", 2.0)]).unwrap()],
            ..Policy::default()
        };
        assert_eq!(policy.row(&id("x")).unwrap().weight(&id("a")), Some(Weight::Finite(1.0)));
        assert_eq!(policy.row(&id("y")).unwrap().weight(&id("a")), Some(Weight::Finite(2.0)));
    }

    #[test]
    fn min_shares_may_add_up_to_100_percent_and_not_more() {
        let shares = |a, b| MinShares::new(BTreeMap::from([(id("a"), a), (id("b"), b)]));
        assert!(shares(400, 600).is_ok());
        assert_eq!(shares(400, 605).unwrap_err().to_string(), "minShares add up to 100.5 %, more than 100 %");
        assert!(shares(u32::MAX, u32::MAX).is_err());
    }

    #[test]
    fn weight_that_is_not_a_finite_number_is_invalid_rather_than_zero() {
        for weight in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
            assert_eq!(Weight::from(weight), Weight::Invalid);
        }
        assert_eq!(Weight::from(-0.0), Weight::Zero);
    }
}
