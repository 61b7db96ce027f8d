//! The server: one address, UDP and TCP, several threads.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use landfall_core::plan::Plan;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::responder::{Responder, Transport};
use crate::zone::Zone;
use crate::{tcp, udp};

/// How many ports to try when any will do: the one that is free for TCP can be taken for UDP.
const ANY_PORT_ATTEMPTS: usize = 16;
/// What waits in the kernel while a thread is not scheduled. The system may allow less (`net.core.rmem_max`).
const RECEIVE_BUFFER: usize = 4 << 20;
const LISTEN_BACKLOG: i32 = 1024;

#[derive(Debug, Clone)]
pub struct Config {
    /// Port 0 takes any that is free. On a host with several addresses, name one: replies to an unspecified address
    /// leave from the one that routing prefers, and not from the one that was asked.
    pub listen: SocketAddr,
    pub zones: Vec<Zone>,
    /// 0 to 3600 s; more is cut. An address that was drawn has at most 5 s.
    pub ttl: Duration,
    /// What `ns.dns.<zone>` resolves to: the addresses under which clients reach this server.
    pub advertise: Vec<IpAddr>,
    pub udp_threads: NonZeroUsize,
}

impl Config {
    /// `clusterset.local` with a TTL of 5 s, a thread per core, advertised as it listens.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            zones: vec![Zone::default()],
            ttl: Duration::from_secs(5),
            advertise: if listen.ip().is_unspecified() { Vec::new() } else { vec![listen.ip()] },
            udp_threads: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

#[derive(Debug, Error)]
pub enum BindError {
    #[error("{address} is in use by another process ({})", transport.as_str())]
    InUse { address: SocketAddr, transport: Transport },
    #[error("no permission to listen on {address} ({}); ports below 1024 need CAP_NET_BIND_SERVICE", transport.as_str())]
    Forbidden { address: SocketAddr, transport: Transport },
    #[error("{address} is not an address of this host ({})", transport.as_str())]
    NotOurs { address: SocketAddr, transport: Transport },
    #[error("cannot listen on {address} ({})", transport.as_str())]
    Other {
        address: SocketAddr,
        transport: Transport,
        #[source]
        source: io::Error,
    },
}

impl BindError {
    fn new(address: SocketAddr, transport: Transport, source: io::Error) -> Self {
        let kind = source.kind();
        if kind == io::ErrorKind::AddrInUse {
            Self::InUse { address, transport }
        } else if kind == io::ErrorKind::PermissionDenied {
            Self::Forbidden { address, transport }
        } else if kind == io::ErrorKind::AddrNotAvailable {
            Self::NotOurs { address, transport }
        } else {
            Self::Other { address, transport, source }
        }
    }
}

#[derive(Debug, Error)]
pub enum ServeError {
    #[error("cannot listen for TCP connections")]
    Listen(#[source] io::Error),
    #[error("cannot accept TCP connections any more")]
    Accept(#[source] io::Error),
    #[error("cannot start a thread")]
    Start(#[source] io::Error),
    #[error("a thread that answers over UDP ended")]
    Udp(#[source] io::Error),
    #[error("a thread that answers over UDP panicked")]
    Panic,
}

/// Bound, and not yet serving: what arrives in the meantime waits.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    tcp: TcpListener,
    udp: Vec<UdpSocket>,
    responder: Arc<Responder>,
    metrics: Arc<Metrics>,
}

/// Takes the address, for UDP and TCP alike, or says why it cannot be had.
pub fn bind(config: Config) -> Result<Server, BindError> {
    let attempts = if config.listen.port() == 0 { ANY_PORT_ATTEMPTS } else { 1 };
    let mut attempt = 1;
    let (tcp, udp, address) = loop {
        match bind_both(config.listen, config.udp_threads) {
            Err(BindError::InUse { transport: Transport::Udp, .. }) if attempt < attempts => attempt += 1,
            bound => break bound?,
        }
    };
    let offset = RandomState::new().hash_one(address);
    let responder = Responder::new(config.zones, config.ttl, config.advertise, offset);
    Ok(Server { address, tcp, udp, responder: Arc::new(responder), metrics: Arc::default() })
}

fn bind_both(
    listen: SocketAddr,
    threads: NonZeroUsize,
) -> Result<(TcpListener, Vec<UdpSocket>, SocketAddr), BindError> {
    // The TCP socket is not shared with anybody, so of two servers started at once only one gets past here.
    let failed = |transport| move |error| BindError::new(listen, transport, error);
    let tcp = bind_tcp(listen).map_err(failed(Transport::Tcp))?;
    let address = tcp.local_addr().map_err(failed(Transport::Tcp))?;
    let failed = |error| BindError::new(address, Transport::Udp, error);
    // Sockets that share a port do so with those of any process that wants to. One that does not tells whether somebody
    // is there already.
    drop(UdpSocket::bind(address).map_err(failed)?);
    let udp: Result<_, _> = (0..threads.get()).map(|_| bind_udp(address)).collect();
    Ok((tcp, udp.map_err(failed)?, address))
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Connections of the process before this one may still be closing.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_port(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_read_timeout(Some(udp::TICK))?;
    socket.set_write_timeout(Some(udp::TICK))?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

impl Server {
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Answers from the newest `plan` until `stop`. Returns when all threads have ended. When one ends by itself, all of
    /// them do, and that is an error: a server that answers only some of its clients is worse than one that restarts.
    pub async fn serve(
        self,
        plan: watch::Receiver<Option<Arc<Plan>>>,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let tcp = tokio::net::TcpListener::from_std(self.tcp).map_err(ServeError::Listen)?;
        let ended = CancellationToken::new();
        // Also when this future is dropped, the threads end.
        let stop_threads = stop.child_token();
        let _stop_threads = stop_threads.clone().drop_guard();
        let mut threads = Vec::with_capacity(self.udp.len());
        for socket in self.udp {
            let worker = udp::Worker {
                socket,
                responder: Arc::clone(&self.responder),
                plan: plan.clone(),
                metrics: Arc::clone(&self.metrics),
                // One of its own: a token that all threads look at would be passed around between their cores.
                stop: stop_threads.child_token(),
            };
            threads.push(start(move || worker.run(), ended.clone()).map_err(ServeError::Start)?);
        }
        let served = tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = ended.cancelled() => Ok(()),
            error = tcp::serve(tcp, &self.responder, &plan, &self.metrics) => Err(ServeError::Accept(error)),
        };
        stop_threads.cancel();
        join(threads).await.and(served)
    }
}

/// A thread that cancels `ended` however it ends, a panic included.
fn start(
    run: impl FnOnce() -> io::Result<()> + Send + 'static,
    ended: CancellationToken,
) -> io::Result<JoinHandle<io::Result<()>>> {
    thread::Builder::new().name("dns-udp".to_owned()).spawn(move || {
        let _ended = ended.drop_guard();
        run()
    })
}

/// Each thread looks up at least once per tick, so this blocks for no longer.
async fn join(threads: Vec<JoinHandle<io::Result<()>>>) -> Result<(), ServeError> {
    let joined = tokio::task::spawn_blocking(|| {
        let results: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
        results.into_iter().try_for_each(|result| result.map_err(|_| ServeError::Panic)?.map_err(ServeError::Udp))
    });
    joined.await.map_err(|_| ServeError::Panic)?
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    fn server() -> Server {
        bind(Config { udp_threads: NonZeroUsize::MIN, ..Config::new(([127, 0, 0, 1], 0).into()) }).unwrap()
    }

    #[tokio::test]
    async fn a_thread_that_dies_ends_the_server_with_its_error() {
        // Nothing can be received from a socket that listens for connections.
        let broken: OwnedFd = TcpListener::bind("127.0.0.1:0").unwrap().into();
        let mut server = server();
        server.udp.push(broken.into());
        let (_plan, plans) = watch::channel(None);
        let ended = server.serve(plans, CancellationToken::new()).await;
        assert!(matches!(ended, Err(ServeError::Udp(_))), "{ended:?}");
    }

    #[tokio::test]
    async fn unusable_tcp_listener_ends_the_server_with_its_error() {
        // A socket that was bound and does not listen: accept fails with EINVAL.
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound.set_nonblocking(true).unwrap();
        bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let mut server = server();
        server.tcp = bound.into();
        let metrics = server.metrics();
        let (_plan, plans) = watch::channel(None);
        let ended = server.serve(plans, CancellationToken::new()).await;
        assert!(matches!(ended, Err(ServeError::Accept(_))), "{ended:?}");
        assert_eq!(metrics.accept_errors(), 0);
    }

    #[tokio::test]
    async fn a_thread_that_panics_is_noticed() {
        let ended = CancellationToken::new();
        let thread = start(|| panic!("as a test"), ended.clone()).unwrap();
        ended.cancelled().await;
        assert!(matches!(join(vec![thread]).await, Err(ServeError::Panic)));
    }

    #[tokio::test]
    async fn threads_end_when_nobody_waits_for_the_server_any_more() {
        let server = server();
        let metrics = server.metrics();
        let (_plan, plans) = watch::channel(None);
        let given_up = tokio::time::timeout(Duration::ZERO, server.serve(plans, CancellationToken::new())).await;
        assert!(given_up.is_err());
        // Each thread holds the metrics of its server.
        while Arc::strong_count(&metrics) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
