//! Program under test, started with the arguments of its pods.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::control_plane::free_port;
use crate::files::landfall_program;
use crate::http;
use crate::process::{Process, await_while_running};

/// Namespace that the chart is installed in, which is the namespace of the operator.
pub const RELEASE_NAMESPACE: &str = "landfall-system";

/// Longest wait until a program is ready. Connecting, listing and binding take well under a second on an idle machine.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// Running `landfall operator` or `landfall dns`.
#[derive(Debug)]
pub struct Landfall {
    pub process: Process,
    /// Address of `/live`, `/ready`, `/metrics` and other pages.
    pub admin: SocketAddr,
    arguments: Vec<OsString>,
    log: PathBuf,
}

/// Running `landfall dns`.
#[derive(Debug)]
pub struct DnsServer {
    pub landfall: Landfall,
    /// Address of the DNS server, for UDP and TCP.
    pub address: SocketAddr,
}

/// Arguments that both commands share.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    pub cluster_id: &'a str,
    pub kubeconfig: &'a Path,
    /// Folder of the logs.
    pub folder: &'a Path,
}

impl Landfall {
    /// Starts `landfall operator`. `identity` is its name in the leader election and in its log's name; `more` has
    /// further arguments.
    pub fn operator(site: Site<'_>, identity: &str, more: &[OsString]) -> Result<Self> {
        Self::start(site, identity, &["operator", "--identity", identity], more)
    }

    /// Starts `landfall` with this command and the common arguments. `name` names its log.
    fn start(site: Site<'_>, name: &str, command: &[&str], more: &[OsString]) -> Result<Self> {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut all: Vec<OsString> = command.iter().map(OsString::from).collect();
        all.extend_from_slice(more);
        all.extend(["--kubeconfig".into(), site.kubeconfig.into()]);
        all.extend(["--cluster-id", site.cluster_id, "--namespace", RELEASE_NAMESPACE].map(OsString::from));
        all.extend(["--admin".into(), admin.to_string().into()]);
        let log = site.folder.join("log").join(format!("landfall-{name}.log"));
        Ok(Self { process: Process::start(&landfall_program()?, &all, &log)?, admin, arguments: all, log })
    }

    /// Restarts the program with the same arguments and ports. Kills it first if it runs.
    pub fn restart(&mut self) -> Result<()> {
        self.restart_with(&[])
    }

    /// Restarts the program with a clock that is off by `offset`, such as `+1h`. Time passes at the normal rate.
    pub fn restart_at(&mut self, offset: &str) -> Result<()> {
        self.restart_with(&[
            // From Debian's package libfaketime. The loader replaces LIB. If the file is missing, the loader logs that,
            // and the clock is right.
            ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1".into()),
            ("FAKETIME", offset.into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ])
    }

    fn restart_with(&mut self, environment: &[(&str, OsString)]) -> Result<()> {
        // Fails for a process that has ended already.
        let _ = self.process.kill();
        self.process = Process::start_with(&landfall_program()?, &self.arguments, environment, &self.log)?;
        Ok(())
    }

    /// Returns once `/ready` reports 200.
    pub async fn ready(&self) -> Result<()> {
        await_while_running(&[&self.process], "landfall is ready", READY_TIMEOUT, async || {
            let (status, body) = self.admin_page("/ready").await?;
            ensure!(status == 200, "/ready reports {status}: {body}");
            Ok(())
        })
        .await
    }

    /// Returns status and body of a page of the admin port, such as `/live`, `/ready` or `/metrics`.
    pub async fn admin_page(&self, path: &str) -> Result<(u16, String)> {
        let reply = http::get(self.admin, path).await?;
        Ok((reply.status, reply.body))
    }
}

impl DnsServer {
    /// Starts `landfall dns`. `name` names its log; `more` has further arguments.
    pub fn start(site: Site<'_>, name: &str, more: &[OsString]) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let listen = address.to_string();
        let mut command = vec!["dns", "--listen", &listen];
        if !more.iter().any(|argument| argument == "--probe") {
            command.extend(["--probe", "127.0.0.1:0"]);
        }
        let landfall = Landfall::start(site, name, &command, more)?;
        Ok(Self { landfall, address })
    }
}

/// Runs `landfall` with these arguments until it ends. Returns its exit status and its output, both streams.
pub async fn run_to_end(arguments: &[OsString], log: &Path, timeout: Duration) -> Result<(ExitStatus, String)> {
    let process = Process::start(&landfall_program()?, arguments, log)?;
    let status = process.exit_status(timeout).await?;
    Ok((status, std::fs::read_to_string(log)?))
}
