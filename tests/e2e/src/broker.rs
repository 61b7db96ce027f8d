//! The one place that the clusters of a clusterset share: a namespace of some cluster, and an account there for each of
//! them, with the rights that Submariner's broker and Landfall's need and no more.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::cluster::Cluster;
use crate::objects;

/// Submariner's default.
pub const BROKER_NAMESPACE: &str = "submariner-k8s-broker";

/// Makes the namespace and what the accounts may do in it. May be called again.
pub async fn prepare(broker: &Cluster) -> Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BROKER_NAMESPACE}});
    objects::apply(broker.client(), &namespace).await?;
    let all = ["get", "list", "watch", "create", "patch", "update", "delete"];
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "cluster", "namespace": BROKER_NAMESPACE},
        "rules": [
            {"apiGroups": ["landfall.dev"], "resources": ["clusterfacts"], "verbs": all},
            {"apiGroups": ["multicluster.x-k8s.io"], "resources": ["serviceimports", "serviceimports/status"], "verbs": all},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": all},
        ],
    });
    objects::apply(broker.client(), &role).await?;
    Ok(())
}

/// A new token of a cluster's account on the broker, which is made when it is not there.
pub async fn token(broker: &Cluster, cluster_id: &str) -> Result<String> {
    let account = account(cluster_id);
    let metadata = json!({"name": account, "namespace": BROKER_NAMESPACE});
    let service_account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
    objects::apply(broker.client(), &service_account).await?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "cluster"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": BROKER_NAMESPACE}],
    });
    objects::apply(broker.client(), &binding).await?;
    broker.token_of(BROKER_NAMESPACE, &account).await
}

/// Writes a kubeconfig for a cluster's account on the broker, which that cluster reaches at this port of 127.0.0.1.
pub async fn kubeconfig(broker: &Cluster, cluster_id: &str, port: u16) -> Result<PathBuf> {
    let token = token(broker, cluster_id).await?;
    broker.control_plane.write_kubeconfig_via(port, &format!("broker-{cluster_id}"), &token)
}

/// As Submariner calls it.
fn account(cluster_id: &str) -> String {
    format!("cluster-{cluster_id}")
}
