//! Real HTTP server with a limited capacity: `slots` requests at a time, each of which takes a while, and a queue
//! before them. A reply names the cluster that answered, and `/metrics` shows the utilization.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::wait::now;

/// Header that names the cluster that answered.
pub const CLUSTER_HEADER: &str = "x-cluster";

/// Length of the queue per slot. Requests beyond slots and queue are refused.
const QUEUE_PER_SLOT: usize = 4;

/// Pods of one cluster behind one address. Dropping it closes the address and all connections.
pub struct Backend {
    pub address: SocketAddr,
    state: Arc<State>,
    _server: JoinSet<()>,
}

/// Counters of a backend since its start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    pub served: u64,
    /// Requests answered with 503 because the queue was full.
    pub refused: u64,
    /// Highest number of requests that were served at the same time.
    pub max_at_once: usize,
    /// Busy time of all slots together.
    pub busy: Duration,
}

/// State that all connections share.
struct State {
    cluster: String,
    service_time: Duration,
    slots: Semaphore,
    slot_count: AtomicUsize,
    present: AtomicUsize,
    served: AtomicU64,
    refused: AtomicU64,
    occupancy: Mutex<Occupancy>,
}

/// Number of busy slots, and its integral over time.
struct Occupancy {
    busy: usize,
    max_busy: usize,
    since: Instant,
    total: Duration,
}

impl Backend {
    /// Starts a server of `cluster` with a capacity of `slots / service_time` requests per second.
    pub async fn start(cluster: &str, slots: usize, service_time: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a port for a backend")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            cluster: cluster.into(),
            service_time,
            slots: Semaphore::new(slots),
            slot_count: AtomicUsize::new(slots),
            present: AtomicUsize::new(0),
            served: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            occupancy: Mutex::new(Occupancy { busy: 0, max_busy: 0, since: now(), total: Duration::ZERO }),
        });
        let mut server = JoinSet::new();
        server.spawn(listen(listener, Arc::clone(&state)));
        Ok(Self { address, state, _server: server })
    }

    /// Changes how many requests are served at a time. Returns once the requests in removed slots have ended.
    pub async fn set_slots(&self, slots: usize) -> Result<()> {
        let before = self.state.slot_count.swap(slots, Ordering::Relaxed);
        self.state.slots.add_permits(slots.saturating_sub(before));
        let taken = u32::try_from(before.saturating_sub(slots))?;
        self.state.slots.acquire_many(taken).await.context("the slots are never closed")?.forget();
        Ok(())
    }

    #[must_use]
    pub fn work(&self) -> Work {
        let (max_at_once, busy) = self.state.occupancy_until_now();
        Work {
            served: self.state.served.load(Ordering::Relaxed),
            refused: self.state.refused.load(Ordering::Relaxed),
            max_at_once,
            busy,
        }
    }
}

async fn listen(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    let answer = service_fn(|request| answer(&state, request));
                    let connection = hyper::server::conn::http1::Builder::new();
                    // A client that closed its connection is not an error of the server.
                    let _ = connection.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, state.metrics()),
        _ => (state.serve().await, String::new()),
    };
    let response = Response::builder().status(status).header(CLUSTER_HEADER, &state.cluster);
    Ok(response.body(Full::from(body)).expect("a cluster's id is a header value"))
}

impl State {
    async fn serve(&self) -> StatusCode {
        let places = self.slot_count.load(Ordering::Relaxed) * (1 + QUEUE_PER_SLOT);
        // The place is freed even if the client closes the connection and drops this future.
        let Some(_place) = Place::take(&self.present, places) else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return StatusCode::SERVICE_UNAVAILABLE;
        };
        let _slot = self.slots.acquire().await.expect("the slots are never closed");
        let _busy = Busy::begin(&self.occupancy);
        sleep(self.service_time).await;
        self.served.fetch_add(1, Ordering::Relaxed);
        StatusCode::OK
    }

    fn occupancy_until_now(&self) -> (usize, Duration) {
        let mut occupancy = locked(&self.occupancy);
        occupancy.change(|busy| busy);
        (occupancy.max_busy, occupancy.total)
    }

    /// Returns the counters in the text format of Prometheus.
    fn metrics(&self) -> String {
        let (_, busy) = self.occupancy_until_now();
        let slots = self.slot_count.load(Ordering::Relaxed);
        let now_busy = locked(&self.occupancy).busy as f64 / slots.max(1) as f64;
        let mut text = String::new();
        for (name, kind, value) in [
            ("backend_requests_total", "counter", self.served.load(Ordering::Relaxed) as f64),
            ("backend_refused_total", "counter", self.refused.load(Ordering::Relaxed) as f64),
            ("backend_busy_seconds_total", "counter", busy.as_secs_f64()),
            ("backend_slots", "gauge", slots as f64),
            ("backend_busy_fraction", "gauge", now_busy),
        ] {
            let cluster = &self.cluster;
            write!(text, "# TYPE {name} {kind}\n{name}{{cluster=\"{cluster}\"}} {value}\n")
                .expect("a String takes everything");
        }
        text
    }
}

