//! Real Prometheus, and a page for it to scrape: the source of measured load and utilization.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::control_plane::free_port;
use crate::http;
use crate::process::{Process, await_while_running};

/// Path in Debian's package.
const PROGRAM: &str = "/usr/bin/prometheus";
/// Path prefix: many servers are behind a proxy, below a path.
const PREFIX: &str = "/metrics-of-all";
/// Longest wait for Prometheus. It replays an empty log and listens.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

/// Prometheus that scrapes one page every quarter of a second. Dropping it stops it.
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
    page: Arc<Mutex<String>>,
    data: PathBuf,
    _exporter: JoinSet<()>,
}

impl Prometheus {
    /// Starts Prometheus with its files in `folder`. Returns once it is ready for queries.
    pub async fn start(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let page = Arc::new(Mutex::new(String::new()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let target = listener.local_addr()?;
        let mut exporter = JoinSet::new();
        exporter.spawn(export(listener, Arc::clone(&page)));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let (config, data) = (folder.join("prometheus.yml"), folder.join("prometheus"));
        fs::write(&config, configuration(target))?;
        let flags: Vec<OsString> = vec![
            format!("--config.file={}", config.display()).into(),
            format!("--storage.tsdb.path={}", data.display()).into(),
            format!("--web.listen-address={address}").into(),
            format!("--web.external-url=http://{address}{PREFIX}/").into(),
            "--log.level=warn".into(),
        ];
        let process = Process::start(Path::new(PROGRAM), &flags, &folder.join("prometheus.log"))
            .context("scripts/deps-e2e.sh installs it")?;
        let started = Self { process, address, page, data, _exporter: exporter };
        await_while_running(&[&started.process], "Prometheus is ready", READY_TIMEOUT, async || {
            let http::HttpReply { status, body, .. } = http::get(address, &format!("{PREFIX}/-/ready")).await?;
            ensure!(status == 200, "{status}: {body}");
            Ok(())
        })
        .await?;
        Ok(started)
    }

    /// URL for `--prometheus`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{PREFIX}", self.address)
    }

    /// Sets the content of the page, in the text format of Prometheus.
    pub fn export(&self, metrics: &str) {
        metrics.clone_into(&mut self.page.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Kills Prometheus: no server listens any more.
    pub fn stop(&self) -> Result<()> {
        self.process.kill()
    }

    /// Returns status and body of an instant query. `query` is URL-encoded.
    pub async fn query(&self, query: &str) -> Result<(u16, Value)> {
        let http::HttpReply { status, body, .. } =
            http::get(self.address, &format!("{PREFIX}/api/v1/query?query={query}")).await?;
        Ok((status, serde_json::from_str(&body).context(body)?))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Stop the process first, or it writes into a folder that is being removed.
        let _ = self.process.kill();
        let _ = fs::remove_dir_all(&self.data);
    }
}

fn configuration(target: SocketAddr) -> String {
    format!(
        "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\n\
         scrape_configs:\n- {{job_name: e2e, static_configs: [{{targets: ['{target}']}}]}}\n"
    )
}

async fn export(listener: TcpListener, page: Arc<Mutex<String>>) {
    // A failed connection is one failed scrape.
    while let Ok((stream, _)) = listener.accept().await {
        let body = page.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let _ = answer(stream, &body).await;
    }
}

async fn answer(mut stream: TcpStream, body: &str) -> Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut request).await? > 0, "half a request");
    }
    let head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n";
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    Ok(stream.shutdown().await?)
}
