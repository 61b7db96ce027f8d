//! Recordings of a world: a run can be repeated without random numbers, and a recorded day can be replayed.

use serde::{Deserialize, Serialize};

use crate::matrix::Matrix;
use crate::scenario::check::{self, Bounds, FACTOR, MS, RPS, USD_PER_GB, invalid, matrix, numbers};
use crate::scenario::{Invalid, Scenario};
use crate::world::{Round, World, egress_usd_per_gb, rtt_ms};

/// A recording of all rounds of a scenario. Indices are round, source, exporter.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trace {
    /// Name of the scenario.
    pub name: String,
    pub demand_rps: Vec<Vec<f64>>,
    pub advertised_capacity_rps: Vec<Vec<f64>>,
    pub true_capacity_rps: Vec<Vec<f64>>,
    /// 1 for an exporter that answers, 0 for a dead one.
    pub alive: Vec<Vec<u8>>,
    pub background_rps: Vec<f64>,
    pub demand_report_factor: Vec<f64>,
    /// 1 for a cluster without an agent.
    pub legacy: Vec<u8>,
    /// Medians of the probes. Default: the true round-trip times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_measured_ms: Option<Vec<Vec<Vec<f64>>>>,
    /// Ages of facts, in rounds. Default: the age in the scenario for all pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<Vec<Vec<Vec<usize>>>>,
    /// Default: round-trip times of the scenario, with its disruptions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<Vec<Vec<Vec<f64>>>>,
    /// Default: prices of the scenario, with its price changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_usd_per_gb: Option<Vec<Vec<Vec<f64>>>>,
    #[serde(default, rename = "optimumMsEq")]
    pub optimum_ms: RecordedOptimum,
}

/// Lowest possible cost of each round with perfect foresight, in ms per request.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordedOptimum {
    /// Cost with no exporter above 90 % of its capacity where possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headroom09: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unconstrained: Option<Vec<f64>>,
}

impl Trace {
    /// Reads JSON. [`World::replayed`] checks that the trace fits a scenario.
    pub fn read(json: &str) -> Result<Self, Invalid> {
        let deserializer = &mut serde_json::Deserializer::from_str(json);
        let trace = serde_path_to_error::deserialize(&mut *deserializer)
            .map_err(|error| explain(&error.path().to_string(), error.inner()))?;
        deserializer.end().map_err(|error| explain(".", &error))?;
        Ok(trace)
    }

    /// Records the world of a scenario and its optimum.
    pub fn recorded(scenario: &Scenario, world: &World, optimum_ms: RecordedOptimum) -> Self {
        let rounds = |value: &dyn Fn(&Round) -> Vec<f64>| world.rounds.iter().map(value).collect();
        let flags = |flags: &[bool]| flags.iter().map(|&flag| u8::from(flag)).collect();
        Self {
            name: world.name.clone(),
            demand_rps: rounds(&|round| round.demand_rps.clone()),
            advertised_capacity_rps: rounds(&|round| round.advertised_rps.clone()),
            true_capacity_rps: rounds(&|round| round.capacity_rps.clone()),
            alive: world.rounds.iter().map(|round| flags(&round.alive)).collect(),
            background_rps: world.background_rps.clone(),
            demand_report_factor: world.report_factor.clone(),
            legacy: flags(&world.legacy),
            rtt_measured_ms: unless_default(world, |round| &round.measured_rtt_ms, |t| world.rounds[t].rtt_ms.clone()),
            age: unless_default(world, |round| &round.age, |_| Matrix::filled(world.size(), world.staleness)),
            rtt_ms: unless_default(world, |round| &round.rtt_ms, |t| rtt_ms(scenario, t)),
            egress_usd_per_gb: unless_default(
                world,
                |round| &round.egress_usd_per_gb,
                |t| egress_usd_per_gb(scenario, t),
            ),
            optimum_ms,
        }
    }

    fn validate(&self, scenario: &Scenario) -> Result<(), Invalid> {
        let size = scenario.clusters.len();
        if self.name != scenario.name {
            return Err(invalid("name", format!("{:?} is not that of the scenario, {:?}", self.name, scenario.name)));
        }
        let rows =
            |name: &str, rows: &[Vec<f64>]| each_round(name, rows, scenario, |path, row| numbers(path, row, size, RPS));
        rows("demandRps", &self.demand_rps)?;
        rows("advertisedCapacityRps", &self.advertised_capacity_rps)?;
        rows("trueCapacityRps", &self.true_capacity_rps)?;
        each_round("alive", &self.alive, scenario, |path, row| flags(path, row, size))?;
        numbers("backgroundRps", &self.background_rps, size, RPS)?;
        numbers("demandReportFactor", &self.demand_report_factor, size, FACTOR)?;
        flags("legacy", &self.legacy, size)?;
        self.validate_optional(scenario)
    }