/// Place in a slot or in the queue. Dropping it frees the place.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(present: &'a AtomicUsize, places: usize) -> Option<Self> {
        let before = present.fetch_add(1, Ordering::Relaxed);
        let place = Self(present);
        (before < places).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Busy slot. Dropping it ends the busy time.
struct Busy<'a>(&'a Mutex<Occupancy>);

impl<'a> Busy<'a> {
    fn begin(occupancy: &'a Mutex<Occupancy>) -> Self {
        locked(occupancy).change(|busy| busy + 1);
        Self(occupancy)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        locked(self.0).change(|busy| busy - 1);
    }
}

impl Occupancy {
    fn change(&mut self, change: impl Fn(usize) -> usize) {
        let now = now();
        let busy = u32::try_from(self.busy).unwrap_or(u32::MAX);
        self.total += (now - self.since) * busy;
        self.since = now;
        self.busy = change(self.busy);
        self.max_busy = self.max_busy.max(self.busy);
    }
}

fn locked(occupancy: &Mutex<Occupancy>) -> MutexGuard<'_, Occupancy> {
    // The value is consistent between any two statements.
    occupancy.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    /// Sends `requests` at once. Returns how many were answered with 200, and how long all of them took.
    async fn request_at_once(backend: &Backend, requests: usize) -> Result<(usize, Duration)> {
        let since = now();
        let mut under_way = JoinSet::new();
        for _ in 0..requests {
            under_way.spawn(http::get(backend.address, "/"));
        }
        let mut served = 0;
        while let Some(reply) = under_way.join_next().await {
            let reply = reply??;
            assert_eq!(reply.header(CLUSTER_HEADER), Some("east"));
            served += usize::from(reply.status == 200);
        }
        Ok((served, since.elapsed()))
    }

    #[tokio::test]
    async fn requests_beyond_the_slots_wait() -> Result<()> {
        let backend = Backend::start("east", 2, Duration::from_millis(40)).await?;
        let (served, took) = request_at_once(&backend, 6).await?;
        assert_eq!(served, 6);
        assert!(took >= Duration::from_millis(120), "{took:?}");
        let work = backend.work();
        assert_eq!((work.served, work.refused, work.max_at_once), (6, 0, 2));
        assert!(work.busy >= Duration::from_millis(240), "{work:?}");
        Ok(())
    }

    #[tokio::test]
    async fn requests_beyond_the_queue_are_refused() -> Result<()> {
        let backend = Backend::start("east", 1, Duration::from_millis(100)).await?;
        let (served, _) = request_at_once(&backend, 12).await?;
        assert_eq!(served, 1 + QUEUE_PER_SLOT);
        assert_eq!(backend.work().refused, 12 - 1 - QUEUE_PER_SLOT as u64);
        Ok(())
    }

    #[tokio::test]
    async fn capacity_can_be_changed() -> Result<()> {
        let backend = Backend::start("east", 4, Duration::from_millis(30)).await?;
        backend.set_slots(1).await?;
        request_at_once(&backend, 4).await?;
        assert_eq!(backend.work().max_at_once, 1);
        backend.set_slots(3).await?;
        request_at_once(&backend, 6).await?;
        assert_eq!(backend.work().max_at_once, 3);
        Ok(())
    }

    #[tokio::test]
    async fn metrics_show_the_utilization() -> Result<()> {
        let backend = Backend::start("east", 2, Duration::from_millis(30)).await?;
        request_at_once(&backend, 3).await?;
        let page = http::get(backend.address, "/metrics").await?.body;
        assert!(page.contains("backend_requests_total{cluster=\"east\"} 3\n"), "{page}");
        assert!(page.contains("backend_slots{cluster=\"east\"} 2\n"), "{page}");
        assert!(page.contains("backend_busy_fraction{cluster=\"east\"} 0\n"), "{page}");
        Ok(())
    }
}
