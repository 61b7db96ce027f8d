//! One control plane on loopback: etcd, the API server, and the three controllers that clean up.
//!
//! There is no scheduler and no node. The controllers are those that delete the content of a deleted namespace,
//! the dependents of a deleted owner, and make each namespace's default service account.

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

/// An API server is ready 2.5 s after its start on two idle cores; several start at once, beside other tests.
const START_DEADLINE: Duration = Duration::from_secs(60);

const SERVICE_RANGE: &str = "10.96.0.0/16";

/// A running control plane. Dropping it stops its processes and removes etcd's data; logs stay.
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
    /// Starts etcd and the API server, and returns when the API server calls itself ready.
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

    /// Starts the API server, on the same port as ever, and returns when it calls itself ready.
    pub async fn start_api_server(&self) -> Result<()> {
        let api_server = Arc::new(start_component(&self.folder, "kube-apiserver", &self.api_server_flags())?);
        *self.api_server() = Some(Arc::clone(&api_server));
        let client = self.impatient_client().await?;
        await_while_running(&[&self.etcd, &api_server], "the API server is ready", START_DEADLINE, async || {
            let body = client.request_text(http_get("/readyz")).await?;
            ensure!(body == "ok", "/readyz says {body}");
            Ok(())
        })
        .await
    }

    /// Stops the API server at once, as a crash would: every watch breaks, and every new connection is refused.
    pub fn stop_api_server(&self) -> Result<()> {
        self.api_server().take().context("the API server does not run")?.kill()
    }

    fn api_server(&self) -> MutexGuard<'_, Option<Arc<Process>>> {
        self.api_server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the controllers. They learn which kinds exist when they start and then every 30 s: start them after
    /// the CRDs are there, or a dependent's deletion waits that long.
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

    /// A client with every right. It belongs to the runtime it is made in.
    pub async fn admin(&self) -> Result<Client> {
        Ok(Client::try_from(self.admin_config().await?)?)
    }

    /// One that does not wait as long as a server that is starting asks it to (5 s): what is measured from the moment
    /// the server is ready must know that moment.
    async fn impatient_client(&self) -> Result<Client> {
        let mut config = self.admin_config().await?;
        config.default_retry = false;
        Ok(Client::try_from(config)?)
    }

    /// A client that does not say who it is: for requests that do.
    pub async fn nobody(&self) -> Result<Client> {
        let mut config = self.admin_config().await?;
        (config.auth_info, config.default_retry) = (AuthInfo::default(), false);
        Ok(Client::try_from(config)?)
    }

    async fn admin_config(&self) -> Result<Config> {
        let kubeconfig = Kubeconfig::read_from(self.admin_kubeconfig()?)?;
        Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
    }

    /// The administrator's kubeconfig file.
    pub fn admin_kubeconfig(&self) -> Result<PathBuf> {
        let path = self.folder.join("admin.kubeconfig");
        if path.exists() { Ok(path) } else { self.write_kubeconfig("admin", &self.credentials.admin_token) }
    }

    /// Writes `<user>.kubeconfig`, which is for whoever owns `token`, and returns its path.
    pub fn write_kubeconfig(&self, user: &str, token: &str) -> Result<PathBuf> {
        self.write_kubeconfig_via(self.api_port, user, token)
    }

    /// As [`ControlPlane::write_kubeconfig`], through whatever listens on `port` of 127.0.0.1 for the API server.
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

    /// Where the API server listens.
    #[must_use]
    pub fn api_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.api_port).into()
    }

    /// The certificate by which the API server is known.
    #[must_use]
    pub fn authority(&self) -> &Path {
        &self.credentials.authority
    }

    /// The certificate that the API server shows, and its key.
    #[must_use]
    pub fn server_identity(&self) -> (&Path, &Path) {
        (&self.credentials.server_certificate, &self.credentials.server_key)
    }

    /// The folder of this cluster's files; logs are in `log/` below it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The log of audited requests: one JSON event a line, for writes to the groups in audit-policy.yaml.
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
            // For APIs that others serve.
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
        // The processes go first, or they would write into a folder that is being removed.
        self.controllers = None;
        *self.api_server() = None;
        // A failure leaves 130 MB that the next run removes.
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
        // Nothing here needs to survive a power cut, and an fsync for every write costs more than the write.
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

/// A port of 127.0.0.1 that is free for both UDP and TCP now, and that this process gives away only once.
///
/// It lies below the range from which Linux draws the ports of outgoing connections (32768 and up): a server that is
/// stopped and started again on its port would otherwise find it taken by a client every now and then.
pub fn free_port() -> Result<u16> {
    const FIRST: u16 = 20_000;
    const COUNT: u32 = 12_000;
    // Test processes that run at the same time begin at different places.
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
