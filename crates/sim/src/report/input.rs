//! Input of a report: a run, its comparison with other policies, and texts about them.

use crate::run::RoundOutcome;
use crate::scenario::{Scenario, ScenarioMode};
use crate::summary::Summary;
use crate::world::World;

/// Explanation of J*.
pub const OPTIMUM_LEGEND: &str = "J* is the lowest possible cost of each round with perfect foresight, with no exporter \
                                  above 90 % of its capacity where possible. A J/J* of 1.000 is perfect.";

/// Exchange rates at which the optimizer is run for comparison, in USD per ms per million requests.
pub const EXCHANGE_RATES: [f64; 6] = [10.0, 1.0, 0.1, 0.01, 0.001, 0.0001];

/// All that a report shows.
#[derive(Debug)]
pub struct RunReport<'a> {
    pub scenario: &'a Scenario,
    pub world: &'a World,
    /// Summary of each policy.
    pub summaries: &'a [Summary],
    /// Index of the policy that is shown in detail.
    pub shown: usize,
    /// Rounds of the policy that is shown in detail.
    pub outcomes: &'a [RoundOutcome],
    /// Target utilization of the optimizer.
    pub target_utilization: f64,
    /// The optimizer at each of [`EXCHANGE_RATES`].
    pub sweep: &'a [RateResult],
}

/// Mean time and price of the optimizer at one exchange rate.
#[derive(Debug, Clone, PartialEq)]
pub struct RateResult {
    pub usd_per_ms_per_million: f64,
    pub mean_ms: f64,
    pub usd_per_million: f64,
}

impl RunReport<'_> {
    /// Returns the summary of the policy that is shown.
    pub(super) fn summary(&self) -> Option<&Summary> {
        self.summaries.get(self.shown)
    }

    /// Returns the policy that is shown, then the others. The first one always has the first color.
    pub(super) fn ranked(&self) -> Vec<&Summary> {
        let others = self.summaries.iter().enumerate().filter(|(k, _)| *k != self.shown);
        self.summary().into_iter().chain(others.map(|(_, summary)| summary)).collect()
    }

    /// Returns the name of the policy that is shown.
    pub(super) fn policy(&self) -> &str {
        self.summary().map_or("", |summary| &summary.policy)
    }
}

/// Describes the scenario in one line.
pub fn headline(scenario: &Scenario) -> String {
    let Scenario { name, description, clusters, rounds, .. } = scenario;
    let colon = if description.is_empty() { "" } else { ": " };
    let line =
        format!("{name}{colon}{description}; {} clusters, {rounds} rounds, {}", clusters.len(), objective(scenario));
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Describes mode and exchange rate.
pub(super) fn objective(scenario: &Scenario) -> String {
    let mode = match scenario.objective.mode {
        ScenarioMode::Performance => "performance",
        ScenarioMode::Mixed => "mixed",
        ScenarioMode::Cost => "cost",
    };
    match scenario.usd_per_ms_per_million() {
        rate if rate > 0.0 => format!("mode {mode}, 1 ms is worth {rate} USD per million requests"),
        _ => format!("mode {mode}, prices do not count"),
    }
}

pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}
