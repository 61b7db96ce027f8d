//! Options of an action: the cluster, and how to reach it and its broker.

use std::path::PathBuf;

use crate::broker::credentials::BrokerSource;
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
    /// Kubeconfig of the broker, and the namespace of the clusterset there. `None`: the broker of the Submariner
    /// resource.
    pub broker: Option<(PathBuf, String)>,
}

impl ClusterOptions {
    /// Returns the source of the broker's credentials.
    pub fn broker_source(&self, client: &Client) -> BrokerSource {
        BrokerSource::new(self.broker.clone(), client, &self.submariner_namespace)
    }
}
