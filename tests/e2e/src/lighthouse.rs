//! A real Lighthouse agent beside Landfall, as the release ships it: what it writes is nobody's idea of what it writes.
//!
//! It knows only one way to its cluster, that of a pod: a token and a certificate in a folder with a fixed path. So each
//! agent runs in a mount namespace of its own, in which `/run` is empty but for these files. (`/var/run` is a link to
//! it.) For a user who is not root that takes a user namespace as well.

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

/// Where Submariner's operator runs its agents.
const NAMESPACE: &str = "submariner-operator";
const ACCOUNT: &str = "submariner-lighthouse-agent";

/// What the API server calls the agent.
pub const USER: &str = "system:serviceaccount:submariner-operator:submariner-lighthouse-agent";

/// It lists a handful of kinds in two API servers.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// `$1` is the folder with the files; the rest is the program.
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

/// The agent of one cluster.
pub struct LighthouseAgent {
    /// With the files that the agent finds in its pod.
    files: PathBuf,
    log: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    process: Process,
}

impl LighthouseAgent {
    /// Starts the agent of `cluster` and waits until it is at work. `broker` may be the same cluster.
    pub async fn start(cluster: &Cluster, cluster_id: &str, broker: &Cluster) -> Result<Self> {
        for object in rights() {
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
        agent.at_work(1).await?;
        Ok(agent)
    }

    /// Stops it at once, as a crash would.
    pub fn stop(&self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it anew, whether it was stopped or not, and waits until it is at work again.
    pub async fn restart(&mut self) -> Result<()> {
        let before = self.times_at_work()?;
        // Fails only for a process that is gone already.
        let _ = self.process.kill();
        self.process = launch(&self.files, &self.environment, &self.log)?;
        self.at_work(before + 1).await
    }

    async fn at_work(&self, times: usize) -> Result<()> {
        await_while_running(&[&self.process], "the Lighthouse agent is at work", START_DEADLINE, async || {
            let so_far = self.times_at_work()?;
            ensure!(so_far >= times, "its log says so {so_far} times");
            Ok(())
        })
        .await
    }

    /// How often the log says that an agent has started. It has no readiness that two agents on one machine could have:
    /// its port is fixed.
    fn times_at_work(&self) -> Result<usize> {
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
        // The name of a folder with the broker's credentials, and not the credentials: the environment is public.
        ("BROKER_K8S_SECRET", "broker".into()),
    ]
}

fn write_credentials(folder: &Path, of: &Cluster, token: &str) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("token"), token)?;
    fs::copy(of.control_plane.authority(), folder.join("ca.crt")).context("copy the authority's certificate")?;
    Ok(())
}

/// What Submariner's operator grants the agent.
fn rights() -> [Value; 4] {
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
