//! Control plane on loopback: etcd, the API server, and three controllers.
//!
//! It has no scheduler and no node. The controllers delete the content of a deleted namespace and the dependents of a
//! deleted owner, and create the default service account of each namespace.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::certificates::{AGGREGATOR, Credentials};
use crate::files::{control_plane_programs, run_folder};
use crate::process::{Process, await_while_running};

/// Longest wait for an API server. It is ready 2.5 s after its start on two idle cores, but several start at once,
/// beside other tests.
const START_TIMEOUT: Duration = Duration::from_secs(60);

const SERVICE_RANGE: &str = "10.96.0.0/16";

/// Running control plane. Dropping it stops its processes and removes the data of etcd; logs stay.
#[derive(Debug)]
pub struct ControlPlane {
    folder: PathBuf,
    credentials: Credentials,
    etcd_port: u16,
    api_port: u16,
    etcd: Process,
    api_server: Mutex<Option<Arc<Process>>>,
    controllers: Option<Process>,
}

impl ControlPlane {
    /// Starts etcd and the API server. Returns once the API server reports that it is ready.
    pub async fn start(name: &str) -> Result<Self> {
        let folder = run_folder()?.join(name);
        ensure!(!folder.exists(), "a cluster called {name} exists already in this run: give each its own name");
        let credentials = Credentials::create(&folder.join("pki"))?;
        fs::create_dir_all(folder.join("log"))?;
        let (etcd_port, api_port) = (free_port()?, free_port()?);
        let etcd = start_etcd(&folder, etcd_port)?;
        let api_server = Mutex::new(None);
        let control_plane = Self { folder, credentials, etcd_port, api_port, etcd, api_server, controllers: None };
        control_plane.start_api_server().await?;
        Ok(control_plane)
    }

    /// Starts the API server on its port. Returns once it reports that it is ready.
    pub async fn start_api_server(&self) -> Result<()> {
        let api_server = Arc::new(start_component(&self.folder, "kube-apiserver", &self.api_server_flags())?);
        *self.api_server() = Some(Arc::clone(&api_server));
        let client = self.impatient_client().await?;
        await_while_running(&[&self.etcd, &api_server], "the API server is ready", START_TIMEOUT, async || {
            let body = client.request_text(http_get("/readyz")).await?;
            ensure!(body == "ok", "/readyz reports {body}");
            Ok(())
        })
        .await
    }

    /// Kills the API server as a crash would: every watch breaks, and every new connection is refused.
    pub fn stop_api_server(&self) -> Result<()> {
        self.api_server().take().context("the API server does not run")?.kill()
    }

    fn api_server(&self) -> MutexGuard<'_, Option<Arc<Process>>> {
        self.api_server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the controllers. They discover kinds at their start and then every 30 s. Call this once the CRDs exist,
    /// or the deletion of a dependent waits that long.
    pub fn start_controllers(&mut self) -> Result<()> {
        let credentials = &self.credentials;
        let kubeconfig = self.write_kubeconfig("controllers", &credentials.admin_token)?;
        let flags = [
            flag("kubeconfig", &kubeconfig),
            flag("service-account-private-key-file", &credentials.token_key),
            flag("root-ca-file", &credentials.authority),
            "--controllers=namespace-controller,garbage-collector-controller,serviceaccount-controller".into(),
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
        ];
        self.controllers = Some(start_component(&self.folder, "kube-controller-manager", &flags)?);
        Ok(())
    }

    /// Creates a client of the administrator. It belongs to the current runtime.
    pub async fn admin(&self) -> Result<Client> {
        Ok(Client::try_from(self.admin_config().await?)?)
    }

    /// Creates a client that ignores the pause (5 s) that a starting server asks for. The tests measure from the moment
    /// the server is ready, so they must not learn of it late.
    async fn impatient_client(&self) -> Result<Client> {
        let mut config = self.admin_config().await?;
        config.default_retry = false;
        Ok(Client::try_from(config)?)
    }

    /// Creates a client without credentials, for requests that carry their own.
    pub async fn anonymous_client(&self) -> Result<Client> {
        let mut config = self.admin_config().await?;
        (config.auth_info, config.default_retry) = (AuthInfo::default(), false);
        Ok(Client::try_from(config)?)
    }

    async fn admin_config(&self) -> Result<Config> {
        let kubeconfig = Kubeconfig::read_from(self.admin_kubeconfig()?)?;
        Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
    }

    /// Returns the path of the administrator's kubeconfig.
    pub fn admin_kubeconfig(&self) -> Result<PathBuf> {
        let path = self.folder.join("admin.kubeconfig");
        if path.exists() { Ok(path) } else { self.write_kubeconfig("admin", &self.credentials.admin_token) }
    }

    /// Writes `<user>.kubeconfig` with `token`, and returns its path.
    pub fn write_kubeconfig(&self, user: &str, token: &str) -> Result<PathBuf> {
        self.write_kubeconfig_via(self.api_port, user, token)
    }

