//! Fake kubelet for a metrics-server. It reports the CPU usage of pods that do not run, at the path and in the format
//! of a real one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::api_proxy::acceptor;
use crate::cluster::Cluster;
use crate::objects;
use crate::wait::since_1970;

/// Name of its node.
pub const NODE: &str = "node-1";

const PATH: &str = "/metrics/resource";

/// Age of a container at its first report. A metrics-server treats a container differently if it started after the last
/// scrape.
const AGE: Duration = Duration::from_secs(3600);

/// Running kubelet. Dropping it stops the server.
pub struct Kubelet {
    containers: Arc<Mutex<Containers>>,
    _server: JoinSet<()>,
}

/// CPU usage by namespace, pod and container.
type Containers = BTreeMap<[String; 3], Cpu>;

/// CPU usage of a container since its rate was last set.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cpu {
    cores: f64,
    /// Time of the last change, since 1970.
    since: Duration,
    /// Usage until `since`, in core-seconds.
    used: f64,
    started: Duration,
}

impl Kubelet {
    /// Starts a server on loopback with the certificate of the cluster's API server, and adds a node to the cluster
    /// that leads to it.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (certificate, key) = cluster.control_plane.server_identity();
        let containers = Arc::default();
        let mut server = JoinSet::new();
        server.spawn(listen(listener, acceptor(certificate, key)?, Arc::clone(&containers)));
        objects::apply(cluster.client(), &node(port)).await?;
        Ok(Self { containers, _server: server })
    }

    /// Sets the CPU usage of a container, in cores.
    pub fn set_usage(&self, (namespace, pod, container): (&str, &str, &str), cores: f64) -> Result<()> {
        let now = since_1970()?;
        let mut containers = lock(&self.containers);
        let cpu = containers.entry([namespace, pod, container].map(String::from)).or_insert_with(|| Cpu::new(now));
        *cpu = Cpu { cores, since: now, used: cpu.used_at(now), started: cpu.started };
        Ok(())
    }
}

impl Cpu {
    /// Creates a container that has used next to nothing. A metrics-server drops a usage of zero.
    fn new(now: Duration) -> Self {
        Self { cores: 0.0, since: now, used: 1.0, started: now.saturating_sub(AGE) }
    }

    fn used_at(self, now: Duration) -> f64 {
        self.used + self.cores * now.saturating_sub(self.since).as_secs_f64()
    }
}

fn node(port: u16) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE},
        "status": {
            "addresses": [{"type": "InternalIP", "address": Ipv4Addr::LOCALHOST}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        },
    })
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, containers: Arc<Mutex<Containers>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&containers)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, containers: Arc<Mutex<Containers>>) {
    // A client that closes its connection, or rejects the certificate, causes one failed scrape.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let answer = service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(answer(&request, &containers)));
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

fn answer(request: &Request<Incoming>, containers: &Mutex<Containers>) -> Response<Full<Bytes>> {
    let page = (request.uri().path() == PATH).then(since_1970).and_then(Result::ok);
    let page = page.map(|now| page_at(now, &lock(containers)));
    let mut response = Response::new(Full::new(page.clone().unwrap_or_default().into()));
    match page {
        Some(_) => drop(response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"))),
        None => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    response
}

/// Returns the metrics in the text format of Prometheus, with their time.
fn page_at(now: Duration, containers: &Containers) -> String {
    const MEMORY: u32 = 64 << 20;
    let mut page = String::new();
    let mut family = |name: &str, kind: &str, of: &dyn Fn(Cpu) -> f64| {
        let _ = writeln!(page, "# TYPE {name} {kind}");
        for ([namespace, pod, container], cpu) in containers {
            let labels = format!("container=\"{container}\",namespace=\"{namespace}\",pod=\"{pod}\"");
            let _ = writeln!(page, "{name}{{{labels}}} {} {}", of(*cpu), now.as_millis());
        }
    };
    family("container_cpu_usage_seconds_total", "counter", &|cpu| cpu.used_at(now));
    family("container_memory_working_set_bytes", "gauge", &|_| MEMORY.into());
    family("container_start_time_seconds", "gauge", &|cpu| cpu.started.as_secs_f64());
    page
}

fn lock(containers: &Mutex<Containers>) -> MutexGuard<'_, Containers> {
    // The value is consistent between any two statements.
    containers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_usage_of_a_container_grows_and_never_falls() {
        let at = |seconds: u64| Duration::from_secs(5000 + seconds);
        let cpu = Cpu { cores: 0.5, ..Cpu::new(at(0)) };
        let containers = Containers::from([(["shop", "web-1", "web"].map(String::from), cpu)]);
        let page = page_at(at(10), &containers);
        let labels = r#"{container="web",namespace="shop",pod="web-1"}"#;
        for line in [
            format!("container_cpu_usage_seconds_total{labels} 6 5010000"),
            format!("container_start_time_seconds{labels} 1400 5010000"),
        ] {
            assert!(page.lines().any(|it| it == line), "{page}");
        }
        let idle = Cpu { cores: 0.0, since: at(10), used: cpu.used_at(at(10)), ..cpu };
        assert!((idle.used_at(at(60)) - 6.0).abs() < 1e-9);
    }
}