    fn validate_optional(&self, scenario: &Scenario) -> Result<(), Invalid> {
        let size = scenario.clusters.len();
        let matrices = |name: &str, rounds: &Option<Vec<Vec<Vec<f64>>>>, range: Bounds| match rounds {
            None => Ok(()),
            Some(rounds) => each_round(name, rounds, scenario, |path, rows| matrix(path, rows, size, range)),
        };
        matrices("rttMeasuredMs", &self.rtt_measured_ms, MEASURED_MS)?;
        matrices("rttMs", &self.rtt_ms, MS)?;
        matrices("egressUsdPerGb", &self.egress_usd_per_gb, USD_PER_GB)?;
        self.validate_age(scenario)?;
        let optimum = |name: &str, optimum: &Option<Vec<f64>>| match optimum {
            None => Ok(()),
            Some(optimum) => each_round(&format!("optimumMsEq.{name}"), optimum, scenario, |path, &value| {
                check::number(path, value, OPTIMUM_MS)
            }),
        };
        optimum("headroom09", &self.optimum_ms.headroom09)?;
        optimum("unconstrained", &self.optimum_ms.unconstrained)
    }

    fn validate_age(&self, scenario: &Scenario) -> Result<(), Invalid> {
        let (size, oldest) = (scenario.clusters.len(), scenario.staleness.rounds);
        let Some(age) = &self.age else {
            if scenario.staleness.per_pair && oldest > 0 {
                return Err(invalid("age", "expected, because the scenario has staleness.perPair"));
            }
            return Ok(());
        };
        each_round("age", age, scenario, |path, rows| {
            check::length(path, rows.len(), size)?;
            for (i, row) in rows.iter().enumerate() {
                let path = format!("{path}[{i}]");
                check::length(&path, row.len(), size)?;
                let age = |(j, &age)| check::whole(&format!("{path}[{j}]"), age, (0, oldest));
                row.iter().enumerate().try_for_each(age)?;
            }
            Ok(())
        })
    }
}

fn explain(path: &str, error: &serde_json::Error) -> Invalid {
    let message = error.to_string();
    let what = message.split(" at line ").next().unwrap_or_default();
    match path {
        "." | "?" => invalid(format!("line {}", error.line()), what),
        _ => invalid(path, format!("{what} (line {})", error.line())),
    }
}

/// Bounds of a measured round trip. It may exceed any true one, because the Pareto tail has no end.
const MEASURED_MS: Bounds = (0.0, 1e40);

/// Bounds of the optimum. With exchange rates near 0 it is mostly price.
const OPTIMUM_MS: Bounds = (0.0, 1e40);

fn each_round<T>(
    name: &str,
    rounds: &[T],
    scenario: &Scenario,
    check: impl Fn(&str, &T) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    if rounds.len() != scenario.rounds {
        return Err(invalid(
            name,
            format!("{}, the scenario has {}", check::count(rounds.len(), "round"), scenario.rounds),
        ));
    }
    rounds.iter().enumerate().try_for_each(|(t, round)| check(&format!("{name}[{t}]"), round))
}

fn flags(path: &str, flags: &[u8], size: usize) -> Result<(), Invalid> {
    check::length(path, flags.len(), size)?;
    match flags.iter().position(|&flag| flag > 1) {
        None => Ok(()),
        Some(i) => Err(invalid(format!("{path}[{i}]"), format!("{}: expected 0 or 1", flags[i]))),
    }
}

impl World {
    /// Returns the world of a scenario, with the recorded values instead of random ones.
    pub fn replayed(scenario: &Scenario, trace: &Trace) -> Result<Self, Invalid> {
        trace.validate(scenario)?;
        Ok(Self {
            name: scenario.name.clone(),
            clusters: scenario.clusters.clone(),
            round_seconds: scenario.round_seconds,
            rounds: (0..scenario.rounds).map(|t| trace.round(scenario, t)).collect(),
            request_bytes: scenario.request_bytes,
            response_bytes: scenario.response_bytes,
            service_ms: scenario.service.base_latency_ms.clone(),
            usd_per_ms_per_million: scenario.usd_per_ms_per_million(),
            background_rps: trace.background_rps.clone(),
            report_factor: trace.demand_report_factor.clone(),
            legacy: trace.legacy.iter().map(|&flag| flag == 1).collect(),
            staleness: scenario.staleness.rounds,
            per_pair: scenario.staleness.per_pair,
        })
    }
}

