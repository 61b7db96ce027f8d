//! All inputs of an optimized plan, for printing. The same computation on these inputs gives the same weights.

use std::collections::BTreeMap;

use landfall_core::optimize::cost::UnitCost;
use landfall_core::optimize::facts::{Exporter, Facts, Source};
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::PlanningInput;
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inputs {
    pub facts: FactsInput,
    /// Facts as if all exporters were ready. Absent if they are. The failover priorities of unready exporters come from
    /// these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_all_were_ready: Option<FactsInput>,
    pub objective: ObjectiveInput,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FactsInput {
    pub demand_unknown: bool,
    pub exporters: BTreeMap<String, ExporterInput>,
    pub sources: BTreeMap<String, SourceInput>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExporterInput {
    pub capacity_rps: f64,
    pub residual_rps: f64,
    pub service_ms: f64,
    pub measured_rps: f64,
    pub deviation: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceInput {
    pub demand_rps: f64,
    /// Path costs by exporter. An unreachable exporter is absent.
    pub costs: BTreeMap<String, CostInput>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CostInput {
    pub latency_ms: f64,
    pub price_ms: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectiveInput {
    pub usd_per_ms_per_million: f64,
    pub request_bytes: f64,
    pub response_bytes: f64,
    pub round_trips: f64,
    pub capacity_rps_per_pod: f64,
    pub round_seconds: f64,
    pub requests_per_answer: f64,
    /// Clusters with a different hash plan with different settings.
    pub parameter_hash: String,
    pub tuning: BTreeMap<&'static str, f64>,
}

impl Inputs {
    pub fn of(known: &PlanningInput, objective: &Objective) -> Self {
        Self {
            facts: FactsInput::of(&known.facts),
            if_all_were_ready: known.if_all_ready.as_ref().map(FactsInput::of),
            objective: ObjectiveInput::of(objective),
        }
    }
}

impl FactsInput {
    fn of(facts: &Facts) -> Self {
        Self {
            demand_unknown: facts.demand_unknown,
            exporters: facts.exporters.iter().map(|(id, exporter)| (id.to_string(), exporter.into())).collect(),
            sources: facts.sources.iter().map(|(id, source)| (id.to_string(), source.into())).collect(),
        }
    }
}

impl From<&Exporter> for ExporterInput {
    fn from(
        &Exporter { capacity_rps, residual_rps, service_ms, measured_rps, measured_at: _, deviation }: &Exporter,
    ) -> Self {
        Self { capacity_rps, residual_rps, service_ms, measured_rps, deviation }
    }
}

impl From<&Source> for SourceInput {
    fn from(Source { demand_rps, counted: _, costs }: &Source) -> Self {
        let cost = |&UnitCost { latency_ms, price_ms }: &UnitCost| CostInput { latency_ms, price_ms };
        let costs = costs.iter().map(|(exporter, path_cost)| (exporter.to_string(), cost(path_cost)));
        Self { demand_rps: *demand_rps, costs: costs.collect() }
    }
}

impl ObjectiveInput {
    fn of(objective: &Objective) -> Self {
        Self {
            usd_per_ms_per_million: objective.rate.usd(),
            request_bytes: objective.bytes.per_request,
            response_bytes: objective.bytes.per_response,
            round_trips: objective.round_trips,
            capacity_rps_per_pod: objective.capacity_rps_per_pod,
            round_seconds: objective.round_seconds,
            requests_per_answer: objective.requests_per_answer,
            parameter_hash: format!("{:016x}", objective.parameter_hash()),
            tuning: objective.tuning.settings().into(),
        }
    }
}
