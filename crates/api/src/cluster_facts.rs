use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a cluster tells the others of itself, and nothing else: where it is, how it reaches them, and what it is asked for
/// and can bear. Every cluster computes the optimised weights from these.
///
/// A cluster with many services writes several objects, each with a part of them; of what is in more than one, the newest
/// counts.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "landfall.dev",
    version = "v1alpha1",
    kind = "ClusterFacts",
    plural = "clusterfacts",
    shortname = "cfacts",
    category = "landfall",
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    doc = "ClusterFacts is what a cluster tells the others of itself.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Provider", type_ = "string", json_path = ".spec.location.provider"),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.location.region"),
    printcolumn(name = "Generation", type_ = "integer", json_path = ".spec.generation"),
    printcolumn(name = "Observed", type_ = "date", json_path = ".spec.observedTime")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFactsSpec {
    /// Whose facts these are.
    #[schemars(length(min = 1, max = 63))]
    pub cluster: String,
    /// Counts the rounds of the cluster; never goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub generation: Option<i64>,
    /// When the last window ended in which something was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_time: Option<Time>,
    /// Of the settings that all clusters must have alike to come to the same weights, in hexadecimal digits; for all
    /// services that have none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{1,16}$"))]
    pub parameter_hash: Option<String>,
    /// Of the form of these facts. Who reads a higher number than it knows leaves them out. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub version: Option<i32>,
    /// Which cluster writes this: the UID of its namespace kube-system. Two clusters that have the same id differ in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub instance: Option<String>,
    /// When that cluster first wrote facts. Of two with the same id, the older one goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Which part of the facts this object is, from 0 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 99))]
    pub part: Option<i32>,
    /// How many parts there are; the others are as many rounds old as their generation says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub parts: Option<i32>,
    /// Where other clusters can open a TCP connection to see how far this one is: IP:port.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::or_default")]
    #[schemars(length(max = 16), inner(length(max = 64)))]
    pub probe_addresses: Vec<String>,
    /// The cluster is being emptied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<ClusterLocation>,
    /// The network from this cluster to the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::or_default")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cluster"]))]
    pub links: Vec<ClusterLink>,
    /// What a gigabyte costs from this cluster to the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::or_default")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cluster"]))]
    pub egress: Vec<EgressPrice>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::or_default")]
    #[schemars(length(max = 2000))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["namespace", "name"]))]
    pub services: Vec<ServiceFacts>,
}

/// All that a cluster offers is taken away, step by step.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// When that begins.
    pub since: Time,
    /// How long it takes. 0: at once.
    #[serde(default)]
    #[schemars(range(min = 0, max = 86400))]
    pub over_seconds: u32,
}

/// Where a cluster is, as a NetworkPricing names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterLocation {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub continent: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterLink {
    /// The other cluster.
    #[schemars(length(min = 1, max = 63))]
    pub cluster: String,
    /// Round-trip time. Absent: nobody measured it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub rtt_ms: Option<f64>,
    /// The 90th percentile of the round-trip time, less the median.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub jitter_ms: Option<f64>,
    /// The part of the packets that is lost.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0, max = 1))]
    pub loss: Option<f64>,
    /// Absent: as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reachable: Option<bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressPrice {
    /// The other cluster.
    #[schemars(length(min = 1, max = 63))]
    pub cluster: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub usd_per_gb: Option<f64>,
}

/// What is known here of a service that the cluster exports, or whose clients it has. Requests are per second.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceFacts {
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// What the clients of this cluster are expected to ask for, wherever it is answered.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub demand_rps: Option<f64>,
    /// By how much that grows from round to round; below 0 when it shrinks.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    pub trend_rps: Option<f64>,
    /// What they asked for in the last window.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub measured_demand_rps: Option<f64>,
    /// Answers a second that named each exporting cluster, in the last window: exporting cluster: answers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::or_default")]
    #[schemars(schema_with = "answers")]
    pub answers_rps: BTreeMap<String, f64>,
    /// What the export of this cluster can bear for long. Absent: not known; 0: it exports nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub capacity_rps: Option<f64>,
    /// What one of its pods can bear, where that was learnt from load and utilisation.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub pod_capacity_rps: Option<f64>,
    /// What the export was asked for in the last window, by whomever.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub load_rps: Option<f64>,
    /// Nobody measured that: it is what the answers of all clusters amount to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "crate::or_default")]
    pub load_from_answers: bool,
    /// The part of the load which no plan explains; below 0 when less came than was planned.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    pub residual_rps: Option<f64>,
    /// How far the load was from the plan lately, as a part of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub deviation: Option<f64>,
    /// How long a request takes at low load.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub service_time_ms: Option<f64>,
    /// Of the settings that the cluster plans this service with. Absent: as of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{1,16}$"))]
    pub parameter_hash: Option<String>,
}

fn answers(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "description": "Answers a second that named each exporting cluster, in the last window: exporting cluster: answers.",
        "maxProperties": 256,
        "additionalProperties": {"type": "number", "minimum": 0},
    })
}
