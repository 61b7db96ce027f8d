//! Replays the baselines in eighteen scenarios and compares their costs with those of an independent implementation of world,
//! policies and judge. Without this check, comparisons with the optimizer would prove nothing. Expected figures are rounded
//! as printed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use landfall_sim::baselines::Baseline;
use landfall_sim::run::{RoundOutcome, run};
use landfall_sim::summary::over_optimum;

mod replayed;

/// Mean cost over mean optimum. Columns are in the order of [`replayed::ALL`].
///
/// For F, selfish was printed as 3.99 with 0.28 % rejected. Sources that react to each other amplify the last digit of a
/// demand. With the rounded demands of the trace, the independent implementation has the figures below.
const OVER_OPTIMUM: &str = "
round-robin               1.475 33 3.18 229 7.26 3.14 3.99 4.08 11 11 11 1.194 12 26 28 4.74 4.03 61
inverse-weight            1.023 86 41 39 1.793 1.178 5.50 13 21 21 21 1.259 20 39 60 2.13 1.136 2.14
inverse-weight-local-zero 1.000 89 64 6.01 12 14 5.10 20 33 33 33 1.414 31 52 65 3.87 1.039 24
nearest                   1.000 171 64 6.01 12 14 17 20 33 33 33 1.414 31 52 65 3.87 1.039 24
istio-failover            1.000 171 64 6.01 12 14 17 20 33 33 33 1.414 31 52 65 3.87 1.039 24
topology-aware            1.000 1.025 2.36 214 6.98 3.16 2.09 1.969 3.42 3.42 3.42 1.234 3.33 2.45 2.74 4.74 3.24 73
waterfall-rtt             1.000 1.095 1.031 11 1.101 1.036 1.011 2.34 1.031 1.040 1.040 1.214 1.939 1.061 1.020 1.053 1.039 1.089
waterfall-cost            1.000 1.095 1.031 1.000 1.000 1.098 1.011 2.34 1.031 1.040 1.040 1.214 1.939 1.032 1.020 1.053 1.039 1.089
selfish                   1.000 127 86 0.995 1.002 1.030 1.001 4.07 1.006 49 1.327 2.33 71 39 90 39 1.007 1.001
cheapest-last-round       1.000 177 152 5.99 52 111 45 48 140 118 134 2.60 153 66 135 82 126 128
";

/// Rejected requests in percent.
const REJECTED: &str = "
round-robin               0.00 3.85 0.00 0.00 0.00 0.00 0.00 0.00 0.55 0.55 0.55 23.57 0.92 16.79 7.01 0.00 0.00 8.50
inverse-weight            0.00 17.12 8.49 0.00 0.00 0.00 0.17 1.70 2.33 2.33 2.33 25.93 2.30 27.71 19.20 0.01 0.00 0.02
inverse-weight-local-zero 0.00 17.97 13.96 0.00 0.00 0.00 0.11 3.07 4.79 4.79 4.79 29.91 4.78 39.87 21.24 0.07 0.00 1.94
nearest                   0.00 38.46 13.96 0.00 0.00 0.00 2.50 3.07 4.79 4.79 4.79 29.91 4.78 39.87 21.24 0.07 0.00 1.94
istio-failover            0.00 38.46 13.96 0.00 0.00 0.00 2.50 3.07 4.79 4.79 4.79 29.91 4.78 39.87 21.24 0.07 0.00 1.94
topology-aware            0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00 23.08 0.00 0.00 0.00 0.00 0.00 11.08
waterfall-rtt             0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.21 0.00 0.00 0.00 23.08 0.03 0.00 0.00 0.00 0.00 0.00
waterfall-cost            0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.21 0.00 0.00 0.00 23.08 0.03 0.00 0.00 0.00 0.00 0.00
selfish                   0.00 25.97 24.67 0.00 0.00 0.00 0.00 0.29 0.00 8.82 0.03 54.68 14.36 29.11 28.42 7.62 0.00 0.00
cheapest-last-round       0.00 38.46 42.03 0.00 8.73 18.25 7.90 7.65 26.62 21.74 25.73 61.54 31.16 50.93 43.59 16.69 20.65 21.77
";

/// Relative tolerance beyond the rounding of the table. Traces are rounded too, to a hundredth of a request and of a
/// millisecond.
const TOLERANCE: f64 = 0.005;

/// Returns the printed figures of a baseline, by scenario.
fn printed(table: &str, baseline: Baseline) -> Vec<&str> {
    let row = table.lines().find(|row| row.split_whitespace().next() == Some(baseline.as_str())).unwrap();
    row.split_whitespace().skip(1).collect()
}

/// Returns true if a value rounds to the printed figure, within the tolerance.
fn agrees(value: f64, printed: &str) -> bool {
    let decimals = printed.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let half = 0.5 * 0.1_f64.powi(i32::try_from(decimals).unwrap());
    let expected: f64 = printed.parse().unwrap();
    (value - expected).abs() <= 1.001 * half + TOLERANCE * expected
}

#[test]
fn baselines_cost_as_much_as_in_an_independent_implementation() {
    let mut wrong = Vec::new();
    for (k, replay) in replayed::all().enumerate() {
        let name = &replay.name;
        for baseline in Baseline::ALL {
            let outcomes = run(&replay.world, baseline.policy().as_mut());
            let ratio = over_optimum(&outcomes, &replay.optimum_ms).mean;
            let rejected = 100.0 * rejected(&outcomes[replay.skip()..]);
            for (what, value, table) in [("J/J*", ratio, OVER_OPTIMUM), ("rejected %", rejected, REJECTED)] {
                let expected = printed(table, baseline)[k];
                if !agrees(value, expected) {
                    wrong.push(format!("{name}: {what} of {baseline} is {value:.4}, not {expected}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn rejected(outcomes: &[RoundOutcome]) -> f64 {
    outcomes.iter().map(|outcome| outcome.rejected).sum::<f64>() / outcomes.len() as f64
}
