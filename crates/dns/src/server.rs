//! The server: one address, over UDP and TCP, with several threads.

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

/// Number of ports to try if the configuration leaves the choice: a port that is free for TCP can be in use for UDP.
const MAX_PORT_ATTEMPTS: usize = 16;
/// Size of a socket's receive buffer, which holds queries while its thread is not scheduled. The system may grant less
/// (`net.core.rmem_max`).
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// TCP connections that wait to be accepted.
const LISTEN_BACKLOG: i32 = 1024;

/// Configuration of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on. Port 0 stands for any free port.
    ///
    /// On a host with several addresses, give one of them. With an unspecified address (`0.0.0.0` or `::`), replies
    /// leave from the address that routing prefers, not from the one that the client used.
    pub listen: SocketAddr,
    /// Zones that this server is authoritative for.
    pub zones: Vec<Zone>,
    /// TTL of records, at most 3600 s. The TTL of a drawn address is at most 5 s.
    pub ttl: Duration,
    /// Addresses at which clients reach this server, published as `ns.dns.<zone>`.
    pub advertise: Vec<IpAddr>,
    /// Number of threads that answer over UDP.
    pub udp_threads: NonZeroUsize,
}

impl Config {
    /// Creates a configuration for `clusterset.local` with a TTL of 5 s and one thread per core. Advertises `listen`,
    /// unless it is an unspecified address.
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

/// Reason why a server could not take its address.
#[derive(Debug, Error)]
pub enum BindError {
    #[error("{address} is in use by another process ({})", transport.as_str())]
    InUse { address: SocketAddr, transport: Transport },
    #[error(
        "no permission to listen on {address} ({}); ports below 1024 need CAP_NET_BIND_SERVICE",
        transport.as_str()
    )]
    PermissionDenied { address: SocketAddr, transport: Transport },
    #[error("{address} is not an address of this host ({})", transport.as_str())]
    NotLocal { address: SocketAddr, transport: Transport },
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
            Self::PermissionDenied { address, transport }
        } else if kind == io::ErrorKind::AddrNotAvailable {
            Self::NotLocal { address, transport }
        } else {
            Self::Other { address, transport, source }
        }
    }
}

/// Reason why a server ended without being stopped.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("cannot listen for TCP connections")]
    Listen(#[source] io::Error),
    #[error("cannot accept TCP connections")]
    Accept(#[source] io::Error),
    #[error("cannot start a UDP thread")]
    Start(#[source] io::Error),
    #[error("cannot receive over UDP")]
    Udp(#[source] io::Error),
    #[error("a UDP thread panicked")]
    Panic,
}

/// A server that has its address and does not serve yet. Queries that arrive in the meantime wait.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    tcp: TcpListener,
    udp: Vec<UdpSocket>,
    responder: Arc<Responder>,
    metrics: Arc<Metrics>,
}

/// Takes the address, for both UDP and TCP.
pub fn bind(config: Config) -> Result<Server, BindError> {
    let attempts = if config.listen.port() == 0 { MAX_PORT_ATTEMPTS } else { 1 };
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
    // The TCP socket cannot be shared, so only one of two servers that start at once gets past here.
    let failed = |transport| move |error| BindError::new(listen, transport, error);
    let tcp = bind_tcp(listen).map_err(failed(Transport::Tcp))?;
    let address = tcp.local_addr().map_err(failed(Transport::Tcp))?;
    let failed = |error| BindError::new(address, Transport::Udp, error);
    // The UDP sockets share their port, also with those of any other process that shares it. Binding a socket that does
    // not share the port first shows whether the port is in use.
    drop(UdpSocket::bind(address).map_err(failed)?);
    let udp: Result<_, _> = (0..threads.get()).map(|_| bind_udp(address)).collect();
    Ok((tcp, udp.map_err(failed)?, address))
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Connections of the previous process may still be closing.
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
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_read_timeout(Some(udp::SOCKET_TIMEOUT))?;
    socket.set_write_timeout(Some(udp::SOCKET_TIMEOUT))?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

impl Server {
    /// Returns the address that the server listens on, with the actual port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the counters of the server.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Answers from the newest `plan` until `stop` is cancelled. Returns when all threads have ended.
    ///
    /// Returns an error if a thread or the TCP listener ends by itself; all threads then end. A server that answers
    /// only some of its clients is worse than one that restarts.
    pub async fn serve(
        self,
        plan: watch::Receiver<Option<Arc<Plan>>>,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let tcp = tokio::net::TcpListener::from_std(self.tcp).map_err(ServeError::Listen)?;
        let ended = CancellationToken::new();
        // Stops the threads when this future is dropped.
        let stop_threads = stop.child_token();
        let _stop_threads = stop_threads.clone().drop_guard();
        let mut threads = Vec::with_capacity(self.udp.len());
        for socket in self.udp {
            let worker = udp::Worker {
                socket,
                responder: Arc::clone(&self.responder),
                plan: plan.clone(),
                metrics: Arc::clone(&self.metrics),
                // Each thread has its own token: a token that all threads read would move between the caches of their
                // cores.
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

/// Starts a thread that cancels `ended` when it ends, even by a panic.
fn start(
    run: impl FnOnce() -> io::Result<()> + Send + 'static,
    ended: CancellationToken,
) -> io::Result<JoinHandle<io::Result<()>>> {
    thread::Builder::new().name("dns-udp".to_owned()).spawn(move || {
        let _ended = ended.drop_guard();
        run()
    })
}

/// Waits for all threads to end. Each thread checks for the stop at least once per [`udp::SOCKET_TIMEOUT`], unless
/// replies cannot be sent.
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
    async fn failed_thread_ends_the_server_with_its_error() {
        // A socket that listens for connections cannot receive: ENOTCONN.
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
    async fn panic_of_a_thread_is_reported() {
        let ended = CancellationToken::new();
        let thread = start(|| panic!("as a test"), ended.clone()).unwrap();
        ended.cancelled().await;
        assert!(matches!(join(vec![thread]).await, Err(ServeError::Panic)));
    }

    #[tokio::test]
    async fn threads_end_when_the_future_of_the_server_is_dropped() {
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
