use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LoadBalancing, OptimizedParams};

/// How the exporting clusters of some services share their clients.
///
/// Of several policies that apply to a service the most specific one counts: one that names it, then one of its
/// namespace, then one in the operator's namespace, then the Submariner resource. Of two equally specific ones the older.
#[derive(CustomResource, JsonSchema, Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "landfall.dev",
    version = "v1alpha1",
    kind = "SelectionPolicy",
    plural = "selectionpolicies",
    shortname = "selpol",
    category = "landfall",
    namespaced,
    status = "SelectionPolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "SelectionPolicy says how the exporting clusters of some services share their clients.",
    printcolumn(name = "LoadBalancing", type_ = "string", json_path = ".spec.loadBalancing"),
    printcolumn(name = "Local", type_ = "string", json_path = ".spec.localPreference"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Accepted")].reason"#),
    printcolumn(name = "Services", type_ = "integer", json_path = ".status.services"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.weights) || (has(self.loadBalancing) && self.loadBalancing == 'weighted-round-robin')",
        "message": "weights need loadBalancing: weighted-round-robin",
    },
    {
        "rule": "!has(self.optimizedLoadBalancingParams) || !has(self.loadBalancing) || self.loadBalancing == 'optimized'",
        "message": "optimizedLoadBalancingParams need loadBalancing: optimized",
    },
    {
        "rule": "!has(self.optimized) || !has(self.loadBalancing) || self.loadBalancing == 'optimized'",
        "message": "the settings under optimized need loadBalancing: optimized",
    },
    {
        "rule": "!has(self.optimizedLoadBalancingParams) || !has(self.optimized) || !has(self.optimized.usdPerMsPerMillionRequests)",
        "message": "say one of optimizedLoadBalancingParams and optimized.usdPerMsPerMillionRequests: the one stands for values of the other",
    },
    {
        "rule": "!has(self.minShares) || self.minShares.map(c, double(self.minShares[c].replace('%', ''))).sum() <= 100.0",
        "message": "minShares must not add up to more than 100%",
    },
]))]
pub struct SelectionPolicySpec {
    /// The ServiceImports of this namespace that the policy is for. Absent: all of them; in the operator's namespace:
    /// those of every namespace.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::or_default")]
    #[schemars(length(max = 64))]
    pub target_refs: Vec<TargetRef>,
    /// Absent: as the Submariner resource says, else round-robin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancing: Option<LoadBalancing>,
    /// What the optimiser aims at; mixed where absent. Relevant with loadBalancing: optimized, also where that comes from
    /// the Submariner resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimized_load_balancing_params: Option<OptimizedParams>,
    /// How the optimiser is set, in figures; all are optional. Clusters should set the same for a service, or they plan for
    /// different fleets. Relevant with loadBalancing: optimized, also where that comes from the Submariner resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimized: Option<OptimizedSettings>,
    /// Enforce: the weights are served. Shadow: they are computed and published beside those that are served, which stay as
    /// they would be without this policy. Absent: Enforce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<Enforcement>,
    /// Prefer: clients stay in their own cluster while it exports the service and is ready, whatever its weight. Balance:
    /// the local cluster is a candidate like the others. Absent: Balance with optimized, else Prefer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_preference: Option<LocalPreference>,
    /// The first row that matches the source cluster counts.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::or_default")]
    #[schemars(length(max = 128))]
    pub weights: Vec<WeightRow>,
    /// What each cluster gets at least while it is eligible, in every mode, as a percentage with at most one decimal.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::or_default")]
    #[schemars(schema_with = "min_shares")]
    pub min_shares: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    #[serde(default = "group")]
    #[schemars(extend("enum" = ["multicluster.x-k8s.io"]))]
    pub group: String,
    #[serde(default = "kind")]
    #[schemars(extend("enum" = ["ServiceImport"]))]
    pub kind: String,
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

fn group() -> String {
    "multicluster.x-k8s.io".to_owned()
}

fn kind() -> String {
    "ServiceImport".to_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum LocalPreference {
    Prefer,
    Balance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Enforcement {
    Enforce,
    Shadow,
}

/// The schema has no defaults, so that a policy which leaves something open can be told from one that says it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.targetUtilisation)",
        "message": "spec.optimized.targetUtilisation was renamed; use spec.optimized.targetUtilization",
    },
    {
        "rule": "!has(self.utilisationQuery)",
        "message": "spec.optimized.utilisationQuery was renamed; use spec.optimized.utilizationQuery",
    },
]))]
pub struct OptimizedSettings {
    /// What it is worth to answer a million requests one millisecond sooner, in USD. Default: as
    /// optimizedLoadBalancingParams says, which stands for 10 (performance), 0.01 (mixed) or 0.0001 (cost).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "exclusiveMinimum" = true, "maximum" = 1000))]
    pub usd_per_ms_per_million_requests: Option<f64>,
    /// The part of its capacity that a cluster may be asked for before clients go elsewhere at any cost. Default: 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.1, max = 0.99))]
    pub target_utilization: Option<f64>,
    /// Former name of targetUtilization. New values are refused; values from before the renaming are still used.
    #[serde(rename = "targetUtilisation", skip_serializing_if = "Option::is_none")]
    pub former_target_utilization: Option<f64>,
    /// Bytes of a request, for its price. Default: 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1e12))]
    pub request_bytes: Option<f64>,
    /// Bytes of a response, for its price. Default: 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1e12))]
    pub response_bytes: Option<f64>,
    /// Requests per second that one ready pod can bear for long. Default: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "exclusiveMinimum" = true, "maximum" = 1e6))]
    pub capacity_rps_per_pod: Option<f64>,
    /// How often a request travels there and back: 1 over connections that stay open, 2 or 3 where each request opens one
    /// (TCP, TLS). Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0, max = 3.0))]
    pub round_trips_per_request: Option<f64>,
    /// How many requests a client makes with one answer of DNS, where nobody measures the load of the exporting clusters.
    /// Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "exclusiveMinimum" = true, "maximum" = 1e6))]
    pub requests_per_answer: Option<f64>,
    /// PromQL for the part of its capacity that the export of this cluster is asked for, 1 being all of it. $namespace and
    /// $service stand for the service's. Needs --prometheus of the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub utilization_query: Option<String>,
    /// Former name of utilizationQuery. New values are refused; values from before the renaming are still used.
    #[serde(rename = "utilisationQuery", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub former_utilization_query: Option<String>,
    /// PromQL for the requests per second that the export of this cluster is asked for. As utilizationQuery.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub load_query: Option<String>,
    /// Advanced. Clusters whose costs differ by less than this many milliseconds share as equals, by capacity. Default: 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 1000.0))]
    pub epsilon_ms: Option<f64>,
    /// Advanced. How long a round is, in seconds. Facts count as they are for 6 rounds, for less and less after that, and from
    /// 12 on not at all; weights are computed whenever something changes. Default: 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 30.0, max = 1200.0))]
    pub round_seconds: Option<f64>,
    /// Advanced. How irregular requests come and how much they differ, as a factor of the time they wait for each other: 1
    /// as by chance, less where they are regular. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 100.0))]
    pub burstiness: Option<f64>,
}

