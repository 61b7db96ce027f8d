use serde::Deserialize;

use crate::meta::Meta;

/// ServiceImport of `multicluster.x-k8s.io`, v1beta1 or v1alpha1. The fields that are read are equal in both versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceImport {
    pub metadata: Meta,
    pub spec: ServiceImportSpec,
    #[serde(deserialize_with = "crate::meta::or_default")]
    pub status: ServiceImportStatus,
}

/// Spec of a ServiceImport.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceImportSpec {
    /// Type of the service: `ClusterSetIP` or `Headless`.
    pub r#type: String,
    #[serde(deserialize_with = "crate::meta::or_default")]
    pub ips: Vec<String>,
}

/// Status of a ServiceImport: the clusters that export the service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServiceImportStatus {
    #[serde(deserialize_with = "crate::meta::or_default")]
    pub clusters: Vec<ClusterStatus>,
}

/// One exporting cluster of a ServiceImport.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClusterStatus {
    pub cluster: String,
}