impl Trace {
    fn round(&self, scenario: &Scenario, t: usize) -> Round {
        let given = |rounds: &Option<Vec<Vec<Vec<f64>>>>| rounds.as_ref().map(|rounds| square(&rounds[t]));
        let rtt_ms = given(&self.rtt_ms).unwrap_or_else(|| rtt_ms(scenario, t));
        let ages = self.age.as_ref().map(|rounds| square(&rounds[t]));
        Round {
            demand_rps: self.demand_rps[t].clone(),
            advertised_rps: self.advertised_capacity_rps[t].clone(),
            capacity_rps: self.true_capacity_rps[t].clone(),
            alive: self.alive[t].iter().map(|&flag| flag == 1).collect(),
            measured_rtt_ms: given(&self.rtt_measured_ms).unwrap_or_else(|| rtt_ms.clone()),
            rtt_ms,
            egress_usd_per_gb: given(&self.egress_usd_per_gb).unwrap_or_else(|| egress_usd_per_gb(scenario, t)),
            age: ages.unwrap_or_else(|| Matrix::filled(scenario.clusters.len(), scenario.staleness.rounds)),
        }
    }
}

/// Returns a matrix per round. Returns `None` if all equal the default, so that the trace stays small.
fn unless_default<T: Copy + PartialEq>(
    world: &World,
    value: impl Fn(&Round) -> &Matrix<T>,
    default: impl Fn(usize) -> Matrix<T>,
) -> Option<Vec<Vec<Vec<T>>>> {
    let mut rounds = world.rounds.iter().map(&value).enumerate();
    let rows = |matrix: &Matrix<T>| matrix.rows().map(<[T]>::to_vec).collect();
    let differ = rounds.any(|(t, matrix)| *matrix != default(t));
    differ.then(|| world.rounds.iter().map(|round| rows(value(round))).collect())
}

