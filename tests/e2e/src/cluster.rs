//! Cluster that is ready for Landfall: a control plane with the CRDs and the chart's identities.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::process::Command;

use crate::control_plane::ControlPlane;
use crate::files::{control_plane_programs, fixture, repository};
use crate::landfall::{RELEASE_NAMESPACE, Site};
use crate::objects;
use crate::wait::await_condition;

/// Service accounts that the chart creates.
pub const OPERATOR_ACCOUNT: &str = "landfall-operator";
pub const DNS_ACCOUNT: &str = "landfall-dns";

const CRD_TIMEOUT: Duration = Duration::from_secs(10);

/// Version of the Multi-Cluster Services CRDs in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum McsCrds {
    /// CRDs of the newest release: v1alpha1 and v1beta1.
    Current,
    /// Only v1alpha1, as Submariner installed it until 0.23.
    V1alpha1,
}

/// Control plane with a name in the test run and an id in its clusterset.
pub struct Cluster {
    name: String,
    id: String,
    pub control_plane: ControlPlane,
    client: Client,
}

/// Output and result of a program that has ended.
#[derive(Debug)]
pub struct Output {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Cluster {
    /// Starts a control plane and installs everything except running programs. `name` must be unique in the run; `id`
    /// is the cluster's id in its clusterset.
    pub async fn start(name: &str, id: &str, mcs: McsCrds) -> Result<Self> {
        let mut cluster = Self::bare(name, id).await?;
        cluster.install(mcs).await.with_context(|| format!("install into cluster {name}"))?;
        Ok(cluster)
    }

    /// Starts a control plane without the CRDs of Landfall, Submariner and Multi-Cluster Services.
    pub async fn bare(name: &str, id: &str) -> Result<Self> {
        let control_plane = ControlPlane::start(name).await.with_context(|| format!("start cluster {name}"))?;
        let client = control_plane.admin().await?;
        Ok(Self { name: name.into(), id: id.into(), control_plane, client })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        self.control_plane.folder()
    }

    /// Client of the administrator.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Cluster id in the clusterset.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Arguments for `landfall` in this cluster with `kubeconfig`.
    #[must_use]
    pub fn site<'a>(&'a self, kubeconfig: &'a Path) -> Site<'a> {
        Site { cluster_id: &self.id, kubeconfig, folder: self.folder() }
    }

    /// Writes a kubeconfig with a new token of one of the chart's service accounts. `user` names the file.
    pub async fn kubeconfig_for(&self, account: &str, user: &str) -> Result<PathBuf> {
        let token = self.token_of(RELEASE_NAMESPACE, account).await?;
        self.control_plane.write_kubeconfig(user, &token)
    }

    /// Creates a token of a service account.
    pub async fn token_of(&self, namespace: &str, account: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(3 * 3600), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await;
        let answer = answer.with_context(|| format!("a token of service account {account}"))?;
        answer.status.and_then(|status| status.token).context("a token request without a token")
    }

    /// Runs kubectl as the administrator.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(control_plane_programs()?.join("hyperkube"));
        command.arg("kubectl").args(arguments);
        command.env("KUBECONFIG", self.control_plane.admin_kubeconfig()?);
        command.env("KUBECACHEDIR", self.folder().join("kubectl-cache"));
        run(command).await
    }

    async fn install(&mut self, mcs: McsCrds) -> Result<()> {
        let crds = repository().join("deploy/crds");
        let gateway = fixture("crds/submariner-gateway.yaml");
        let mcs = self.mcs_crds(mcs).await?;
        self.kubectl_apply(&[&crds, &gateway, &mcs]).await.context("the CRDs")?;
        self.crds_established().await?;
        self.control_plane.start_controllers()?;
        objects::apply(
            &self.client,
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": RELEASE_NAMESPACE}}),
        )
        .await?;
        self.install_chart("landfall", RELEASE_NAMESPACE, &format!("clusterID={}", self.id)).await
    }

    async fn mcs_crds(&self, mcs: McsCrds) -> Result<PathBuf> {
        if mcs == McsCrds::V1alpha1 {
            return Ok(fixture("crds/mcs-v1alpha1.yaml"));
        }
        let mut command = Command::new(control_plane_programs()?.join("hyperkube"));
        command.arg("mcs-crds");
        self.keep_output("mcs-crds.yaml", command).await
    }

    /// Applies a chart of Landfall under its own name, with the default values except those of `set`. The namespace
    /// must exist. May be called again with other values.
    pub async fn install_chart(&self, name: &str, namespace: &str, set: &str) -> Result<()> {
        // Two tests may do this at once, with other values.
        static COUNTER: AtomicU32 = AtomicU32::new(1);
        let file = format!("{name}-{}.yaml", COUNTER.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new(control_plane_programs()?.join("helm"));
        command.args(["template", name]).arg(repository().join("charts").join(name));
        command.args(["--namespace", namespace, "--set", set]);
        // No plugin or repository of the user who runs this may change the result.
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, self.folder().join("helm"));
        }
        let rendered = self.keep_output(&file, command).await?;
        self.kubectl_apply(&[&rendered]).await.with_context(|| format!("the rendered chart {name}"))
    }

    async fn keep_output(&self, file: &str, command: Command) -> Result<PathBuf> {
        let output = run(command).await?;
        ensure!(output.success, "{file}: {}", output.stderr);
        let path = self.folder().join(file);
        fs::write(&path, output.stdout)?;
        Ok(path)
    }

    async fn kubectl_apply(&self, files: &[&Path]) -> Result<()> {
        let mut arguments = vec!["apply", "--server-side"];
        for file in files {
            arguments.extend(["--filename", file.to_str().context("a path that is not UTF-8")?]);
        }
        let output = self.kubectl(&arguments).await?;
        ensure!(output.success, "kubectl apply: {}", output.stderr);
        Ok(())
    }

    async fn crds_established(&self) -> Result<()> {
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        await_condition("all CRDs are established", CRD_TIMEOUT, async || {
            for crd in crds.list(&ListParams::default()).await? {
                let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
                let established = conditions.iter().any(|it| it.type_ == "Established" && it.status == "True");
                ensure!(established, "{} is not: {conditions:?}", crd.spec.names.kind);
            }
            Ok(())
        })
        .await
    }
}

async fn run(mut command: Command) -> Result<Output> {
    let output = command.output().await.with_context(|| format!("run {command:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Output { success: output.status.success(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
}
