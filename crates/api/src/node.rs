use serde::Deserialize;

use crate::meta::Meta;

/// Node of `v1`. Its labels and its provider id give the location of the cluster. The rest, which kubelets rewrite all
/// the time, is not read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Node {
    pub metadata: Meta,
    #[serde(deserialize_with = "crate::meta::or_default")]
    pub spec: NodeSpec,
}

/// Spec of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Id of the machine at its provider, such as `aws:///us-east-1a/i-0abc`; empty without a cloud provider.
    #[serde(rename = "providerID", deserialize_with = "crate::meta::or_default")]
    pub provider_id: String,
}
