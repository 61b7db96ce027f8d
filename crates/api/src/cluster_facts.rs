use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Facts that a cluster publishes about itself, and nothing else: its location, its network paths to other clusters,
/// and the demand and capacity of its services. Every cluster computes the weights of optimized services from the facts
/// of all.
///
/// A cluster with many services writes several objects, each with a part of the services. If two objects of a cluster
/// hold the same entry, the newer one is used.
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
    doc = "ClusterFacts holds the facts that a cluster publishes about itself: location, network, demand and capacity.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Provider", type_ = "string", json_path = ".spec.location.provider"),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.location.region"),
    printcolumn(name = "Generation", type_ = "integer", json_path = ".spec.generation"),
    printcolumn(name = "Observed", type_ = "date", json_path = ".spec.observedTime")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFactsSpec {
    /// Id of the cluster that these facts describe, 1 to 63 characters.
    #[schemars(length(min = 1, max = 63))]
    pub cluster: String,
    /// Number of the cluster's planning round that wrote this object, 0 or more; it never decreases. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub generation: Option<i64>,
    /// End of the last measurement window, by the clock of the cluster. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_time: Option<Time>,
    /// Hash of the optimizer settings of the cluster, 1 to 16 hexadecimal digits. Clusters compute the same weights
    /// only with equal settings. It applies to services without a parameterHash of their own. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{1,16}$"))]
    pub parameter_hash: Option<String>,
    /// Schema version of these facts, 1 or more. Readers ignore facts with a version that they do not know. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub version: Option<i32>,
    /// UID of the kube-system namespace of the cluster that wrote this object, 1 to 63 characters. It distinguishes two
    /// clusters that were given the same id. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub instance: Option<String>,
    /// Time of the first write of facts by the cluster. If two clusters have the same id, only the facts of the older
    /// one are used. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Index of this object among the objects of the cluster, 0 to 99. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 99))]
    pub part: Option<i32>,
    /// Number of objects that hold the facts of the cluster, 1 to 100. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub parts: Option<i32>,
    /// Addresses that other clusters probe over TCP to measure the round-trip time to this cluster, as IP:port; at most
    /// 16. Absent: the cluster is not probed.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::meta::or_default")]
    #[schemars(length(max = 16), inner(length(max = 64)))]
    pub probe_addresses: Vec<String>,
    /// Drain in progress: the capacity that the cluster offers falls to 0. Absent: the cluster is not being drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// Location of the cluster, which NetworkPricing rules match. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<ClusterLocation>,
    /// Network paths from this cluster to other clusters, one entry per cluster; at most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::meta::or_default")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cluster"]))]
    pub links: Vec<ClusterLink>,
    /// Prices of traffic from this cluster to other clusters, one entry per cluster; at most 256. Without an entry the
    /// NetworkPricing rules apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::meta::or_default")]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["cluster"]))]
    pub egress: Vec<EgressPrice>,
    /// Demand and capacity per service, one entry for each service that the cluster exports or whose clients it has; at
    /// most 2000 in one object.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::meta::or_default")]
    #[schemars(length(max = 2000))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["namespace", "name"]))]
    pub services: Vec<ServiceFacts>,
}

/// Gradual withdrawal of a cluster: the capacity that it offers falls evenly to 0.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Start of the drain.
    pub since: Time,
    /// Duration of the drain in seconds, 0 to 86400. 0: the whole capacity is withdrawn at once. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 86400))]
    pub over_seconds: u32,
}

/// Location of a cluster, in the terms of NetworkPricing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterLocation {
    /// Cloud provider, such as aws or gcp, 1 to 63 characters. Absent: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub provider: Option<String>,
    /// Region of the provider, such as eu-central-1, 1 to 63 characters. Absent: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,
    /// Zone of the region, such as eu-central-1a, 1 to 63 characters. Absent: unknown, or the nodes are in several
    /// zones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub zone: Option<String>,
    /// Continent: africa, asia, europe, north-america, oceania or south-america. Absent: derived from the region.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub continent: Option<String>,
}

/// Network path from this cluster to another one.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterLink {
    /// Id of the cluster at the other end, 1 to 63 characters.
    #[schemars(length(min = 1, max = 63))]
    pub cluster: String,
    /// Round-trip time in milliseconds, 0 or more; the median of the probes. Absent: not measured.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub rtt_ms: Option<f64>,
    /// Jitter in milliseconds, 0 or more: 90th percentile of the round-trip time minus its median. Absent: not
    /// measured.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub jitter_ms: Option<f64>,
    /// Fraction of the packets that are lost, 0 to 1. Absent: not measured.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0, max = 1))]
    pub loss: Option<f64>,
    /// True if the cluster at the other end can be reached. Absent: it is not known to be unreachable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reachable: Option<bool>,
}

/// Price of traffic from this cluster to another one.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressPrice {
    /// Id of the cluster that receives the traffic, 1 to 63 characters.
    #[schemars(length(min = 1, max = 63))]
    pub cluster: String,
    /// Price in USD per GB (10^9 bytes), 0 or more. Absent: the NetworkPricing rules apply.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub usd_per_gb: Option<f64>,
}

/// Facts about a service that the cluster exports, or whose clients it has. Rates are in requests per second.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceFacts {
    /// Namespace of the service, 1 to 63 characters.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name of the service, 1 to 63 characters.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Expected demand of the clients in this cluster in the next round, in requests per second, 0 or more, wherever
    /// they are served. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub demand_rps: Option<f64>,
    /// Growth of the demand of this cluster's clients from round to round, in requests per second; negative if the
    /// demand shrinks. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    pub trend_rps: Option<f64>,
    /// Demand of the clients in this cluster in the last window, in requests per second, 0 or more. Absent: equal to
    /// demandRps.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub measured_demand_rps: Option<f64>,
    /// DNS answers per second in the last window, as a map from the exporting cluster that was named to the rate; at
    /// most 256 clusters. Absent: no answers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::meta::or_default")]
    #[schemars(schema_with = "answers")]
    pub answers_rps: BTreeMap<String, f64>,
    /// Capacity of the export of this cluster: requests per second that it can sustain, 0 or more. 0: the cluster
    /// exports nothing. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub capacity_rps: Option<f64>,
    /// Capacity of one pod of the export, in requests per second, 0 or more, learned from load and utilization. Absent:
    /// not learned.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub pod_capacity_rps: Option<f64>,
    /// Load of the export of this cluster in the last window, in requests per second, 0 or more, from the clients of
    /// all clusters. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub load_rps: Option<f64>,
    /// True if loadRps was not measured but estimated from the DNS answers of all clusters. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "crate::meta::or_default")]
    pub load_from_answers: bool,
    /// Load of the export that no plan explains, in requests per second; negative if the load is below the plan.
    /// Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    pub residual_rps: Option<f64>,
    /// Recent deviation of the load from the plan, as a fraction of the planned load, 0 or more. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub deviation: Option<f64>,
    /// Service time of a request at low load, in milliseconds, 0 or more. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::number::number")]
    #[schemars(range(min = 0))]
    pub service_time_ms: Option<f64>,
    /// Hash of the optimizer settings of the cluster for this service, 1 to 16 hexadecimal digits. Absent:
    /// spec.parameterHash applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{1,16}$"))]
    pub parameter_hash: Option<String>,
}

fn answers(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 256,
        "additionalProperties": {"type": "number", "minimum": 0},
    })
}
