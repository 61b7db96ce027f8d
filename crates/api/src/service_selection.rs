use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Published shares of a service: how the clients in this cluster are divided between the exporting clusters, for the
/// ServiceImport of the same name.
///
/// Landfall's operator writes it, and every DNS server of the clusterset may rely on it. It has no spec, and therefore
/// no status subresource: only the operator writes it, in one request.
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
    doc = "ServiceSelection publishes the shares of the exporting clusters for the clients in this cluster.",
    printcolumn(name = "Source", type_ = "string", json_path = ".status.source"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.mode"),
    printcolumn(name = "Shares", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Policy", type_ = "string", json_path = ".status.policy"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Observed", type_ = "date", json_path = ".status.observedTime")
)]
pub struct ServiceSelectionFields {}

/// Shares of the exporting clusters, and their causes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSelectionStatus {
    /// Id of the cluster whose clients the shares are for.
    pub source: String,
    /// Load balancing mode in use: round-robin, weighted-round-robin or optimized.
    pub mode: String,
    /// Reason why the configured mode is not used, or not with complete input, such as NoFacts or DemandUnknown.
    /// Absent: the configured mode is used without restrictions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// SelectionPolicy that is used, as namespace/name. Absent: the Submariner resource or the defaults apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Time of the last change of the published shares. Changes of rttMs and of the cost terms alone are not published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
    /// Shares as one line of text, such as "north 50% south 33.3% west 16.7%".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Number of the planning round of this cluster that computed the shares. Absent: the mode is not optimized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<i64>,
    /// Method of the optimized mode. Joint: computed for all clusters together. Fallback: computed for this cluster
    /// alone, from the loads. Keep: not computed, and the weights from before stay. Absent: the mode is not optimized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Estimated savings of the optimized shares compared with simpler policies, from the same facts. Absent: the mode
    /// is not optimized, or too little is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub savings: Option<Savings>,
    /// Shares that a SelectionPolicy with enforcement: Shadow would set. Absent: there is no such policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowSelection>,
    /// Candidates: all clusters that export the service, by cluster id, including those without a share.
    #[serde(default, deserialize_with = "crate::meta::or_default")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cluster"]))]
    pub clusters: Vec<SelectedCluster>,
}

/// Savings for the clients in this cluster. Negative numbers: the optimized shares cost more, or take longer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Savings {
    /// Savings compared with equal shares of all exporting clusters.
    pub round_robin: Saved,
    /// Savings compared with using the local cluster while it exports the service, and equal shares otherwise.
    pub local_first: Saved,
}

/// Savings compared with one other policy. Negative numbers: the optimized shares cost more, or take longer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// Network price saved, in USD per million requests.
    pub usd_per_million: f64,
    /// Network price saved, in USD per 30 days.
    pub usd_per_month: f64,
    /// Mean response time saved, in milliseconds. Absent: the optimized shares or the other policy would overload a
    /// cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
}

/// Shares that are published for comparison, and not served.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowSelection {
    /// SelectionPolicy with enforcement: Shadow, as namespace/name.
    pub policy: String,
    /// Load balancing mode that would be used: round-robin, weighted-round-robin or optimized.
    pub mode: String,
    /// Reason why the mode of the policy would not be used, or not with complete input. Absent: it would be used
    /// without restrictions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Shares as one line of text, such as "north 50% south 33.3% west 16.7%".
    pub summary: String,
    /// Shares by cluster id, in parts of 1000.
    #[serde(default, deserialize_with = "crate::meta::or_default")]
    pub weights: std::collections::BTreeMap<String, u32>,
}

/// Share of one exporting cluster, and its causes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SelectedCluster {
    /// Id of the exporting cluster.
    pub cluster: String,
    /// Share of the cluster at the time of publication, in parts of 1000. All weights are 0 if no cluster is eligible.
    pub weight: u32,
    /// True if the cluster can serve requests now: it has ready endpoints, and it is reachable or no ready cluster is.
    pub eligible: bool,
    /// Reason for the weight, such as Equal, Weighted, Local, Optimized, MinShare, Standby, NoReadyEndpoints or
    /// Unreachable.
    pub reason: String,
    /// Failover priority; lower numbers are used first. The cluster gets nothing beyond its minWeight while a cluster
    /// with a lower number and a nominalWeight above 0 is eligible. Default: 0.
    #[serde(default)]
    pub priority: u8,
    /// Weight within the priority of the cluster, in parts of 1000000, if all clusters of that priority were eligible.
    /// DNS servers divide requests by the nominal weights of the clusters that are eligible at the moment, without the
    /// operator. 0: used only if no eligible cluster has a nominal weight. Default: 0.
    #[serde(default)]
    pub nominal_weight: u32,
    /// Minimum share of the cluster while it is eligible, in parts of 1000. Absent: 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_weight: u32,
    /// Round-trip time from this cluster to the candidate, in milliseconds. It is updated only with other changes.
    /// Absent: not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// Network time of a request to the candidate, in milliseconds: round trips, jitter and retransmissions. It is
    /// updated only with other changes. Absent: the mode is not optimized, or no network path is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// Network price of a million requests to the candidate and their responses, in USD. It is updated only with other
    /// changes. Absent: the mode is not optimized, or no network path is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd_per_million: Option<f64>,
    /// Network price of a request in milliseconds, converted at the exchange rate of the policy. It is updated only
    /// with other changes. Absent: the mode is not optimized, or no network path is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_ms: Option<f64>,
    /// Marginal congestion cost in milliseconds: delay that one more request causes to all requests at the candidate.
    /// It is updated only with other changes. Absent: the mode is not optimized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub congestion_ms: Option<f64>,
    /// Capacity of the candidate: requests per second that it can sustain. It is updated only with other changes.
    /// Absent: the mode is not optimized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_rps: Option<f64>,
    /// Planned load of the candidate from the clients of all clusters, divided by capacityRps; above 1 in an overload.
    /// It is updated only with other changes. Absent: the mode is not optimized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization: Option<f64>,
    /// Former name of utilization. Written only by operators from before the renaming.
    #[serde(default, rename = "utilisation", skip_serializing_if = "Option::is_none")]
    pub former_utilization: Option<f64>,
    /// End of the measurement window in which the candidate published the facts that its weight is computed from.
    /// Absent: the mode is not optimized, or the candidate has published none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts_time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(weight: &u32) -> bool {
    *weight == 0
}
