use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::submariner::{LoadBalancing, OptimizedParams};

/// Load balancing of the selected services between the clusters that export them.
///
/// If several policies apply to a service, the most specific one is used: a policy that names the service, then one for
/// its namespace, then one for all namespaces (in the operator's namespace), then the Submariner resource. Of two
/// equally specific policies the older one is used; the newer one gets the condition Accepted=False with reason
/// Conflicted.
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
    doc = "SelectionPolicy sets how the clusters that export a service share its requests.",
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
        "message": "spec.weights need loadBalancing: weighted-round-robin; set it, or remove spec.weights",
    },
    {
        "rule": "!has(self.optimizedLoadBalancingParams) || !has(self.loadBalancing) || \
                 self.loadBalancing == 'optimized'",
        "message": "spec.optimizedLoadBalancingParams need loadBalancing: optimized; set it, or remove \
                    spec.optimizedLoadBalancingParams",
    },
    {
        "rule": "!has(self.optimized) || !has(self.loadBalancing) || self.loadBalancing == 'optimized'",
        "message": "the settings in spec.optimized need loadBalancing: optimized; set it, or remove spec.optimized",
    },
    {
        "rule": "!has(self.optimizedLoadBalancingParams) || !has(self.optimized) || \
                 !has(self.optimized.usdPerMsPerMillionRequests)",
        "message": "spec.optimizedLoadBalancingParams and spec.optimized.usdPerMsPerMillionRequests both set the \
                    exchange rate; set one of them",
    },
    {
        "rule": "!has(self.minShares) || \
                 self.minShares.map(c, double(self.minShares[c].replace('%', ''))).sum() <= 100.0",
        "message": "the percentages in spec.minShares add up to more than 100%; lower them",
    },
]))]
pub struct SelectionPolicySpec {
    /// ServiceImports that the policy applies to, in its own namespace; at most 64. Absent: all ServiceImports of the
    /// namespace. Absent in a policy in the operator's namespace: all ServiceImports of all namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::meta::or_default")]
    #[schemars(length(max = 64))]
    pub target_refs: Vec<TargetRef>,
    /// Load balancing mode. round-robin: equal shares. weighted-round-robin: shares by the weights in this policy.
    /// optimized: shares computed from latency, load, capacity and network price. Absent: the mode of the Submariner
    /// resource, or round-robin if that resource sets none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancing: Option<LoadBalancing>,
    /// Goal of the optimized mode: performance, cost, or mixed, a compromise. Each stands for an exchange rate between
    /// milliseconds and USD; see optimized.usdPerMsPerMillionRequests. Used only in mode optimized, which may also come
    /// from the Submariner resource. Absent: the goal of the Submariner resource, or mixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimized_load_balancing_params: Option<OptimizedParams>,
    /// Numeric settings and PromQL queries of the optimized mode; all are optional. A service needs the same numbers in
    /// all clusters, because clusters with different numbers compute different plans. Used only in mode optimized,
    /// which may also come from the Submariner resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimized: Option<OptimizedSettings>,
    /// Effect of the policy. Enforce: the shares of this policy are served. Shadow: they are computed and published in
    /// status.shadow of the ServiceSelections, while the shares that apply without this policy are served. Default:
    /// Enforce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<Enforcement>,
    /// Preference for the local cluster. Prefer: clients use the export in their own cluster while it is eligible,
    /// whatever its weight. Balance: the local cluster is a candidate like any other. Absent: the annotation
    /// lighthouse.submariner.io/prefer-local-cluster of the ServiceImport decides; without it, Balance in mode
    /// optimized and Prefer in the other modes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_preference: Option<LocalPreference>,
    /// Weights for mode weighted-round-robin, one row per source cluster; at most 128 rows. The first row that matches
    /// the source cluster is used. Without a matching row all exporting clusters share equally.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::meta::or_default")]
    #[schemars(length(max = 128))]
    pub weights: Vec<WeightRow>,
    /// Minimum share of each cluster while it is eligible, in every mode: a map from cluster id to a percentage with at
    /// most one decimal, such as 10% or 12.5%. At most 64 clusters, and 100% in total. Absent: no minimum.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::meta::or_default")]
    #[schemars(schema_with = "min_shares")]
    pub min_shares: BTreeMap<String, String>,
}

/// Reference to a ServiceImport in the namespace of the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// API group of the target. Default: multicluster.x-k8s.io, the only supported one.
    #[serde(default = "group")]
    #[schemars(extend("enum" = ["multicluster.x-k8s.io"]))]
    pub group: String,
    /// Kind of the target. Default: ServiceImport, the only supported one.
    #[serde(default = "kind")]
    #[schemars(extend("enum" = ["ServiceImport"]))]
    pub kind: String,
    /// Name of the ServiceImport, 1 to 63 characters.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

fn group() -> String {
    "multicluster.x-k8s.io".to_owned()
}

fn kind() -> String {
    "ServiceImport".to_owned()
}

/// Whether clients use the export in their own cluster first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum LocalPreference {
    Prefer,
    Balance,
}

/// Whether the shares of a policy are served, or only published for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Enforcement {
    Enforce,
    Shadow,
}

