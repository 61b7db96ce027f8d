use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The published weights: which clusters answer the clients of this one, for the ServiceImport of the same name.
///
/// Written by Landfall's operator, and a contract for whoever serves answers. It has no status subresource because it has
/// no spec: nobody but the operator writes it, in one request.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "landfall.dev",
    version = "v1alpha1",
    kind = "ServiceSelection",
    plural = "serviceselections",
    shortname = "svcsel",
    category = "landfall",
    namespaced,
    no_spec,
    status = "ServiceSelectionStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "ServiceSelection is the published weights: which clusters answer the clients of this one.",
    printcolumn(name = "Source", type_ = "string", json_path = ".status.source"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.mode"),
    printcolumn(name = "Shares", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Policy", type_ = "string", json_path = ".status.policy"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Observed", type_ = "date", json_path = ".status.observedTime")
)]
pub struct ServiceSelectionFields {}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSelectionStatus {
    /// The cluster whose clients this is for.
    pub source: String,
    /// The mode in force.
    pub mode: String,
    /// Why it is not the mode that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// namespace/name of the SelectionPolicy that applies; absent: the Submariner resource, or the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// When what this was computed from last changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
    /// The shares in a line, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// The round of this cluster in which what is published here was computed. Absent: no rounds, as there is nothing optimised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<i64>,
    /// How it was computed. Joint: for all clusters at once. Fallback: for this one alone, from the loads. Keep: it was not,
    /// and the weights from before stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// What is estimated to be saved, against what simpler policies would cost with the same facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub savings: Option<Savings>,
    /// What a policy with enforcement: Shadow would do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowSelection>,
    /// All candidates, by cluster id; also those that get nothing.
    #[serde(default, deserialize_with = "crate::or_default")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cluster"]))]
    pub clusters: Vec<SelectedCluster>,
}

/// For the clients of this cluster. Below 0: the plan costs more, or takes longer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Savings {
    /// Against all exporting clusters in turn.
    pub round_robin: Saved,
    /// Against the local cluster while it exports the service, and else all in turn.
    pub local_first: Saved,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    pub usd_per_million: f64,
    /// Of 30 days.
    pub usd_per_month: f64,
    /// Of the mean time until an answer. Absent: somebody would be asked for more than it can bear, and there is no mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowSelection {
    /// namespace/name of the SelectionPolicy.
    pub policy: String,
    pub mode: String,
    /// Why it is not the mode that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The shares in a line, for people.
    pub summary: String,
    /// Cluster: its part of 1000.
    #[serde(default, deserialize_with = "crate::or_default")]
    pub weights: std::collections::BTreeMap<String, u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelectedCluster {
    pub cluster: String,
    /// Its part of 1000, as things are. All weights are 0 when nobody is eligible.
    pub weight: u32,
    pub eligible: bool,
    /// Why it has this weight.
    pub reason: String,
    /// Lower goes first: while a cluster of a lower priority with a nominalWeight is eligible, this one gets nothing
    /// beyond its minWeight.
    #[serde(default)]
    pub priority: u8,
    /// Its part of 1000000 among the clusters of its priority if all of them were eligible. Whoever serves answers shares
    /// by these among those that are eligible at the moment, so that health needs no operator. 0: it has no claim, and
    /// answers only when no eligible cluster has one.
    #[serde(default)]
    pub nominal_weight: u32,
    /// Its part of 1000 that it gets at least while it is eligible.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_weight: u32,
    /// Round-trip time as last published, in milliseconds; changes of it alone are not published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// What the way there costs a request in milliseconds: round trips, jitter and loss. This and what follows explain an
    /// optimised weight, and are absent with other modes; changes of them alone are not published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// What the traffic of a million requests costs in USD, there and back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_per_million: Option<f64>,
    /// The same in milliseconds, at the exchange rate of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_ms: Option<f64>,
    /// What a request more costs all others there, in milliseconds: it grows with the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub congestion_ms: Option<f64>,
    /// Requests per second that it can bear for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_rps: Option<f64>,
    /// The part of that which it will be asked for, by the clients of all clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization: Option<f64>,
    /// Former name of utilization. Written only by operators from before the renaming.
    #[serde(default, rename = "utilisation", skip_serializing_if = "Option::is_none")]
    pub former_utilization: Option<f64>,
    /// When that cluster wrote the facts about itself that this was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts_time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(weight: &u32) -> bool {
    *weight == 0
}
