use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What traffic between clusters costs.
///
/// The rules of all NetworkPricings are one list: those of the object named "default" come last, the others in the order
/// of their names. Of each pair of clusters the first rule that matches counts; where none does, the price counts as 0.
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
    doc = "NetworkPricing says what traffic between clusters costs, by where they are.",
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkPricingSpec {
    /// The first one that matches counts, so what is special goes before what is general.
    #[serde(deserialize_with = "crate::or_default")]
    #[schemars(length(max = 1024))]
    pub rules: Vec<PricingRule>,
}

/// What a gigabyte costs from one place to another. All that is said must match; what is not known of a cluster matches
/// nothing.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PricingRule {
    /// Where the bytes leave, which is who bills them. Absent: anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PricedPlace>,
    /// Where they arrive. Absent: anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<PricedPlace>,
    /// How far the two are from each other. SameZone, SameRegion (in another zone), SameContinent (in another region) and
    /// InterContinent are within one provider; Internet is between two. Where too little is known of a place, the farther
    /// one holds. Absent: however far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<PricingRelation>,
    /// USD per GB (10^9 bytes) that goes this way, with all that is billed for it at either end.
    #[schemars(range(min = 0, max = 100))]
    pub usd_per_gb: f64,
}

/// A place as clusters know it from their nodes. Upper and lower case are the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PricedPlace {
    /// As in spec.providerID of the nodes, before "://": aws, azure, digitalocean, equinixmetal, ibm, linode, openstack and
    /// so on; but gcp for gce, hetzner for hcloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub provider: Option<String>,
    /// As in the nodes' label topology.kubernetes.io/region, such as eu-central-1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,
    /// As in the nodes' label topology.kubernetes.io/zone, such as eu-central-1a.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub zone: Option<String>,
    /// Where the region is. Known of the regions of aws, azure, digitalocean, gcp, hetzner and linode. The Middle East is in
    /// Asia, Mexico in North America.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continent: Option<Continent>,
}

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

/// Each means what the ones before it do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum PricingRelation {
    SameZone,
    SameRegion,
    SameContinent,
    InterContinent,
    Internet,
}