/// Numeric settings and PromQL queries of the optimized mode. The schema sets no defaults, so that an absent field can
/// be told from one that is set to its default.
///
/// A former name of a field stays in the schema: without it the API server would drop the field without an error. The
/// validation rules refuse it on write, and not on what was stored before.
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
    /// Exchange rate between time and money: USD that it is worth to answer a million requests one millisecond sooner,
    /// above 0 and at most 1000. Default: the rate that optimizedLoadBalancingParams stands for, which is 10
    /// (performance), 0.01 (mixed) or 0.0001 (cost).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "exclusiveMinimum" = true, "maximum" = 1000))]
    pub usd_per_ms_per_million_requests: Option<f64>,
    /// Planned utilization limit of a cluster, as a fraction of its capacity, 0.1 to 0.99. Requests beyond the limit
    /// are sent to other clusters at any cost. Default: 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.1, max = 0.99))]
    pub target_utilization: Option<f64>,
    /// Former name of targetUtilization. New values are refused; values from before the renaming are still used.
    #[serde(rename = "targetUtilisation", skip_serializing_if = "Option::is_none")]
    pub former_target_utilization: Option<f64>,
    /// Size of a request in bytes, 0 to 1e12. Used to compute the network price of a request. Default: 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1e12))]
    pub request_bytes: Option<f64>,
    /// Size of a response in bytes, 0 to 1e12. Used to compute the network price of a request. Default: 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1e12))]
    pub response_bytes: Option<f64>,
    /// Requests per second that one ready pod can sustain, above 0 and at most 1000000. Corrected by measurement where
    /// both load and utilization of the pods are measured. Default: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "exclusiveMinimum" = true, "maximum" = 1e6))]
    pub capacity_rps_per_pod: Option<f64>,
    /// Network round trips per request, 1 to 3: 1 over open connections, 2 if each request opens a TCP connection, 3 if
    /// each request opens a TLS connection. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0, max = 3.0))]
    pub round_trips_per_request: Option<f64>,
    /// Requests that a client sends per DNS answer, above 0 and at most 1000000. Used where the load of the exporting
    /// clusters is not measured. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "exclusiveMinimum" = true, "maximum" = 1e6))]
    pub requests_per_answer: Option<f64>,
    /// PromQL expression for the utilization of the service in this cluster, where 1 is fully used; at most 2048
    /// characters. $namespace and $service are replaced by the namespace and name of the service. Needs the operator
    /// flag --prometheus. Absent: CPU usage of the pods divided by their CPU requests, from metrics.k8s.io.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub utilization_query: Option<String>,
    /// Former name of utilizationQuery. New values are refused; values from before the renaming are still used.
    #[serde(rename = "utilisationQuery", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub former_utilization_query: Option<String>,
    /// PromQL expression for the requests per second that the service receives in this cluster; at most 2048
    /// characters. $namespace and $service are replaced by the namespace and name of the service. Needs the operator
    /// flag --prometheus. Absent: the load is estimated from the utilization of the pods, or else from DNS answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub load_query: Option<String>,
    /// Advanced. Cost difference in milliseconds below which clusters count as equal and share by capacity, 0.01 to
    /// 1000. Default: 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 1000.0))]
    pub epsilon_ms: Option<f64>,
    /// Advanced. Length of a planning round in seconds, 30 to 1200. Facts that a cluster published count fully for 6
    /// rounds, then less and less, and not at all after 12 rounds. Weights are also computed between rounds, when their
    /// inputs change. Default: 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 30.0, max = 1200.0))]
    pub round_seconds: Option<f64>,
    /// Advanced. Scale factor of the queueing delay in the model, 0.01 to 100. 1: random (Poisson) arrivals; above 1:
    /// bursty arrivals; below 1: regular arrivals. Default: 1.
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

/// Weights for the clients in one source cluster. Weights act like costs: half the weight gives twice the share.
#[derive(JsonSchema, Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.clusters.filter(c, self.clusters[c] == 0.0).size() <= 1",
    "message": "two or more clusters of this row have weight 0, which means always chosen; set at most one weight to 0",
}]))]
pub struct WeightRow {
    /// Id of the cluster that the clients are in, or "*" for every cluster.
    #[schemars(length(min = 1, max = 63))]
    pub source: String,
    /// Weights of the exporting clusters: a map from cluster id to a number, 0 or more; 1 to 256 clusters. Weights act
    /// like costs: half the weight gives twice the share. A cluster with weight 0 gets all requests while it is
    /// eligible; at most one cluster may have it. Clusters that are not listed get no share. If no exporting cluster is
    /// listed, all share equally.
    #[schemars(schema_with = "weights")]
    pub clusters: BTreeMap<String, f64>,
}

/// Use of the policy in this cluster, written by the operator.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SelectionPolicyStatus {
    /// Number of services in this cluster that the policy is used for.
    pub services: i32,
    /// Conditions of the policy. Accepted is True if the policy is used, with reason Accepted or Shadow; it is False
    /// with reason Invalid, Conflicted or TargetNotFound, and the message says what to change.
    #[serde(deserialize_with = "crate::meta::or_default")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

fn min_shares(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "pattern": r"^(100(\.0)?|[0-9]{1,2}(\.[0-9])?)%$", "maxLength": 6},
    })
}

fn weights(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 256,
        "additionalProperties": {"type": "number", "minimum": 0},
    })
}
