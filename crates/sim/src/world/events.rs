//! Demand, capacity, round trips and prices of a round without noise. Values missing from a list count as 0.

use std::f64::consts::TAU;

use crate::matrix::Matrix;
use crate::scenario::{Scenario, ScenarioEvent};

/// Returns one value per cluster, whatever the length of the list.
pub(super) fn each(scenario: &Scenario, values: &[f64]) -> Vec<f64> {
    (0..scenario.clusters.len()).map(|i| values.get(i).copied().unwrap_or_default()).collect()
}

pub(super) fn demand_rps(scenario: &Scenario, round: usize) -> Vec<f64> {
    let mut demand = each(scenario, &scenario.demand_rps);
    for (i, rps) in demand.iter_mut().enumerate() {
        *rps *= scenario.events.iter().map(|event| growth(event, &scenario.clusters[i], i, round)).product::<f64>();
    }
    demand
}

/// Returns the factor of an event on the demand of a cluster.
fn growth(event: &ScenarioEvent, name: &str, index: usize, round: usize) -> f64 {
    let factor = match event {
        ScenarioEvent::DemandScale { cluster, factor, from_round, to_round, ramp_rounds }
            if cluster == name && (*from_round..*to_round).contains(&round) =>
        {
            1.0 + (factor - 1.0) * (count(round - from_round + 1) / count(*ramp_rounds).max(1.0)).min(1.0)
        }
        ScenarioEvent::Peak { cluster, factor, at_round, width_rounds } if cluster == name => {
            1.0 + (factor - 1.0) * (-0.5 * ((count(round) - at_round) / width_rounds).powi(2)).exp()
        }
        ScenarioEvent::Diurnal { amplitude, period_rounds, longitude } => {
            let longitude = longitude.get(index).copied().unwrap_or_default();
            1.0 + amplitude * (TAU * (count(round) / period_rounds + longitude / 360.0)).sin()
        }
        ScenarioEvent::DemandScale { .. }
        | ScenarioEvent::Peak { .. }
        | ScenarioEvent::Outage { .. }
        | ScenarioEvent::PriceChange { .. }
        | ScenarioEvent::RttDisruption { .. } => 1.0,
    };
    // A peak without width or a day without length has no factor.
    if factor.is_finite() { factor.max(0.0) } else { 1.0 }
}

/// Returns advertised capacities: 0 for a cluster that does not export, and during an outage.
pub(super) fn capacity_rps(scenario: &Scenario, round: usize) -> Vec<f64> {
    let mut capacity = each(scenario, &scenario.service.capacity_rps);
    for (rps, name) in capacity.iter_mut().zip(&scenario.clusters) {
        if scenario.events.iter().any(|event| is_out(event, name, round)) {
            *rps = 0.0;
        }
    }
    capacity
}

fn is_out(event: &ScenarioEvent, name: &str, round: usize) -> bool {
    matches!(event, ScenarioEvent::Outage { cluster, from_round, to_round }
        if cluster == name && (*from_round..*to_round).contains(&round))
}

/// Returns the round-trip times of a round. Disruptions apply in the order of the file.
pub fn rtt_ms(scenario: &Scenario, round: usize) -> Matrix<f64> {
    let mut rtt = matrix(scenario, &scenario.rtt_ms);
    for event in &scenario.events {
        let ScenarioEvent::RttDisruption { from, to, factor, add_ms, from_round, to_round } = event else { continue };
        if !(*from_round..*to_round).contains(&round) {
            continue;
        }
        let there = Direction { from: Some(from), to: to.as_deref() };
        let back = Direction { from: to.as_deref(), to: Some(from) };
        change(&mut rtt, scenario, &[there, back], |ms| ms * factor + add_ms);
    }
    rtt
}

/// Returns the egress prices of a round, from the row's cluster to the column's. The last price change in the file wins.
pub fn egress_usd_per_gb(scenario: &Scenario, round: usize) -> Matrix<f64> {
    let mut egress = matrix(scenario, &scenario.egress_usd_per_gb);
    for event in &scenario.events {
        let ScenarioEvent::PriceChange { from, to, usd_per_gb, from_round, to_round } = event else { continue };
        if (*from_round..*to_round).contains(&round) {
            let direction = Direction { from: from.as_deref(), to: to.as_deref() };
            change(&mut egress, scenario, &[direction], |_| *usd_per_gb);
        }
    }
    egress
}

/// A direction between clusters. `None` stands for all clusters.
#[derive(Clone, Copy)]
struct Direction<'a> {
    from: Option<&'a str>,
    to: Option<&'a str>,
}

impl Direction<'_> {
    fn matches(&self, from: &str, to: &str) -> bool {
        self.from.is_none_or(|name| name == from) && self.to.is_none_or(|name| name == to)
    }
}

/// Changes the cells of all pairs of different clusters that match a direction, each once.
fn change(cells: &mut Matrix<f64>, scenario: &Scenario, directions: &[Direction<'_>], new: impl Fn(f64) -> f64) {
    for (i, from) in scenario.clusters.iter().enumerate() {
        for (j, to) in scenario.clusters.iter().enumerate() {
            if i != j && directions.iter().any(|direction| direction.matches(from, to)) {
                cells[(i, j)] = new(cells[(i, j)]);
            }
        }
    }
}

fn matrix(scenario: &Scenario, rows: &[Vec<f64>]) -> Matrix<f64> {
    let cell = |i: usize, j: usize| rows.get(i).and_then(|row| row.get(j)).copied().unwrap_or_default();
    Matrix::from_fn(scenario.clusters.len(), cell)
}

#[expect(clippy::cast_precision_loss, reason = "rounds are far fewer than 2^53")]
fn count(rounds: usize) -> f64 {
    rounds as f64
}