fn square<T: Copy>(rows: &[Vec<T>]) -> Matrix<T> {
    Matrix::from_fn(rows.len(), |i, j| rows[i][j])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn scenario() -> Scenario {
        Scenario::read(
            "
apiVersion: landfall.dev/v1alpha1
kind: Scenario
name: two
rounds: 2
clusters: [east, west]
rttMs: [[1, 20], [20, 1]]
egressUsdPerGb: [[0, 0.1], [0.1, 0]]
service: {capacityRps: [100, 100], baseLatencyMs: [20, 20]}
demandRps: [50, 50]
objective: {mode: cost}
staleness: {rounds: 3}
",
        )
        .unwrap()
    }

    fn trace() -> Value {
        json!({
            "name": "two",
            "demandRps": [[50, 50], [60, 40]],
            "advertisedCapacityRps": [[100, 100], [100, 0]],
            "trueCapacityRps": [[100, 75], [100, 0]],
            "alive": [[1, 1], [1, 0]],
            "backgroundRps": [0, 10],
            "demandReportFactor": [1, 1.1],
            "legacy": [0, 1],
        })
    }

    fn replayed(trace: &Value) -> Result<World, Invalid> {
        World::replayed(&scenario(), &Trace::read(&trace.to_string())?)
    }

    /// Returns the error for the trace with another value in one field.
    fn problem(field: &str, value: Value) -> String {
        let mut trace = trace();
        trace[field] = value;
        replayed(&trace).map(|_| "none".to_owned()).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn missing_field_has_the_value_of_the_scenario() {
        let world = replayed(&trace()).unwrap();
        assert_eq!(world.legacy, [false, true]);
        assert_eq!(world.rounds[1].alive, [true, false]);
        assert!(world.rounds[0].age.rows().flatten().all(|&age| age == 3));
        assert_eq!(world.rounds[1].measured_rtt_ms, world.rounds[1].rtt_ms);
        assert!((world.rounds[1].rtt_ms[(0, 1)] - 20.0).abs() < 1e-12);
        assert!((world.usd_per_ms_per_million - 0.0001).abs() < 1e-15);
    }

    #[test]
    fn present_field_overrides_the_scenario() {
        let mut trace = trace();
        let rounds = json!([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]);
        trace["rttMs"] = rounds.clone();
        trace["egressUsdPerGb"] = rounds;
        trace["age"] = json!([[[0, 1], [2, 3]], [[0, 0], [0, 0]]]);
        let world = replayed(&trace).unwrap();
        let cell = |matrix: &Matrix<f64>, expected: f64| (matrix[(1, 0)] - expected).abs() < 1e-12;
        assert!(cell(&world.rounds[1].rtt_ms, 7.0) && cell(&world.rounds[1].measured_rtt_ms, 7.0));
        assert!(cell(&world.rounds[0].egress_usd_per_gb, 3.0));
        assert_eq!(world.rounds[0].age[(1, 1)], 3);
    }

    #[test]
    fn recorded_world_replays_identically() {
        let mut scenario = scenario();
        scenario.noise.demand_log_sigma = 0.1;
        let optimum = RecordedOptimum { headroom09: Some(vec![1.0 / 3.0, 0.1]), unconstrained: None };
        let again = |scenario: &Scenario, world: &World| {
            let trace = Trace::recorded(scenario, world, optimum.clone());
            let read = Trace::read(&serde_json::to_string(&trace).unwrap()).unwrap();
            assert_eq!(read, trace, "to the last bit");
            (World::replayed(scenario, &read).unwrap(), trace)
        };
        let plain = World::expand(&scenario);
        let (replayed, trace) = again(&scenario, &plain);
        assert_eq!(replayed, plain);
        let absent = trace.rtt_measured_ms.is_none() && trace.age.is_none() && trace.rtt_ms.is_none();
        assert!(absent && trace.egress_usd_per_gb.is_none(), "what the scenario says is not said again");

        scenario.noise.rtt_log_sigma = 0.1;
        scenario.staleness.per_pair = true;
        let noisy = World::expand(&scenario);
        let (replayed, trace) = again(&scenario, &noisy);
        assert_eq!(replayed, noisy);
        assert!(trace.rtt_measured_ms.is_some() && trace.age.is_some() && trace.rtt_ms.is_none());
    }

    #[test]
    fn field_that_does_not_fit_the_scenario_is_named() {
        let cases = [
            (("name", json!("one")), r#"name: "one" is not that of the scenario, "two""#),
            (("demandRps", json!([[50, 50]])), "demandRps: 1 round, the scenario has 2"),
            (("demandRps", json!([[50, 50], [50]])), "demandRps[1]: 1 value for 2 clusters"),
            (("demandRps", json!([[50, 50], [50, -1]])), "demandRps[1][1]: -1 is not a finite number from 0 to 1e9"),
            (("alive", json!([[1, 1], [1, 2]])), "alive[1][1]: 2: expected 0 or 1"),
            (("legacy", json!([1])), "legacy: 1 value for 2 clusters"),
            (("rttMs", json!([[[1, 2], [3, 4]], [[1, 2]]])), "rttMs[1]: 1 row for 2 clusters"),
            (("age", json!([[[0, 1], [2, 4]], [[0, 0], [0, 0]]])), "age[0][1][1]: 4: expected 0 to 3"),
            (("optimumMsEq", json!({"headroom09": [20]})), "optimumMsEq.headroom09: 1 round, the scenario has 2"),
        ];
        for ((field, value), expected) in cases {
            assert_eq!(problem(field, value), expected);
        }
    }

    #[test]
    fn text_that_is_no_trace_names_the_place() {
        let unknown = problem("colour", json!("red"));
        assert!(unknown.contains("unknown field `colour`"), "{unknown}");
        let nested = problem("demandRps", json!([[50, "x"], [50, 50]]));
        assert!(nested.starts_with("demandRps[0][1]: "), "{nested}");
        let missing = Trace::read("{}").unwrap_err().to_string();
        assert!(missing.contains("missing field `name`"), "{missing}");
        assert!(Trace::read(&format!("{} x", trace())).is_err());
        assert!(Trace::read("").is_err());
    }

    #[test]
    fn random_ages_must_be_in_the_trace() {
        let mut scenario = scenario();
        scenario.staleness.per_pair = true;
        let trace = Trace::read(&trace().to_string()).unwrap();
        let error = World::replayed(&scenario, &trace).unwrap_err().to_string();
        assert_eq!(error, "age: expected, because the scenario has staleness.perPair");
    }
}
