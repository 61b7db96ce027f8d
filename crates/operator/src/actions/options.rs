//! Which cluster an action is about, and how to reach it and its broker.

use std::path::PathBuf;

use crate::broker::credentials::Source;
use kube::Client;
use landfall_core::name::ClusterId;

/// A cluster that an action reads or writes once.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Path to a kubeconfig. `None`: the kubeconfig that kubectl would use, or the credentials of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// Id of the cluster. `None`: read from the cluster itself.
    pub cluster_id: Option<ClusterId>,
    /// Namespace of the operator.
    pub namespace: String,
    /// Namespace of the Submariner resource.
    pub submariner_namespace: String,
    /// Kubeconfig of the broker, and the namespace of the clusterset there. `None`: the broker of the Submariner resource.
    pub broker: Option<(PathBuf, String)>,
}

impl ClusterOptions {
    /// Returns where the credentials of the broker are.
    pub fn broker_source(&self, client: &Client) -> Source {
        match self.broker.clone() {
            Some((path, namespace)) => Source::Kubeconfig { path, namespace },
            None => Source::Submariner { client: client.clone(), namespace: self.submariner_namespace.clone() },
        }
    }
}