impl OptimizedSettings {
    /// Returns the fields that are set under a former name, each with the name to use, as paths from the object.
    pub fn former_names(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let target = self.former_target_utilization.is_some();
        let query = self.former_utilization_query.is_some();
        let target = target.then_some(("spec.optimized.targetUtilisation", "spec.optimized.targetUtilization"));
        let query = query.then_some(("spec.optimized.utilisationQuery", "spec.optimized.utilizationQuery"));
        target.into_iter().chain(query)
    }
}

/// The weights that the clients of one cluster see. The lower a weight, the higher the share: a cluster with half the
/// weight gets twice the share. 0 is always chosen.
#[derive(JsonSchema, Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.clusters.filter(c, self.clusters[c] == 0.0).size() <= 1",
    "message": "at most one cluster of a row may have weight 0, which means: always this one",
}]))]
pub struct WeightRow {
    /// The cluster that the clients are in; "*" for every one.
    #[schemars(length(min = 1, max = 63))]
    pub source: String,
    /// Exporting cluster: weight. A cluster that is not listed gets no share, unless none of the exporting ones is.
    #[schemars(schema_with = "weights")]
    pub clusters: BTreeMap<String, f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SelectionPolicyStatus {
    /// How many services of this cluster follow the policy.
    pub services: i32,
    #[serde(deserialize_with = "crate::or_default")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

fn min_shares(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "description": "What each cluster gets at least while it is eligible, in every mode: cluster: percentage with at most one decimal.",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "pattern": r"^(100(\.0)?|[0-9]{1,2}(\.[0-9])?)%$", "maxLength": 6},
    })
}

fn weights(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "description": "Exporting cluster: weight, 0 or more. A cluster that is not listed gets no share, unless none of the exporting ones is.",
        "minProperties": 1,
        "maxProperties": 256,
        "additionalProperties": {"type": "number", "minimum": 0},
    })
}
