//! The program under test, started as its pods would start it.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cluster::RELEASE_NAMESPACE;
use crate::control_plane::free_port;
use crate::files::landfall_program;
use crate::http;
use crate::process::{Process, await_while_running};

/// Connecting, listing and binding take well under a second; the rest is for a machine that does something else as well.
const READY_DEADLINE: Duration = Duration::from_secs(20);

/// A running `landfall operator` or `landfall dns`.
#[derive(Debug)]
pub struct Landfall {
    pub process: Process,
    /// Where `/live`, `/ready`, `/metrics` and the like are.
    pub admin: SocketAddr,
    arguments: Vec<OsString>,
    log: PathBuf,
}

/// A running `landfall dns`.
#[derive(Debug)]
pub struct DnsServer {
    pub landfall: Landfall,
    /// Where it answers, over UDP and TCP.
    pub address: SocketAddr,
}

/// What both commands are told.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    pub cluster_id: &'a str,
    pub kubeconfig: &'a Path,
    /// Where logs go.
    pub folder: &'a Path,
}

impl Landfall {
    /// Starts `landfall operator`; `identity` is its name in the leader election and names its log. `more`
    /// are arguments that only this one is given.
    pub fn operator(site: Site<'_>, identity: &str, more: &[OsString]) -> Result<Self> {
        Self::start(site, identity, &["operator", "--identity", identity], more)
    }

    /// Starts `landfall` with this command and what every command needs. `name` names its log.
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

    /// Starts it anew as it was started, on the same ports. One that runs still is killed.
    pub fn restart(&mut self) -> Result<()> {
        self.restart_with(&[])
    }

    /// As [`Landfall::restart`], with a clock that is off by this, such as `+1h`. Time passes as everywhere.
    pub fn restart_at(&mut self, offset: &str) -> Result<()> {
        self.restart_with(&[
            // Of Debian's package libfaketime; the loader knows what LIB is. Where there is no such file it says so in
            // the log, and the clock is right.
            ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1".into()),
            ("FAKETIME", offset.into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ])
    }

    fn restart_with(&mut self, environment: &[(&str, OsString)]) -> Result<()> {
        // It fails for one that has ended already.
        let _ = self.process.kill();
        self.process = Process::start_with(&landfall_program()?, &self.arguments, environment, &self.log)?;
        Ok(())
    }

    /// Returns when `/ready` says yes.
    pub async fn ready(&self) -> Result<()> {
        await_while_running(&[&self.process], "landfall is ready", READY_DEADLINE, async || {
            let (status, body) = self.admin_page("/ready").await?;
            ensure!(status == 200, "/ready says {status}: {body}");
            Ok(())
        })
        .await
    }

    /// Status and body of a page of the admin port: `/live`, `/ready`, `/metrics`.
    pub async fn admin_page(&self, path: &str) -> Result<(u16, String)> {
        let reply = http::get(self.admin, path).await?;
        Ok((reply.status, reply.body))
    }
}

impl DnsServer {
    /// Starts `landfall dns`; `name` names its log. `more` are arguments that only this one is given.
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

/// Runs `landfall` with exactly these arguments to its end. Returns its exit status and what it printed, both streams.
pub async fn run_to_end(arguments: &[OsString], log: &Path, deadline: Duration) -> Result<(ExitStatus, String)> {
    let process = Process::start(&landfall_program()?, arguments, log)?;
    let status = process.exit_status(deadline).await?;
    Ok((status, std::fs::read_to_string(log)?))
}
