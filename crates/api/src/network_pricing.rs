use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Prices of traffic between clusters.
///
/// The rules of all NetworkPricings form one list: objects in the order of their names, the object named "default"
/// last. For each pair of clusters, the first rule that matches is used. Without a matching rule, traffic is free.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "landfall.dev",
    version = "v1alpha1",
    kind = "NetworkPricing",
    plural = "networkpricings",
    shortname = "netprice",
    category = "landfall",
    derive = "PartialEq",
    derive = "Default",
    doc = "NetworkPricing lists the prices of traffic between clusters, by the locations of the clusters.",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkPricingSpec {
    /// Price rules, at most 1024. The first rule that matches is used, so put specific rules before general ones.
    #[serde(deserialize_with = "crate::meta::or_default")]
    #[schemars(length(max = 1024))]
    pub rules: Vec<PricingRule>,
}

/// Price of traffic from one place to another. A rule matches if all its fields match. A field never matches if the
/// cluster's value is unknown.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PricingRule {
    /// Place that the bytes leave; its provider bills them. Absent: any place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PricedPlace>,
    /// Place where the bytes arrive. Absent: any place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<PricedPlace>,
    /// Distance between the two places. Within one provider: SameZone, SameRegion (another zone), SameContinent
    /// (another region) or InterContinent. Between two providers: Internet. If the location of a cluster is only partly
    /// known, the farthest distance that is possible applies. Absent: any distance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<PricingRelation>,
    /// Price in USD per GB (10^9 bytes), 0 to 100, including everything that is billed at either end.
    #[schemars(range(min = 0, max = 100))]
    pub usd_per_gb: f64,
}

/// Place of a cluster, as its nodes report it. Upper and lower case are equal. All fields that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PricedPlace {
    /// Cloud provider: the part of spec.providerID of the nodes before "://", such as aws, azure, digitalocean,
    /// equinixmetal, ibm, linode or openstack; but gcp instead of gce, and hetzner instead of hcloud. Absent: any
    /// provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub provider: Option<String>,
    /// Region, as in the node label topology.kubernetes.io/region, such as eu-central-1. Absent: any region.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,
    /// Zone, as in the node label topology.kubernetes.io/zone, such as eu-central-1a. Absent: any zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub zone: Option<String>,
    /// Continent of the region. Known for the regions of aws, azure, digitalocean, gcp, hetzner and linode. The Middle
    /// East counts as Asia, Mexico as North America. Absent: any continent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continent: Option<Continent>,
}

/// Continent of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Continent {
    Africa,
    Asia,
    Europe,
    NorthAmerica,
    Oceania,
    SouthAmerica,
}

/// Distance between two places, nearest first. Each value excludes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum PricingRelation {
    SameZone,
    SameRegion,
    SameContinent,
    InterContinent,
    Internet,
}
