//! Summaries: one row of a table per run.

use serde::Serialize;

use crate::judge::{flows, p99_ms};
use crate::run::RoundOutcome;
use crate::world::World;

/// Maximum number of warm-up rounds, in which facts are missing. At most a third of all rounds is warm-up.
const WARM_UP: usize = 10;

/// Results of a run. Means are over rounds after the warm-up. All numbers are finite: a mean of nothing is 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub policy: String,
    /// Number of rounds, including the warm-up.
    pub rounds: usize,
    /// Mean time over rounds in which requests were served.
    pub mean_ms: f64,
    pub p99_ms: f64,
    /// Mean price over rounds in which requests were served.
    pub usd_per_million: f64,
    /// Rejected fraction of requests, from 0 to 1.
    pub rejected: f64,
    /// Highest utilization of an exporter with capacity.
    pub max_utilization: f64,
    /// Number of rounds in which the load of an exporter exceeded its capacity.
    pub rounds_over_capacity: usize,
    pub l1_per_round: f64,
    pub j_over_optimum: OverOptimum,
}

/// Cost over the optimum. The ratio is 1 without requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverOptimum {
    /// Mean cost over mean optimum, after the warm-up.
    pub mean: f64,
    /// Ratio in the first round with facts, which is the second round.
    pub first: f64,
    /// Highest ratio after the warm-up.
    pub max: f64,
    /// Ratio of each round, including the warm-up.
    pub per_round: Vec<f64>,
}

/// Summarizes a run. `optimum_ms` has the lowest possible cost of each round.
pub fn summarize(policy: &str, world: &World, outcomes: &[RoundOutcome], optimum_ms: &[f64]) -> Summary {
    let steady = steady(outcomes);
    let served = |outcome: &&RoundOutcome| {
        outcome.rejected < 1.0 && outcome.segments.iter().any(|s| s.judgment.served_rps > 0.0)
    };
    let overloaded = |outcome: &&RoundOutcome| outcome.utilization.iter().any(|utilization| *utilization > 1.0);
    let utilization = steady.iter().flat_map(|outcome| &outcome.utilization).copied().filter(|part| part.is_finite());
    Summary {
        policy: policy.to_owned(),
        rounds: outcomes.len(),
        mean_ms: mean(steady.iter().filter(served).map(|outcome| outcome.mean_ms)),
        p99_ms: p99(world, outcomes),
        usd_per_million: mean(steady.iter().filter(served).map(|outcome| outcome.usd_per_million)),
        rejected: mean(steady.iter().map(|outcome| outcome.rejected)),
        max_utilization: utilization.fold(0.0, f64::max),
        rounds_over_capacity: steady.iter().filter(overloaded).count(),
        l1_per_round: mean(steady.iter().map(|outcome| outcome.l1)),
        j_over_optimum: over_optimum(outcomes, optimum_ms),
    }
}

/// Compares the cost of each round with its optimum.
pub fn over_optimum(outcomes: &[RoundOutcome], optimum_ms: &[f64]) -> OverOptimum {
    let costs: Vec<f64> = outcomes.iter().map(|outcome| outcome.cost_ms).collect();
    let per_round: Vec<f64> = costs.iter().zip(optimum_ms).map(|(cost, least)| ratio(*cost, *least)).collect();
    OverOptimum {
        mean: ratio(mean(steady(&costs).iter().copied()), mean(steady(optimum_ms).iter().copied())),
        first: per_round.get(1).or_else(|| per_round.first()).copied().unwrap_or(1.0),
        max: steady(&per_round).iter().copied().fold(0.0, f64::max),
        per_round,
    }
}

/// Returns the 99th percentile over all requests after the warm-up.
fn p99(world: &World, outcomes: &[RoundOutcome]) -> f64 {
    let warm_up = warm_up(outcomes.len());
    let rounds = world.rounds.iter().zip(outcomes).skip(warm_up);
    let segments = rounds.flat_map(|(round, outcome)| outcome.segments.iter().map(move |segment| (round, segment)));
    p99_ms(segments.flat_map(move |(round, segment)| {
        let flows = flows(world, round, &segment.shares, &segment.judgment.queues);
        flows.map(|flow| flow.lasting(segment.seconds))
    }))
}

