//! What stands before an API server, as a load balancer would: it passes on what it is asked, until it is told to answer
//! with an error of its own. It remembers what it was asked.

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

/// What a client is asked to wait when there are too many requests, in seconds: API servers say so.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Dropping it closes the port and all connections.
pub struct Front {
    /// Of 127.0.0.1. It shows the API server's certificate.
    pub port: u16,
    desk: Arc<Desk>,
    /// Counts how often connections were cut.
    cuts: watch::Sender<u32>,
    _server: JoinSet<()>,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub at: Instant,
    pub method: Method,
    /// The path and what comes after it.
    pub what: String,
}

struct Desk {
    api_server: Client,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// `None`: requests are passed on.
    error: Option<StatusCode>,
    refused: Vec<Asked>,
    passed: Vec<Asked>,
}

impl Front {
    pub async fn start(control_plane: &ControlPlane) -> Result<Self> {
        let (certificate, key) = control_plane.server_identity();
        let acceptor = acceptor(certificate, key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a port before an API server")?;
        let port = listener.local_addr()?.port();
        let desk = Arc::new(Desk { api_server: control_plane.nobody().await?, book: Mutex::default() });
        let cuts = watch::Sender::new(0);
        let mut server = JoinSet::new();
        server.spawn(listen(listener, acceptor, Arc::clone(&desk), cuts.subscribe()));
        Ok(Self { port, desk, cuts, _server: server })
    }

    /// Answers every request with this status from now on. What is being answered, such as a watch, goes on.
    pub fn refuse_with(&self, error: StatusCode) {
        self.desk.book().error = Some(error);
    }

    /// Passes on every request from now on.
    pub fn pass_on(&self) {
        self.desk.book().error = None;
    }

    /// Closes all connections. New ones are taken.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// The requests that were answered with an error, in their order.
    #[must_use]
    pub fn refused(&self) -> Vec<Asked> {
        self.desk.book().refused.clone()
    }

    /// The requests that were passed on, in their order.
    #[must_use]
    pub fn passed(&self) -> Vec<Asked> {
        self.desk.book().passed.clone()
    }
}

/// Shows this certificate.
pub(crate) fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    Ok(Arc::new(config).into())
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, desk: Arc<Desk>, cuts: watch::Receiver<u32>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let (acceptor, desk) = (acceptor.clone(), Arc::clone(&desk));
                // It sees what is cut after it came.
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                connections.spawn(async move {
                    tokio::select! {
                        () = serve(stream, acceptor, desk) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, desk: Arc<Desk>) {
    // A client that goes away, or does not believe the certificate, is no concern of the server's.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let answer = service_fn(|request| desk.answer(request));
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

impl Desk {
    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing can fail between two changes of it.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Either<Body, Full<Bytes>>>, Infallible> {
        let refusal = self.book().take(&request);
        Ok(match refusal {
            Some(status) => error(status, "said by what stands before the API server"),
            None => match self.pass_on(request).await {
                Ok(response) => response.map(Either::Left),
                Err(why) => error(StatusCode::BAD_GATEWAY, &format!("{why:#}")),
            },
        })
    }

    async fn pass_on(&self, request: Request<Incoming>) -> Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(self.api_server.send(Request::from_parts(head, Body::from(body))).await?)
    }
}

impl Book {
    /// Notes a request. Returns the status to refuse it with.
    fn take(&mut self, request: &Request<Incoming>) -> Option<StatusCode> {
        let asked = Asked { at: now(), method: request.method().clone(), what: request.uri().to_string() };
        let page = if self.error.is_some() { &mut self.refused } else { &mut self.passed };
        page.push(asked);
        self.error
    }
}

/// As an API server says it.
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
