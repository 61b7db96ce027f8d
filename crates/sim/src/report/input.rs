//! What a report is made of.

use crate::run::RoundOutcome;
use crate::scenario::{Scenario, ScenarioMode};
use crate::summary::Summary;
use crate::world::World;

/// What J* is.
pub const OPTIMUM_LEGEND: &str = "J* is the least cost of each round for somebody who knows the round beforehand, with every \
                           exporter at 90 % of its capacity or less while that is possible.";

/// The exchange rates at which ours is run to show what they buy, in USD per ms per million requests.
pub const EXCHANGE_RATES: [f64; 6] = [10.0, 1.0, 0.1, 0.01, 0.001, 0.0001];

/// What there is to report.
#[derive(Debug)]
pub struct RunReport<'a> {
    pub scenario: &'a Scenario,
    pub world: &'a World,
    /// One per policy.
    pub summaries: &'a [Summary],
    /// Which of them is looked at in detail.
    pub shown: usize,
    /// All rounds of that one.
    pub outcomes: &'a [RoundOutcome],
    /// u of ours.
    pub target_utilization: f64,
    /// Optimizer at each of [`EXCHANGE_RATES`].
    pub sweep: &'a [RateResult],
}

/// What an exchange rate buys.
#[derive(Debug, Clone, PartialEq)]
pub struct RateResult {
    pub usd_per_ms_per_million: f64,
    pub mean_ms: f64,
    pub usd_per_million: f64,
}

impl RunReport<'_> {
    pub(super) fn summary(&self) -> Option<&Summary> {
        self.summaries.get(self.shown)
    }

    /// The one that is shown, and then the others: the first colour is always its own.
    pub(super) fn ranked(&self) -> Vec<&Summary> {
        let others = self.summaries.iter().enumerate().filter(|(k, _)| *k != self.shown);
        self.summary().into_iter().chain(others.map(|(_, summary)| summary)).collect()
    }

    pub(super) fn policy(&self) -> &str {
        self.summary().map_or("", |summary| &summary.policy)
    }
}

/// What is run, in a line.
pub fn headline(scenario: &Scenario) -> String {
    let Scenario { name, description, clusters, rounds, .. } = scenario;
    let colon = if description.is_empty() { "" } else { ": " };
    let line =
        format!("{name}{colon}{description}; {} clusters, {rounds} rounds, {}", clusters.len(), objective(scenario));
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// ScenarioMode and exchange rate, in words.
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
