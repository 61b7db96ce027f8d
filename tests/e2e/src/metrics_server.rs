//! A real metrics-server, as the release ships it, behind the API server of a cluster: what it says of pods is nobody's idea of
//! what it says.
//!
//! ```text
//! whoever asks ── API server ── APIService ── Service ── metrics-server ── Node ── kubelet, once in a while
//! ```

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::Client;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::control_plane::free_port;
use crate::files::control_plane_programs;
use crate::objects;
use crate::process::{Process, await_while_running};

/// Where its manifest has it.
const NAMESPACE: &str = "kube-system";
const NAME: &str = "metrics-server";

/// Between two times that it asks a kubelet: no less is allowed. It needs two to say anything.
pub const RESOLUTION: Duration = Duration::from_secs(10);

/// It makes itself a certificate, reads a few kinds, and the API server has to notice: it tries again ever less often.
const START_DEADLINE: Duration = Duration::from_secs(40);

/// The metrics-server of a cluster, until it is dropped.
pub struct MetricsServer {
    client: Client,
    flags: Vec<OsString>,
    log: PathBuf,
    process: Process,
}

impl MetricsServer {
    /// Starts it, and returns when the API server counts it as available. That it has measured anything takes longer.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let port = free_port()?;
        for object in rights() {
            objects::apply(cluster.client(), &object).await?;
        }
        let kubeconfig = cluster.control_plane.write_kubeconfig(NAME, &cluster.token_of(NAMESPACE, NAME).await?)?;
        let flag = |name: &str, value: &str| OsString::from(format!("--{name}={value}"));
        let mut flags = vec![
            flag("bind-address", "127.0.0.1"),
            flag("secure-port", &port.to_string()),
            flag("metric-resolution", &format!("{}s", RESOLUTION.as_secs())),
            flag("kubelet-request-timeout", &format!("{}s", RESOLUTION.as_secs() / 2)),
            flag("kubelet-preferred-address-types", "InternalIP"),
            "--kubelet-use-node-status-port".into(),
        ];
        flags.push(flag("cert-dir", &cluster.folder().join("pki/metrics-server").to_string_lossy()));
        for user in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
            flags.push(flag(user, &kubeconfig.to_string_lossy()));
        }
        let log = cluster.folder().join("log/metrics-server.log");
        let process = launch(&flags, &log)?;
        for object in registration(port) {
            objects::apply(cluster.client(), &object).await?;
        }
        let started = Self { client: cluster.client().clone(), flags, log, process };
        started.available().await?;
        Ok(started)
    }

    /// Stops it at once, as a crash would.
    pub fn stop(&self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it anew, and returns when it is available again.
    pub async fn restart(&mut self) -> Result<()> {
        // Fails only for a process that is gone already.
        let _ = self.process.kill();
        self.process = launch(&self.flags, &self.log)?;
        self.available().await
    }

    async fn available(&self) -> Result<()> {
        await_while_running(&[&self.process], "the metrics-server is available", START_DEADLINE, async || {
            let (available, why) = self.availability().await?;
            ensure!(available, "{why}");
            Ok(())
        })
        .await
    }

    /// Whether the API server passes on what is meant for it, and why.
    pub async fn availability(&self) -> Result<(bool, String)> {
        let services = objects::api(&self.client, "apiregistration.k8s.io/v1", "APIService", None);
        let service = services.get("v1beta1.metrics.k8s.io").await?;
        let conditions = service.data["status"]["conditions"].as_array().context("nothing is known of it yet")?;
        let available = conditions.iter().find(|it| it["type"] == "Available").context("it says nothing of that")?;
        Ok((available["status"] == "True", available["message"].to_string()))
    }

    /// What it says of the pods of a namespace.
    pub async fn pods(&self, namespace: &str) -> Result<Vec<Value>> {
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
        let list: Value = self.client.request(http::Request::get(path).body(Vec::new())?).await?;
        list["items"].as_array().cloned().context("no list")
    }
}

fn launch(flags: &[OsString], log: &Path) -> Result<Process> {
    let program = control_plane_programs()?.join(NAME);
    ensure!(program.is_file(), "{} is missing: `scripts/controlplane.sh fleet` builds it", program.display());
    Process::start(&program, flags, log)
}

/// What its manifest grants it.
fn rights() -> [Value; 5] {
    let rbac = "rbac.authorization.k8s.io";
    let account = json!([{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}]);
    let to_role = |name: &str, role: &str| {
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role}, "subjects": account})
    };
    let role = "system:metrics-server";
    [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": NAMESPACE}}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": {"name": role}, "rules": [
            {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]},
        ]}),
        to_role(role, role),
        to_role("metrics-server:system:auth-delegator", "system:auth-delegator"),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
            "metadata": {"name": "metrics-server-auth-reader", "namespace": NAMESPACE},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "extension-apiserver-authentication-reader"},
            "subjects": account}),
    ]
}

/// There is no network of services here: the name of this one is an address.
fn registration(port: u16) -> [Value; 2] {
    [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "127.0.0.1"}}),
        json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"}, "spec": {
            "service": {"name": NAME, "namespace": NAMESPACE, "port": port},
            "group": "metrics.k8s.io", "version": "v1beta1", "insecureSkipTLSVerify": true,
            "groupPriorityMinimum": 100, "versionPriority": 100,
        }}),
    ]
}
