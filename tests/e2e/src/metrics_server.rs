//! Real metrics-server behind the API server of a cluster, so that the tests do not rest on assumptions about its
//! replies.
//!
//! ```text
//! client ── API server ── APIService ── Service ── metrics-server ── Node ── kubelet, at an interval
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

/// Namespace of its manifest.
const NAMESPACE: &str = "kube-system";
const NAME: &str = "metrics-server";

/// Interval of its scrapes, the shortest that it accepts. It reports usage after two scrapes.
pub const RESOLUTION: Duration = Duration::from_secs(10);

/// Longest wait for the metrics-server. It creates a certificate and lists a few kinds, and the API server retries ever
/// less often.
const START_TIMEOUT: Duration = Duration::from_secs(40);

/// Metrics-server of a cluster. Dropping it stops it.
pub struct MetricsServer {
    client: Client,
    flags: Vec<OsString>,
    log: PathBuf,
    process: Process,
}

impl MetricsServer {
    /// Starts the metrics-server. Returns once the API server reports it as available; the first usage takes longer.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let port = free_port()?;
        for object in permissions() {
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

    /// Kills the metrics-server, as a crash would.
    pub fn stop(&self) -> Result<()> {
        self.process.kill()
    }

    /// Restarts the metrics-server. Returns once it is available.
    pub async fn restart(&mut self) -> Result<()> {
        // Fails only for a process that has ended already.
        let _ = self.process.kill();
        self.process = launch(&self.flags, &self.log)?;
        self.available().await
    }

    async fn available(&self) -> Result<()> {
        await_while_running(&[&self.process], "the metrics-server is available", START_TIMEOUT, async || {
            let (available, why) = self.availability().await?;
            ensure!(available, "{why}");
            Ok(())
        })
        .await
    }

    /// Returns whether the API server forwards requests to the metrics-server, and the message of that condition.
    pub async fn availability(&self) -> Result<(bool, String)> {
        let services = objects::api(&self.client, "apiregistration.k8s.io/v1", "APIService", None);
        let service = services.get("v1beta1.metrics.k8s.io").await?;
        let conditions =
            service.data["status"]["conditions"].as_array().context("the APIService has no conditions yet")?;
        let available = conditions.iter().find(|it| it["type"] == "Available").context("no condition Available")?;
        Ok((available["status"] == "True", available["message"].to_string()))
    }

    /// Returns the reported usage of the pods of a namespace.
    pub async fn pods(&self, namespace: &str) -> Result<Vec<Value>> {
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
        let list: Value = self.client.request(http::Request::get(path).body(Vec::new())?).await?;
        list["items"].as_array().cloned().context("the reply is not a list")
    }
}

fn launch(flags: &[OsString], log: &Path) -> Result<Process> {
    let program = control_plane_programs()?.join(NAME);
    ensure!(program.is_file(), "{} is missing: `scripts/controlplane.sh fleet` builds it", program.display());
    Process::start(&program, flags, log)
}

/// Objects with which its manifest grants permissions.
fn permissions() -> [Value; 5] {
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

/// Objects that register the metrics-server. The bed has no network of Services, so the Service is the name of an
/// address.
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
