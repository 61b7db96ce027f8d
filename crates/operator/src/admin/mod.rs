//! The admin port: `/live`, `/ready`, `/metrics`, and `/answers` of a DNS replica.

mod encode;
pub mod collectors;
pub mod fleet;

use crate::admin::collectors::PlanState;
use crate::metrics::Metrics;
use landfall_core::plan::Plan;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Limit of connections: enough for a kubelet, a few scrapers and a user.
const MAX_CONNECTIONS: usize = 32;
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Limit for a client to send its request, and for the whole exchange.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Error)]
#[error("cannot listen on {address} for health checks and metrics; if the port is in use, choose one with --admin")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// Content of the port.
pub struct Admin {
    pub registry: Registry,
    /// Returns the names of what is missing before traffic may come. Empty when the process is ready.
    pub missing: Box<dyn Fn() -> Vec<&'static str> + Send + Sync>,
    /// Writes the counts of answers (`landfall_controller::answers::report`). `None` in a process that answers no
    /// queries.
    pub answers: Option<Box<dyn Fn() -> String + Send + Sync>>,
}

/// Binds the port.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let admin = Arc::clone(&admin);
                    connections.spawn(async move {
                        let service = service_fn(|request| {
                            let response = admin.respond(&request);
                            async { Ok::<_, Infallible>(response) }
                        });
                        let mut http = http1::Builder::new();
                        let connection = http
                            .timer(TokioTimer::new())
                            .header_read_timeout(EXCHANGE_TIMEOUT)
                            .keep_alive(false)
                            .serve_connection(TokioIo::new(stream), service);
                        // An error means that the client has gone, which needs no answer.
                        let _ = tokio::time::timeout(EXCHANGE_TIMEOUT, connection).await;
                    });
                }
                // There are no file descriptors left, or the client has gone: neither ends the server.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

impl Admin {
    fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        }
        match request.uri().path() {
            "/live" => text(StatusCode::OK, "live\n".to_owned()),
            "/ready" => match (self.missing)() {
                missing if missing.is_empty() => text(StatusCode::OK, "ready\n".to_owned()),
                missing => text(StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", missing.join(", "))),
            },
            "/metrics" => self.metrics(),
            "/answers" if let Some(answers) = &self.answers => {
                with_type(text(StatusCode::OK, answers()), "application/json")
            }
            _ => text(StatusCode::NOT_FOUND, "there are /live, /ready and /metrics\n".to_owned()),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut body = String::new();
        match prometheus_client::encoding::text::encode(&mut body, &self.registry) {
            Ok(()) => {
                let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                with_type(text(StatusCode::OK, body), openmetrics)
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

fn with_type(mut response: Response<Full<Bytes>>, content_type: &'static str) -> Response<Full<Bytes>> {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Returns a registry with the metrics that every process has.
pub fn registry(metrics: &Metrics, plan: &watch::Receiver<Option<Arc<Plan>>>) -> Registry {
    let mut registry = Registry::with_prefix("landfall");
    metrics.register(&mut registry);
    registry.register_collector(Box::new(PlanState(plan.clone())));
    registry
}

/// Returns what is missing until there is a plan.
pub fn not_synced(plan: &watch::Receiver<Option<Arc<Plan>>>) -> Vec<&'static str> {
    if plan.borrow().is_some() { Vec::new() } else { vec!["the first complete list of objects"] }
}
