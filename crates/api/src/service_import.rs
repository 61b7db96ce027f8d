use serde::Deserialize;

use crate::Meta;

/// `multicluster.x-k8s.io`, v1beta1 or v1alpha1: the parts that we read are the same in both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceImport {
    pub metadata: Meta,
    pub spec: ServiceImportSpec,
    #[serde(deserialize_with = "crate::or_default")]
    pub status: ServiceImportStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceImportSpec {
    /// `ClusterSetIP` or `Headless`.
    pub r#type: String,
    #[serde(deserialize_with = "crate::or_default")]
    pub ips: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceImportStatus {
    #[serde(deserialize_with = "crate::or_default")]
    pub clusters: Vec<ClusterStatus>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClusterStatus {
    pub cluster: String,
}
