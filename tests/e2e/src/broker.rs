//! Broker of a clusterset: a namespace of some cluster, with an account for each member, as the broker's chart creates
//! it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::objects;
use crate::wait::await_condition;

/// Default of Submariner.
pub const BROKER_NAMESPACE: &str = "submariner-k8s-broker";

/// Name of the admission policy in the chart.
pub const POLICY: &str = "landfall-broker.submariner-k8s-broker";

/// Longest wait until an API server enforces a new policy; it does so within seconds.
const ENFORCEMENT_TIMEOUT: Duration = Duration::from_secs(20);

/// Creates the namespace and an account for each member. May be called again with more members. Returns once the policy
/// is in force.
pub async fn prepare(broker: &Cluster, members: &[&str]) -> Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BROKER_NAMESPACE}});
    objects::apply(broker.client(), &namespace).await?;
    broker.install_chart("landfall-broker", BROKER_NAMESPACE, &format!("members={{{}}}", members.join(","))).await?;
    let Some(member) = members.first() else { return Ok(()) };
    let client = client(broker, member).await?;
    await_condition("the broker's policy is in force", ENFORCEMENT_TIMEOUT, async || {
        let params = PatchParams::apply("e2e").dry_run();
        let outcome = api(&client).patch("other-0", &params, &Patch::Apply(&facts("other-0", "other"))).await;
        let refused = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(refused.contains(POLICY), "not refused by {POLICY}: {refused:?}");
        Ok(())
    })
    .await
}

/// Builds ClusterFacts for the broker that contain nothing but their cluster.
#[must_use]
pub fn facts(name: &str, cluster: &str) -> Value {
    json!({
        "apiVersion": "landfall.dev/v1alpha1",
        "kind": "ClusterFacts",
        "metadata": {"name": name, "namespace": BROKER_NAMESPACE},
        "spec": {"cluster": cluster},
    })
}

/// Returns the API of the ClusterFacts on the broker.
#[must_use]
pub fn api(client: &Client) -> Api<DynamicObject> {
    objects::api(client, "landfall.dev/v1alpha1", "ClusterFacts", Some(BROKER_NAMESPACE))
}

/// Connects to the broker as this member.
pub async fn client(broker: &Cluster, cluster_id: &str) -> Result<Client> {
    client_of(broker, &account(cluster_id)).await
}

/// Connects to the broker as this account of its namespace.
pub async fn client_of(broker: &Cluster, account: &str) -> Result<Client> {
    let token = broker.token_of(BROKER_NAMESPACE, account).await?;
    let kubeconfig = broker.control_plane.write_kubeconfig(&format!("as-{account}"), &token)?;
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)?)
}

/// Creates a token of a member's account. The bed runs no controller that fills the Secret from the chart.
pub async fn token(broker: &Cluster, cluster_id: &str) -> Result<String> {
    broker.token_of(BROKER_NAMESPACE, &account(cluster_id)).await
}

/// Writes a kubeconfig for a member's account that leads to this port of 127.0.0.1.
pub async fn kubeconfig(broker: &Cluster, cluster_id: &str, port: u16) -> Result<PathBuf> {
    let token = token(broker, cluster_id).await?;
    broker.control_plane.write_kubeconfig_via(port, &format!("broker-{cluster_id}"), &token)
}

/// Grants a member's account the rights that Submariner's operator adds: the Lighthouse agent of the member uses the
/// same account.
pub async fn admit_lighthouse(broker: &Cluster, cluster_id: &str) -> Result<()> {
    let all = ["get", "list", "watch", "create", "patch", "update", "delete"];
    let rbac = "rbac.authorization.k8s.io";
    let (role, account) = ("submariner-k8s-broker-cluster", account(cluster_id));
    let metadata = |name: &str| json!({"name": name, "namespace": BROKER_NAMESPACE});
    let objects = [
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": metadata(role), "rules": [
            {"apiGroups": ["multicluster.x-k8s.io"], "resources": ["serviceimports", "serviceimports/status"], "verbs": all},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": all},
        ]}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": metadata(&format!("{account}-{role}")),
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": BROKER_NAMESPACE}]}),
    ];
    for object in objects {
        objects::apply(broker.client(), &object).await?;
    }
    Ok(())
}

/// Returns the name that Submariner gives the account.
fn account(cluster_id: &str) -> String {
    format!("cluster-{cluster_id}")
}
