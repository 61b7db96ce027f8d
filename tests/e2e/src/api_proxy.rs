//! Proxy in front of an API server. It forwards requests, or answers them with an error if a test sets one, and it
//! records all requests.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::control_plane::ControlPlane;
use crate::wait::now;

/// Value of the header `Retry-After` for status 429, in seconds; API servers send the same.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Proxy in front of an API server. Dropping it closes the port and all connections.
pub struct ApiProxy {
    /// Port on 127.0.0.1. The proxy shows the certificate of the API server.
    pub port: u16,
    state: Arc<State>,
    /// Number of times that connections were cut.
    cuts: watch::Sender<u32>,
    _server: JoinSet<()>,
}

/// Recorded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub at: Instant,
    pub method: Method,
    /// Path and query.
    pub path: String,
}

struct State {
    api_server: Client,
    journal: Mutex<Journal>,
}

#[derive(Default)]
struct Journal {
    /// Status for every request. `None`: requests are forwarded.
    error: Option<StatusCode>,
    refused: Vec<Recorded>,
    forwarded: Vec<Recorded>,
}

impl ApiProxy {
    pub async fn start(control_plane: &ControlPlane) -> Result<Self> {
        let (certificate, key) = control_plane.server_identity();
        let acceptor = acceptor(certificate, key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a port before an API server")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State { api_server: control_plane.anonymous_client().await?, journal: Mutex::default() });
        let cuts = watch::Sender::new(0);
        let mut server = JoinSet::new();
        server.spawn(listen(listener, acceptor, Arc::clone(&state), cuts.subscribe()));
        Ok(Self { port, state, cuts, _server: server })
    }

    /// Answers every new request with this status. Replies that have begun, such as watches, continue.
    pub fn refuse_with(&self, error: StatusCode) {
        self.state.journal().error = Some(error);
    }

    /// Forwards every new request.
    pub fn forward(&self) {
        self.state.journal().error = None;
    }

    /// Closes all connections. New ones are accepted.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Requests that were answered with an error, in their order.
    #[must_use]
    pub fn refused(&self) -> Vec<Recorded> {
        self.state.journal().refused.clone()
    }

    /// Requests that were forwarded, in their order.
    #[must_use]
    pub fn forwarded(&self) -> Vec<Recorded> {
        self.state.journal().forwarded.clone()
    }
}

/// Builds an acceptor for TLS that shows this certificate.
pub(crate) fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    Ok(Arc::new(config).into())
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>, cuts: watch::Receiver<u32>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
                // Only cuts after the connection was accepted count.
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                connections.spawn(async move {
                    tokio::select! {
                        () = serve(stream, acceptor, state) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<State>) {
    // A client that closes its connection, or rejects the certificate, is not an error of the proxy.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let answer = service_fn(|request| state.answer(request));
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

impl State {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        // The value is consistent between any two statements.
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Either<Body, Full<Bytes>>>, Infallible> {
        let refusal = self.journal().record(&request);
        Ok(match refusal {
            Some(status) => error(status, "set by the proxy in front of the API server"),
            None => match self.forward(request).await {
                Ok(response) => response.map(Either::Left),
                Err(why) => error(StatusCode::BAD_GATEWAY, &format!("{why:#}")),
            },
        })
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(self.api_server.send(Request::from_parts(head, Body::from(body))).await?)
    }
}

impl Journal {
    /// Records a request. Returns the status to refuse it with.
    fn record(&mut self, request: &Request<Incoming>) -> Option<StatusCode> {
        let recorded = Recorded { at: now(), method: request.method().clone(), path: request.uri().to_string() };
        let list = if self.error.is_some() { &mut self.refused } else { &mut self.forwarded };
        list.push(recorded);
        self.error
    }
}

/// Builds an error response like that of an API server.
fn error(status: StatusCode, message: &str) -> Response<Either<Body, Full<Bytes>>> {
    let reason = match status {
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        _ => "InternalError",
    };
    let body = json!({
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": status.as_u16(),
    });
    let mut response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
    if status == StatusCode::TOO_MANY_REQUESTS {
        response = response.header(RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    let body = Either::Right(Full::from(body.to_string()));
    response.body(body).expect("all headers are values of headers")
}