/// Returns the rounds after the warm-up.
fn steady<T>(rounds: &[T]) -> &[T] {
    &rounds[warm_up(rounds.len())..]
}

/// Returns the number of warm-up rounds.
pub fn warm_up(rounds: usize) -> usize {
    WARM_UP.min(rounds / 3)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

fn ratio(cost: f64, least: f64) -> f64 {
    if least > 0.0 { cost / least } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::baselines::Baseline;
    use crate::run::run;
    use crate::run::tests::two_clusters;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * (1.0 + b.abs())
    }

    fn of(world: &World, optimum_ms: f64) -> (Vec<RoundOutcome>, Summary) {
        let outcomes = run(world, Baseline::Nearest.policy().as_mut());
        let summary = summarize("nearest", world, &outcomes, &vec![optimum_ms; world.rounds.len()]);
        (outcomes, summary)
    }

    fn all_finite(value: &Value) -> bool {
        match value {
            Value::Null => false,
            Value::Array(values) => values.iter().all(all_finite),
            Value::Object(fields) => fields.values().all(all_finite),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }

    #[test]
    fn ratio_is_of_means_without_the_warm_up() {
        let mut world = two_clusters(9);
        world.rounds[0].demand_rps[0] = 300.0;
        world.rounds[5].demand_rps[0] = 190.0;
        let (outcomes, summary) = of(&world, 20.0);
        let cost = |t: usize| outcomes[t].cost_ms;
        let ratios = &summary.j_over_optimum;
        assert_eq!(ratios.per_round.len(), 9);
        assert!(near(ratios.mean, (3..9).map(cost).sum::<f64>() / 6.0 / 20.0));
        assert!(near(ratios.first, cost(1) / 20.0) && near(ratios.max, cost(5) / 20.0));
        assert!(near(summary.max_utilization, 0.95) && summary.rounds_over_capacity == 0);
        world.rounds[7].demand_rps[0] = 300.0;
        let (_, summary) = of(&world, 20.0);
        assert!(summary.rounds_over_capacity == 1 && near(summary.rejected, 0.25 / 6.0), "{summary:?}");
    }

    #[test]
    fn single_round_counts_as_the_first() {
        let (outcomes, summary) = of(&two_clusters(1), 10.0);
        assert!(near(summary.j_over_optimum.first, outcomes[0].cost_ms / 10.0));
    }

    #[test]
    fn json_fields_are_stable() {
        let (_, summary) = of(&two_clusters(3), 20.0);
        let json = serde_json::to_value(&summary).unwrap();
        let mut fields: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        let expected = [
            "jOverOptimum",
            "l1PerRound",
            "maxUtilization",
            "meanMs",
            "p99Ms",
            "policy",
            "rejected",
            "rounds",
            "roundsOverCapacity",
            "usdPerMillion",
        ];
        assert_eq!(fields, expected);
        let mut ratios: Vec<&str> = json["jOverOptimum"].as_object().unwrap().keys().map(String::as_str).collect();
        ratios.sort_unstable();
        assert_eq!(ratios, ["first", "max", "mean", "perRound"]);
    }

    #[test]
    fn world_without_demand_or_capacity_has_a_finite_summary() {
        let mut idle = two_clusters(4);
        idle.rounds.iter_mut().for_each(|round| round.demand_rps = vec![0.0; 2]);
        let (_, summary) = of(&idle, 0.0);
        assert!(all_finite(&serde_json::to_value(&summary).unwrap()) && near(summary.j_over_optimum.mean, 1.0));

        let mut gone = two_clusters(4);
        gone.rounds.iter_mut().for_each(|round| round.capacity_rps = vec![0.0; 2]);
        let (_, summary) = of(&gone, 11_000.0);
        assert!(all_finite(&serde_json::to_value(&summary).unwrap()) && near(summary.rejected, 1.0));
        assert!(near(summary.max_utilization, 0.0) && summary.rounds_over_capacity == 3, "{summary:?}");
        assert!(near(summary.p99_ms, 1e4) && near(summary.j_over_optimum.mean, 1.0));
    }
}