    /// Writes `<user>.kubeconfig` as [`ControlPlane::write_kubeconfig`] does, but with `port` of 127.0.0.1, where a
    /// proxy listens for the API server.
    pub fn write_kubeconfig_via(&self, port: u16, user: &str, token: &str) -> Result<PathBuf> {
        let path = self.folder.join(format!("{user}.kubeconfig"));
        let authority = self.credentials.authority.display();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
             clusters:\n- {{name: it, cluster: {{server: \"https://127.0.0.1:{port}\", certificate-authority: \"{authority}\"}}}}\n\
             users:\n- {{name: it, user: {{token: \"{token}\"}}}}\n\
             contexts:\n- {{name: it, context: {{cluster: it, user: it}}}}\n"
        );
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Address of the API server.
    #[must_use]
    pub fn api_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.api_port).into()
    }

    /// Certificate of the authority that signed the API server's certificate.
    #[must_use]
    pub fn authority(&self) -> &Path {
        &self.credentials.authority
    }

    /// Certificate of the API server, and its key.
    #[must_use]
    pub fn server_identity(&self) -> (&Path, &Path) {
        (&self.credentials.server_certificate, &self.credentials.server_key)
    }

    /// Folder of this cluster's files. Logs are in `log/` below it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Audit log: one JSON event per line, for writes to the groups in audit-policy.yaml.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    fn api_server_flags(&self) -> Vec<OsString> {
        let credentials = &self.credentials;
        vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port).into(),
            format!("--secure-port={}", self.api_port).into(),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            "--endpoint-reconciler-type=none".into(),
            "--authorization-mode=RBAC".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-cluster-ip-range={SERVICE_RANGE}").into(),
            flag("tls-cert-file", &credentials.server_certificate),
            flag("tls-private-key-file", &credentials.server_key),
            flag("client-ca-file", &credentials.authority),
            flag("token-auth-file", &credentials.token_file),
            flag("service-account-key-file", &credentials.token_public_key),
            flag("service-account-signing-key-file", &credentials.token_key),
            flag("audit-policy-file", &crate::files::fixture("audit-policy.yaml")),
            flag("audit-log-path", &self.audit_log()),
            "--audit-log-mode=blocking".into(),
            // For aggregated APIs.
            flag("proxy-client-cert-file", &credentials.aggregator_certificate),
            flag("proxy-client-key-file", &credentials.aggregator_key),
            flag("requestheader-client-ca-file", &credentials.authority),
            format!("--requestheader-allowed-names={AGGREGATOR}").into(),
            "--requestheader-username-headers=X-Remote-User".into(),
            "--requestheader-group-headers=X-Remote-Group".into(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        ]
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // Stop the processes first, or they write into a folder that is being removed.
        self.controllers = None;
        *self.api_server() = None;
        // If this fails, 130 MB stay until the next run removes them.
        let _ = self.etcd.kill();
        let _ = fs::remove_dir_all(self.folder.join("etcd"));
    }
}

fn start_etcd(folder: &Path, port: u16) -> Result<Process> {
    let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()?));
    let flags = [
        flag("data-dir", &folder.join("etcd")),
        format!("--listen-client-urls={client}").into(),
        format!("--advertise-client-urls={client}").into(),
        format!("--listen-peer-urls={peer}").into(),
        format!("--initial-advertise-peer-urls={peer}").into(),
        format!("--initial-cluster=default={peer}").into(),
        // The data need not survive a power cut, and an fsync for every write costs more than the write.
        "--unsafe-no-fsync".into(),
    ];
    start_component(folder, "etcd", &flags)
}

fn start_component(folder: &Path, name: &str, flags: &[OsString]) -> Result<Process> {
    let mut arguments = vec![OsString::from(name)];
    arguments.extend_from_slice(flags);
    Process::start(
        &control_plane_programs()?.join("hyperkube"),
        &arguments,
        &folder.join("log").join(format!("{name}.log")),
    )
}

fn flag(name: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(path);
    flag
}

fn http_get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).expect("a path is all it takes")
}

/// Returns a port of 127.0.0.1 that is free for UDP and TCP now, and that this process hands out only once.
///
/// The port is below the range of outgoing connections on Linux (32768 and up). Otherwise a client could take the port
/// of a server between its stop and its restart.
pub fn free_port() -> Result<u16> {
    const FIRST: u16 = 20_000;
    const COUNT: u32 = 12_000;
    // Test processes that run at the same time begin at different ports.
    static NEXT: OnceLock<AtomicU32> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU32::new(std::process::id().wrapping_mul(211)));
    for _ in 0..COUNT {
        let offset = u16::try_from(next.fetch_add(1, Ordering::Relaxed) % COUNT)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + offset));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return Ok(address.port());
        }
    }
    bail!("no port of 127.0.0.1 between {FIRST} and {} is free", u32::from(FIRST) + COUNT)
}
