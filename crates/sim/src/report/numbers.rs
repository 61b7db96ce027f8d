//! Numbers as text, and the table of results.

use crate::summary::Summary;

/// Headers of the columns of [`cells`].
pub const COLUMNS: [&str; 9] = [
    "POLICY",
    "J/J*",
    "MEAN MS",
    "P99 MS",
    "USD/M",
    "REJECTED %",
    "MAX UTIL",
    "ROUNDS OVER CAPACITY",
    "MOVED PER ROUND",
];

/// Returns a row of the table.
pub fn cells(summary: &Summary) -> [String; 9] {
    [
        summary.policy.clone(),
        ratio(summary.j_over_optimum.mean),
        ms(summary.mean_ms),
        ms(summary.p99_ms),
        usd(summary.usd_per_million),
        format!("{:.2}", 100.0 * summary.rejected),
        format!("{:.3}", summary.max_utilization),
        summary.rounds_over_capacity.to_string(),
        format!("{:.4}", summary.l1_per_round),
    ]
}

/// Formats a ratio with the digits that matter.
pub(super) fn ratio(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.3}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

pub(super) fn ms(value: f64) -> String {
    format!("{value:.1}")
}

pub(super) fn usd(value: f64) -> String {
    format!("{value:.4}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_has_the_digits_that_matter() {
        for (value, expected) in [(1.0, "1.000"), (1.0049, "1.005"), (23.45, "23.4"), (171.4, "171"), (0.995, "0.995")]
        {
            assert_eq!(ratio(value), expected);
        }
    }
}
