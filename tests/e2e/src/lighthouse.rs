//! Real Lighthouse agent beside Landfall, so that the tests do not rest on assumptions about its objects.
//!
//! The agent finds its API server only as a pod does: by a token and a certificate in a folder with a fixed path. So
//! each agent runs in a mount namespace of its own, where `/run` has only these files (`/var/run` is a link to it).
//! Users other than root need a user namespace as well.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::broker::{self, BROKER_NAMESPACE};
use crate::cluster::Cluster;
use crate::files::control_plane_programs;
use crate::objects;
use crate::process::{Process, await_while_running};

/// Namespace of the agents in Submariner.
const NAMESPACE: &str = "submariner-operator";
const ACCOUNT: &str = "submariner-lighthouse-agent";

/// User name of the agent in the API server.
pub const USER: &str = "system:serviceaccount:submariner-operator:submariner-lighthouse-agent";

/// Longest wait for the agent. It lists a handful of kinds in two API servers.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// `$1` is the folder with the files; the rest is the command.
const IN_A_POD: &str = r#"
set -eu
files=$1; shift
exec 3< "$files"
mount -t tmpfs tmpfs /run
for folder in kubernetes.io/serviceaccount submariner.io/broker; do
  mkdir -p "/run/secrets/$folder"
  cp "/proc/self/fd/3/$folder"/* "/run/secrets/$folder"
done
exec "$@" 3<&-
"#;

/// Lighthouse agent of one cluster.
pub struct LighthouseAgent {
    /// Folder with the files that the agent finds in its pod.
    files: PathBuf,
    log: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    process: Process,
}

impl LighthouseAgent {
    /// Starts the agent of `cluster` and waits until it runs its controllers. `broker` may be the same cluster.
    pub async fn start(cluster: &Cluster, cluster_id: &str, broker: &Cluster) -> Result<Self> {
        for object in permissions() {
            objects::apply(cluster.client(), &object).await?;
        }
        broker::prepare(broker, &[cluster_id]).await?;
        broker::admit_lighthouse(broker, cluster_id).await?;
        let files = cluster.folder().join("lighthouse");
        let token = cluster.token_of(NAMESPACE, ACCOUNT).await?;
        write_credentials(&files.join("kubernetes.io/serviceaccount"), cluster, &token)?;
        let token = broker::token(broker, cluster_id).await?;
        write_credentials(&files.join("submariner.io/broker"), broker, &token)?;

        let log = cluster.folder().join("log/lighthouse-agent.log");
        let environment = environment(cluster, cluster_id, broker);
        let process = launch(&files, &environment, &log)?;
        let agent = Self { files, log, environment, process };
        agent.wait_for_start(1).await?;
        Ok(agent)
    }

    /// Kills the agent, as a crash would.
    pub fn stop(&self) -> Result<()> {
        self.process.kill()
    }

    /// Restarts the agent, and waits until it runs its controllers. Kills it first if it runs.
    pub async fn restart(&mut self) -> Result<()> {
        let before = self.start_count()?;
        // Fails only for a process that has ended already.
        let _ = self.process.kill();
        self.process = launch(&self.files, &self.environment, &self.log)?;
        self.wait_for_start(before + 1).await
    }

    async fn wait_for_start(&self, times: usize) -> Result<()> {
        await_while_running(&[&self.process], "the Lighthouse agent has started", START_TIMEOUT, async || {
            let so_far = self.start_count()?;
            ensure!(so_far >= times, "it has started {so_far} times, not {times}");
            Ok(())
        })
        .await
    }

    /// Counts the starts in the log. The agent's readiness endpoint has a fixed port, so two agents on one machine
    /// cannot both offer it.
    fn start_count(&self) -> Result<usize> {
        Ok(fs::read_to_string(&self.log)?.matches("Agent controller started").count())
    }
}

fn launch(files: &Path, environment: &[(&str, OsString)], log: &Path) -> Result<Process> {
    let agent = control_plane_programs()?.join("lighthouse-agent");
    ensure!(agent.is_file(), "{} is missing: scripts/controlplane.sh builds it", agent.display());
    let mut arguments: Vec<OsString> = vec!["--mount".into()];
    if !rustix::process::geteuid().is_root() {
        arguments.push("--map-root-user".into());
    }
    arguments.extend(["--", "sh", "-c", IN_A_POD, "pod"].map(OsString::from));
    arguments.extend([files.into(), agent.into()]);
    Process::start_with(Path::new("unshare"), &arguments, environment, log)
}

fn environment(cluster: &Cluster, cluster_id: &str, broker: &Cluster) -> Vec<(&'static str, OsString)> {
    let (own, brokers) = (cluster.control_plane.api_address(), broker.control_plane.api_address());
    vec![
        ("KUBERNETES_SERVICE_HOST", own.ip().to_string().into()),
        ("KUBERNETES_SERVICE_PORT", own.port().to_string().into()),
        ("SUBMARINER_CLUSTERID", cluster_id.into()),
        ("SUBMARINER_NAMESPACE", NAMESPACE.into()),
        ("BROKER_K8S_APISERVER", brokers.to_string().into()),
        ("BROKER_K8S_REMOTENAMESPACE", BROKER_NAMESPACE.into()),
        // Name of a folder with the broker's credentials. The credentials themselves do not belong into the
        // environment, which other processes can read.
        ("BROKER_K8S_SECRET", "broker".into()),
    ]
}

fn write_credentials(folder: &Path, of: &Cluster, token: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("token"), token)?;
    fs::copy(of.control_plane.authority(), folder.join("ca.crt")).context("copy the authority's certificate")?;
    Ok(())
}

/// Objects with which Submariner's operator grants the agent its permissions.
fn permissions() -> [Value; 4] {
    let read = ["get", "list", "watch"];
    let write = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
    let rbac = "rbac.authorization.k8s.io/v1";
    [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": NAMESPACE}}),
        json!({"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": ACCOUNT}, "rules": [
            {"apiGroups": [""], "resources": ["namespaces", "services", "pods", "configmaps"], "verbs": read},
            {"apiGroups": ["submariner.io"], "resources": ["*"], "verbs": read},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices", "endpointslices/restricted"], "verbs": write},
            {"apiGroups": ["multicluster.x-k8s.io"], "resources": ["*"], "verbs": write},
        ]}),
        json!({"apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": {"name": ACCOUNT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}]}),
    ]
}
