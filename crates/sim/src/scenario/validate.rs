//! Checks that a scenario can be run: complete, finite, and small enough for memory.

use super::check::{self, FACTOR, Invalid, MS, RPS, USD_PER_GB, cluster, invalid, matrix, number, numbers, whole};
use super::schema::{Scenario, ScenarioEvent};

const API_VERSION: &str = "landfall.dev/v1alpha1";
const KIND: &str = "Scenario";

const MAX_CLUSTERS: usize = 200;
const MAX_ROUNDS: usize = 10_000;

/// Limit of rounds × clusters². A world and a run hold some ten matrices per round, so this is about a gigabyte.
const MAX_CELLS: usize = 10_000_000;

/// Limit of events, because each costs time in each round.
const MAX_EVENTS: usize = 1_000;

/// Bounds of the length of a round. The maximum is a day.
const ROUND_SECONDS: check::Bounds = (1.0, 86_400.0);

/// Bounds of a size. The maximum is a terabyte.
const BYTES: check::Bounds = (0.0, 1e12);

/// Bounds of an exchange rate, so that price over rate stays finite. 0 has a meaning of its own.
const RATE: check::Bounds = (1e-9, 1e9);

/// Bounds of σ of a logarithm. At the maximum, one value in twenty is wrong by more than a factor of e².
const LOG_SIGMA: check::Bounds = (0.0, 1.0);

const PART: check::Bounds = (0.0, 1.0);

/// Bounds of α. Below 0.5 a Pareto tail exceeds the range of a double.
const TAIL: check::Bounds = (0.5, 100.0);

const ROUNDS: check::Bounds = (0.0, 1e4);

/// Bounds of the width of a peak and of a period, which must exceed a point.
const WIDTH: check::Bounds = (0.1, 1e6);

const LONGITUDE: check::Bounds = (-360.0, 360.0);

