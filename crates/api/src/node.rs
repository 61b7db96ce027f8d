use serde::Deserialize;

use crate::Meta;

/// `v1`. Its labels and its provider's id for it tell where the cluster is. Kubelets rewrite the rest of it all the time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Node {
    pub metadata: Meta,
    #[serde(deserialize_with = "crate::or_default")]
    pub spec: NodeSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// `aws:///us-east-1a/i-0abc`; empty where nobody provides the machines.
    #[serde(rename = "providerID", deserialize_with = "crate::or_default")]
    pub provider_id: String,
}