impl Scenario {
    /// Checks whether the scenario can be run. An overload, no demand or no exporter is valid; a negative number or NaN is
    /// not.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.validate_header()?;
        self.validate_network()?;
        self.validate_service()?;
        if self.events.len() > MAX_EVENTS {
            return Err(invalid("events", format!("{}: expected at most {MAX_EVENTS}", self.events.len())));
        }
        for (k, event) in self.events.iter().enumerate() {
            event.validate(&format!("events[{k}]"), self)?;
        }
        self.validate_extremes()?;
        self.validate_noise()?;
        whole("staleness.rounds", self.staleness.rounds, (0, MAX_ROUNDS))?;
        self.validate_model_error()
    }

    fn validate_header(&self) -> Result<(), Invalid> {
        let Self { api_version, kind, .. } = self;
        if api_version != API_VERSION {
            return Err(invalid("apiVersion", format!("{api_version:?} is not {API_VERSION}")));
        }
        if kind != KIND {
            return Err(invalid("kind", format!("{kind:?} is not {KIND}")));
        }
        if self.name.trim().is_empty() {
            return Err(invalid("name", "expected a name"));
        }
        number("roundSeconds", self.round_seconds, ROUND_SECONDS)?;
        whole("rounds", self.rounds, (1, MAX_ROUNDS))?;
        self.validate_clusters()?;
        let size = self.clusters.len();
        let most = MAX_CELLS / (size * size);
        if self.rounds > most {
            let what = format!("{} with {size} clusters are too many: expected at most {most}", self.rounds);
            return Err(invalid("rounds", what));
        }
        Ok(())
    }

    fn validate_clusters(&self) -> Result<(), Invalid> {
        let clusters = &self.clusters;
        let refuse =
            |found: &str| invalid("clusters", format!("{found}: expected 1 to {MAX_CLUSTERS} names, each once"));
        if !(1..=MAX_CLUSTERS).contains(&clusters.len()) {
            return Err(refuse(&clusters.len().to_string()));
        }
        for (i, name) in clusters.iter().enumerate() {
            if name.trim().is_empty() {
                return Err(invalid(format!("clusters[{i}]"), "expected a name"));
            }
            if clusters[..i].contains(name) {
                return Err(refuse(&format!("{name:?} twice")));
            }
        }
        Ok(())
    }

    fn validate_network(&self) -> Result<(), Invalid> {
        let size = self.clusters.len();
        matrix("rttMs", &self.rtt_ms, size, MS)?;
        matrix("egressUsdPerGb", &self.egress_usd_per_gb, size, USD_PER_GB)?;
        number("requestBytes", self.request_bytes, BYTES)?;
        number("responseBytes", self.response_bytes, BYTES)
    }

    fn validate_service(&self) -> Result<(), Invalid> {
        let size = self.clusters.len();
        numbers("service.capacityRps", &self.service.capacity_rps, size, RPS)?;
        numbers("service.baseLatencyMs", &self.service.base_latency_ms, size, MS)?;
        numbers("demandRps", &self.demand_rps, size, RPS)?;
        match self.objective.usd_per_ms_per_million_requests {
            Some(rate) if rate.abs() > 0.0 || rate.is_nan() => {
                number("objective.usdPerMsPerMillionRequests", rate, RATE)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Checks the highest demand and round-trip time that all events together can cause.
    fn validate_extremes(&self) -> Result<(), Invalid> {
        for (i, (demand, name)) in self.demand_rps.iter().zip(&self.clusters).enumerate() {
            let most = self.events.iter().fold(*demand, |rps, event| rps * event.max_growth(name));
            number(&format!("demandRps[{i}]"), most, RPS)
                .map_err(|error| Invalid { what: format!("with all events at once {}", error.what), ..error })?;
        }
        let longest = self.rtt_ms.iter().flatten().copied().fold(0.0, f64::max);
        let most = self.events.iter().fold(longest, |ms, event| event.max_delayed_ms(ms));
        number("rttMs", most, MS)
            .map_err(|error| Invalid { what: format!("with all events at once {}", error.what), ..error })
    }

    fn validate_noise(&self) -> Result<(), Invalid> {
        let noise = &self.noise;
        number("noise.demandLogSigma", noise.demand_log_sigma, LOG_SIGMA)?;
        number("noise.demandWalkSigma", noise.demand_walk_sigma, LOG_SIGMA)?;
        number("noise.demandParetoProb", noise.demand_pareto_prob, PART)?;
        if noise.demand_pareto_prob > 0.0 || noise.demand_pareto_alpha.abs() > 0.0 {
            number("noise.demandParetoAlpha", noise.demand_pareto_alpha, TAIL)?;
        }
        number("noise.demandExponentialPart", noise.demand_exponential_part, PART)?;
        number("noise.rttLogSigma", noise.rtt_log_sigma, LOG_SIGMA)?;
        number("noise.rttSpikeProb", noise.rtt_spike_prob, PART)?;
        if noise.rtt_spike_prob > 0.0 || noise.rtt_spike_alpha.abs() > 0.0 {
            number("noise.rttSpikeAlpha", noise.rtt_spike_alpha, TAIL)?;
        }
        number("noise.rttSpikeMs", noise.rtt_spike_ms, MS)
    }

    fn validate_model_error(&self) -> Result<(), Invalid> {
        let error = &self.model_error;
        for (name, &factor) in &error.true_capacity_factor {
            cluster("modelError.trueCapacityFactor", name, &self.clusters)?;
            number(&format!("modelError.trueCapacityFactor.{name}"), factor, FACTOR)?;
        }
        for (name, &rps) in &error.background_rps {
            cluster("modelError.backgroundRps", name, &self.clusters)?;
            number(&format!("modelError.backgroundRps.{name}"), rps, RPS)?;
        }
        number("modelError.demandReportSigma", error.demand_report_sigma, LOG_SIGMA)?;
        let legacy =
            |(k, name): (usize, &String)| cluster(&format!("modelError.legacyNearest[{k}]"), name, &self.clusters);
        error.legacy_nearest.iter().enumerate().try_for_each(legacy)
    }
}

impl ScenarioEvent {
    fn validate(&self, path: &str, scenario: &Scenario) -> Result<(), Invalid> {
        self.validate_clusters(path, &scenario.clusters)?;
        let at = |field: &str| format!("{path}.{field}");
        match self {
            Self::Outage { from_round, to_round, .. } => span(path, *from_round, *to_round),
            Self::DemandScale { factor, from_round, to_round, ramp_rounds, .. } => {
                number(&at("factor"), *factor, FACTOR)?;
                whole(&at("rampRounds"), *ramp_rounds, (1, MAX_ROUNDS))?;
                span(path, *from_round, *to_round)
            }
            Self::Peak { factor, at_round, width_rounds, .. } => {
                number(&at("factor"), *factor, FACTOR)?;
                number(&at("atRound"), *at_round, ROUNDS)?;
                number(&at("widthRounds"), *width_rounds, WIDTH)
            }
            Self::Diurnal { amplitude, period_rounds, longitude } => {
                number(&at("amplitude"), *amplitude, PART)?;
                number(&at("periodRounds"), *period_rounds, WIDTH)?;
                numbers(&at("longitude"), longitude, scenario.clusters.len(), LONGITUDE)
            }
            Self::PriceChange { usd_per_gb, from_round, to_round, .. } => {
                number(&at("usdPerGb"), *usd_per_gb, USD_PER_GB)?;
                span(path, *from_round, *to_round)
            }
            Self::RttDisruption { factor, add_ms, from_round, to_round, .. } => {
                number(&at("factor"), *factor, FACTOR)?;
                number(&at("addMs"), *add_ms, MS)?;
                span(path, *from_round, *to_round)
            }
        }
    }

    fn validate_clusters(&self, path: &str, clusters: &[String]) -> Result<(), Invalid> {
        let named = match self {
            Self::Outage { cluster, .. } | Self::DemandScale { cluster, .. } | Self::Peak { cluster, .. } => {
                [("cluster", Some(cluster)), ("", None)]
            }
            Self::PriceChange { from, to, .. } => [("from", from.as_ref()), ("to", to.as_ref())],
            Self::RttDisruption { from, to, .. } => [("from", Some(from)), ("to", to.as_ref())],
            Self::Diurnal { .. } => return Ok(()),
        };
        let mut named = named.into_iter().filter_map(|(field, name)| Some((field, name?)));
        named.try_for_each(|(field, name)| cluster(&format!("{path}.{field}"), name, clusters))
    }

    /// Returns the highest factor of the event on the demand of a cluster.
    fn max_growth(&self, of: &str) -> f64 {
        match self {
            Self::DemandScale { cluster, factor, .. } | Self::Peak { cluster, factor, .. } if cluster == of => {
                factor.max(1.0)
            }
            Self::Diurnal { amplitude, .. } => 1.0 + amplitude,
            Self::DemandScale { .. }
            | Self::Peak { .. }
            | Self::Outage { .. }
            | Self::PriceChange { .. }
            | Self::RttDisruption { .. } => 1.0,
        }
    }

    fn max_delayed_ms(&self, rtt_ms: f64) -> f64 {
        match self {
            Self::RttDisruption { factor, add_ms, .. } => rtt_ms * factor.max(1.0) + add_ms,
            Self::Outage { .. }
            | Self::DemandScale { .. }
            | Self::Peak { .. }
            | Self::Diurnal { .. }
            | Self::PriceChange { .. } => rtt_ms,
        }
    }
}

fn span(path: &str, from_round: usize, to_round: usize) -> Result<(), Invalid> {
    if from_round < to_round {
        return Ok(());
    }
    Err(invalid(format!("{path}.toRound"), format!("{to_round}: expected a round after fromRound, {from_round}")))
}

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;

    const TWO: &str = "
apiVersion: landfall.dev/v1alpha1
kind: Scenario
name: two
rounds: 10
clusters: [east, west]
rttMs: [[1, 20], [20, 1]]
egressUsdPerGb: [[0, 0.1], [0.1, 0]]
service: {capacityRps: [100, 100], baseLatencyMs: [20, 20]}
demandRps: [50, 50]
objective: {mode: mixed}
";

    /// Returns the error for the scenario with a part of its text replaced.
    fn problem(old: &str, new: &str) -> String {
        assert!(TWO.contains(old), "{old}");
        Scenario::read(&TWO.replace(old, new)).map(|_| "none".to_owned()).unwrap_or_else(|error| error.to_string())
    }

    fn with(line: &str) -> String {
        Scenario::read(&format!("{TWO}{line}\n")).map(|_| "none".to_owned()).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn short_scenario_has_defaults() {
        let scenario = Scenario::read(TWO).unwrap();
        assert!((scenario.round_seconds - 300.0).abs() < 1e-9);
        assert!((scenario.usd_per_ms_per_million() - 0.01).abs() < 1e-15);
        let json = serde_json::to_string(&scenario).unwrap();
        assert_eq!(Scenario::read(&json).unwrap(), scenario, "what is written is read again");
    }

    #[test]
    fn invalid_value_is_named_with_its_field() {
        let cases = [
            (("v1alpha1", "v1"), r#"apiVersion: "landfall.dev/v1" is not landfall.dev/v1alpha1"#),
            (("kind: Scenario", "kind: Trace"), r#"kind: "Trace" is not Scenario"#),
            (("name: two", "name: ''"), "name: expected a name"),
            (("rounds: 10", "rounds: 0"), "rounds: 0: expected 1 to 10000"),
            (("rounds: 10", "rounds: 10001"), "rounds: 10001: expected 1 to 10000"),
            (("[east, west]", "[east, east]"), r#"clusters: "east" twice: expected 1 to 200 names, each once"#),
            (("[east, west]", "[east, '']"), "clusters[1]: expected a name"),
            (("[east, west]", "[]"), "clusters: 0: expected 1 to 200 names, each once"),
            (("[[1, 20], [20, 1]]", "[[1, 20]]"), "rttMs: 1 row for 2 clusters"),
            (("[[1, 20], [20, 1]]", "[[1, 20], [20]]"), "rttMs[1]: 1 value for 2 clusters"),
            (("[20, 1]]", "[-3, 1]]"), "rttMs[1][0]: -3 is not a finite number from 0 to 1e6"),
            (("[20, 1]]", "[.nan, 1]]"), "rttMs[1][0]: NaN is not a finite number from 0 to 1e6"),
            (("[[0, 0.1]", "[[0, .inf]"), "egressUsdPerGb[0][1]: inf is not a finite number from 0 to 1e6"),
            (("[50, 50]", "[50]"), "demandRps: 1 value for 2 clusters"),
            (("[50, 50]", "[50, 2e9]"), "demandRps[1]: 2e9 is not a finite number from 0 to 1e9"),
            (("[100, 100]", "[100, -1]"), "service.capacityRps[1]: -1 is not a finite number from 0 to 1e9"),
            (
                ("{mode: mixed}", "{mode: mixed, usdPerMsPerMillionRequests: -1}"),
                "objective.usdPerMsPerMillionRequests: -1 is not a finite number from 1e-9 to 1e9",
            ),
        ];
        for ((old, new), expected) in cases {
            assert_eq!(problem(old, new), expected);
        }
    }

    #[test]
    fn event_must_name_a_cluster_of_the_fleet_and_end_after_it_begins() {
        let cases = [
            (
                "events: [{type: outage, cluster: aws-x, fromRound: 1, toRound: 2}]",
                r#"events[0].cluster: "aws-x" is not one of clusters"#,
            ),
            (
                "events: [{type: outage, cluster: east, fromRound: 2, toRound: 2}]",
                "events[0].toRound: 2: expected a round after fromRound, 2",
            ),
            (
                "events: [{type: diurnal, amplitude: 1.5, periodRounds: 9, longitude: [0, 0]}]",
                "events[0].amplitude: 1.5 is not a finite number from 0 to 1",
            ),
            (
                "events: [{type: diurnal, amplitude: 0.5, periodRounds: 9, longitude: [0]}]",
                "events[0].longitude: 1 value for 2 clusters",
            ),
            (
                "events: [{type: rttDisruption, from: east, to: north, fromRound: 1, toRound: 2}]",
                r#"events[0].to: "north" is not one of clusters"#,
            ),
            (
                "modelError: {legacyNearest: [east, north]}",
                r#"modelError.legacyNearest[1]: "north" is not one of clusters"#,
            ),
            ("modelError: {backgroundRps: {north: 1}}", r#"modelError.backgroundRps: "north" is not one of clusters"#),
            ("noise: {rttSpikeProb: 0.1}", "noise.rttSpikeAlpha: 0 is not a finite number from 0.5 to 100"),
        ];
        for (line, expected) in cases {
            assert_eq!(with(line), expected);
        }
    }

    #[test]
    fn events_that_together_exceed_a_limit_are_refused() {
        let scale = "{type: demandScale, cluster: east, factor: 1000, fromRound: 1, toRound: 2}";
        assert_eq!(
            with(&format!("events: [{scale}, {scale}, {scale}]")),
            "demandRps[0]: with all events at once 5e10 is not a finite number from 0 to 1e9"
        );
        assert_eq!(with(&format!("events: [{scale}, {scale}]")), "none");
        let delay = "{type: rttDisruption, from: east, factor: 1000, fromRound: 1, toRound: 2}";
        assert_eq!(
            with(&format!("events: [{delay}, {delay}]")),
            "rttMs: with all events at once 2e7 is not a finite number from 0 to 1e6"
        );
    }

    #[test]
    fn scenario_that_exceeds_memory_is_refused() {
        let names: Vec<String> = (0..200).map(|i| format!("c{i}")).collect();
        let mut scenario = Scenario::read(TWO).unwrap();
        scenario.clusters = names;
        scenario.rounds = 251;
        assert_eq!(
            scenario.validate().unwrap_err().to_string(),
            "rounds: 251 with 200 clusters are too many: expected at most 250"
        );
    }

    #[test]
    fn text_that_is_no_scenario_names_the_place() {
        assert!(
            problem("rounds: 10", "rounds: ten").starts_with("rounds: "),
            "{}",
            problem("rounds: 10", "rounds: ten")
        );
        let unknown = problem("rounds: 10", "rounds: 10\ncolour: red");
        assert!(unknown.contains("colour") && unknown.contains("line 6"), "{unknown}");
        let nested = problem("[20, 1]]", "[x, 1]]");
        assert!(nested.starts_with("rttMs[1][0]: "), "{nested}");
        let event = with("events: [{type: flood, cluster: east}]");
        assert!(event.starts_with("events[0].type: ") && event.contains("flood"), "{event}");
        let broken = problem("[east, west]", "[east, west");
        assert!(broken.contains("line 7"), "{broken}");
        assert!(Scenario::read("").is_err());
    }

    #[test]
    fn scenario_without_capacity_demand_or_prices_is_valid() {
        assert_eq!(problem("[100, 100]", "[0, 0]"), "none");
        assert_eq!(problem("[50, 50]", "[0, 0]"), "none");
        assert_eq!(problem("{mode: mixed}", "{mode: mixed, usdPerMsPerMillionRequests: 0}"), "none");
    }
}
