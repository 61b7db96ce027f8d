//! The server, tested through its sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use domain::base::iana::Rtype;
use landfall_core::plan::Plan;
use landfall_dns::metrics::Code;
use landfall_dns::{BindError, Config, Metrics, ServeError, Transport, bind};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{Edns, Query, Reply, fleet};

const WEB: &str = "web.shop.svc.clusterset.local";
/// Time-out that only a failing test reaches.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    plan: watch::Sender<Option<Arc<Plan>>>,
    stop: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
    runtime: Runtime,
}

fn config(listen: &str) -> Config {
    Config { udp_threads: NonZeroUsize::new(2).unwrap(), ..Config::new(listen.parse().unwrap()) }
}

fn start(listen: &str, plan: Option<Plan>) -> Running {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = bind(config(listen)).unwrap();
    let (address, metrics) = (server.local_addr(), server.metrics());
    let (plan, plans) = watch::channel(plan.map(Arc::new));
    let stop = CancellationToken::new();
    let served = runtime.handle().spawn(server.serve(plans, stop.clone()));
    Running { address, metrics, plan, stop, served, runtime }
}

impl Running {
    fn udp(&self) -> UdpSocket {
        let any = if self.address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let socket = UdpSocket::bind(any).unwrap();
        socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        socket.connect(self.address).unwrap();
        socket
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        stream
    }

    fn stop(self) {
        self.stop.cancel();
        self.runtime.block_on(self.served).unwrap().unwrap();
    }
}

fn over_udp(socket: &UdpSocket, query: &[u8]) -> Reply {
    socket.send(query).unwrap();
    let mut reply = [0; 65_535];
    let length = socket.recv(&mut reply).unwrap();
    Reply::parse(&reply[..length])
}

fn framed(query: &Query) -> Vec<u8> {
    let octets = query.octets();
    [&u16::try_from(octets.len()).unwrap().to_be_bytes(), &octets[..]].concat()
}

fn read(stream: &mut TcpStream) -> Reply {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply).unwrap();
    Reply::parse(&reply)
}

fn over_tcp(stream: &mut TcpStream, query: &Query) -> Reply {
    stream.write_all(&framed(query)).unwrap();
    read(stream)
}

#[test]
fn a_server_on_any_free_port_answers_over_udp_and_tcp_alike() {
    for listen in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
        let server = start(listen, Some(fleet()));
        let address = (if listen.starts_with('[') { "::1" } else { "127.0.0.1" }, server.address.port());
        let udp = UdpSocket::bind((address.0, 0)).unwrap();
        udp.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        udp.connect(address).unwrap();
        let mut tcp = TcpStream::connect(address).unwrap();
        for edns in [None, Some(Edns::of(4096))] {
            let query = Query { edns, ..Query::new(WEB, Rtype::A) };
            let replies = [over_udp(&udp, &query.octets()), over_tcp(&mut tcp, &query)];
            for reply in &replies {
                assert_eq!((reply.answers.len(), reply.question.clone()), (1, query.question()));
            }
            assert_eq!(replies[0], replies[1]);
        }
        server.stop();
    }
}

#[test]
fn name_server_has_the_address_that_the_server_listens_on() {
    let server = start("127.0.0.1:0", Some(fleet()));
    let reply = over_udp(&server.udp(), &Query::new("ns.dns.clusterset.local", Rtype::A).octets());
    assert_eq!(reply.answers, ["ns.dns.clusterset.local 5 A 127.0.0.1"]);
    server.stop();
    assert!(Config::new("0.0.0.0:53".parse().unwrap()).advertise.is_empty());
}

#[test]
fn new_plan_is_served_from_the_next_query_on() {
    let server = start("127.0.0.1:0", None);
    let (udp, mut tcp) = (server.udp(), server.tcp());
    let query = Query::new(WEB, Rtype::A);
    for (publish, rcode) in [(None, "SERVFAIL"), (Some(Plan::default()), "NXDOMAIN"), (Some(fleet()), "NOERROR")] {
        if let Some(plan) = publish {
            server.plan.send_replace(Some(Arc::new(plan)));
        }
        assert_eq!(over_udp(&udp, &query.octets()).rcode, rcode);
        assert_eq!(over_tcp(&mut tcp, &query).rcode, rcode);
    }
    server.stop();
}

#[test]
fn last_plan_stays_in_force_when_the_publisher_is_gone() {
    let server = start("127.0.0.1:0", Some(fleet()));
    let (udp, mut tcp) = (server.udp(), server.tcp());
    drop(server.plan);
    let query = Query::new(WEB, Rtype::A);
    assert_eq!(over_udp(&udp, &query.octets()).rcode, "NOERROR");
    assert_eq!(over_tcp(&mut tcp, &query).rcode, "NOERROR");
    server.stop.cancel();
    server.runtime.block_on(server.served).unwrap().unwrap();
}

#[test]
fn pipelined_queries_on_one_connection_are_answered_in_order() {
    let server = start("127.0.0.1:0", Some(fleet()));
    let mut stream = server.tcp();
    let queries: Vec<Query> =
        (0..100).map(|i| Query::new(&format!("x{i}.shop.svc.clusterset.local"), Rtype::A)).collect();
    let together: Vec<u8> = queries.iter().flat_map(framed).collect();
    stream.write_all(&together).unwrap();
    for query in &queries {
        assert_eq!(read(&mut stream).question, query.question());
    }
    server.stop();
}

#[test]
fn server_survives_garbage_over_both_transports() {
    let server = start("127.0.0.1:0", Some(fleet()));
    let (udp, mut tcp) = (server.udp(), server.tcp());
    for garbage in [&[][..], &[0], &[0xFF; 12], &[0xFF; 3_000], b"GET / HTTP/1.1\r\n\r\n"] {
        udp.send(garbage).unwrap();
        let mut other = server.tcp();
        other.write_all(garbage).unwrap();
    }
    // A message without a header and one that is itself a reply get no reply; the connection stays open.
    tcp.write_all(&[0, 1, 7, 0, 0]).unwrap();
    tcp.write_all(&framed(&Query { flags: 0x8000, ..Query::new(WEB, Rtype::A) })).unwrap();
    let query = Query::new(WEB, Rtype::A);
    let mut reply = over_udp(&udp, &query.octets());
    while reply.rcode != "NOERROR" {
        reply = over_udp(&udp, &query.octets());
    }
    assert_eq!(over_tcp(&mut tcp, &query).rcode, "NOERROR");
    server.stop();
}

#[test]
fn connections_beyond_the_limit_wait_until_others_end() {
    let server = start("127.0.0.1:0", Some(fleet()));
    let query = Query::new(WEB, Rtype::A);
    let mut first: Vec<TcpStream> = (0..256).map(|_| server.tcp()).collect();
    for stream in &mut first {
        assert_eq!(over_tcp(stream, &query).rcode, "NOERROR");
    }
    let mut others: Vec<TcpStream> = (0..20).map(|_| server.tcp()).collect();
    for stream in &mut others {
        stream.write_all(&framed(&query)).unwrap();
    }
    assert_eq!(server.metrics.connections(), 256);
    drop(first);
    for stream in &mut others {
        assert_eq!(read(stream).rcode, "NOERROR");
    }
    server.stop();
}

#[tokio::test(start_paused = true)]
async fn connection_of_a_client_silent_for_ten_seconds_is_closed() {
    let server = bind(config("127.0.0.1:0")).unwrap();
    let address = server.local_addr();
    let (_plan, plans) = watch::channel(None);
    let stop = CancellationToken::new();
    let (report, closed) = tokio::sync::oneshot::channel();
    let client = thread::spawn(move || {
        let mut half = TcpStream::connect(address).unwrap();
        half.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        half.write_all(&[0, 30, 1, 2, 3]).unwrap();
        report.send(half.read(&mut [0; 1]).map_err(|error| error.kind())).unwrap();
    });
    // Paused time advances by itself while the runtime is idle.
    let serving = server.serve(plans, stop.clone());
    let closed = async {
        let closed = closed.await.unwrap();
        stop.cancel();
        closed
    };
    let (served, closed) = tokio::join!(serving, closed);
    served.unwrap();
    client.join().unwrap();
    assert!(matches!(closed, Ok(0) | Err(ErrorKind::ConnectionReset)), "{closed:?}");
}

#[test]
fn port_in_use_is_reported_for_each_kind_of_socket() {
    // An address whose ports no other test uses.
    let server = start("127.0.0.77:0", Some(fleet()));
    let error = bind(config(&server.address.to_string())).unwrap_err();
    assert!(matches!(error, BindError::InUse { transport: Transport::Tcp, .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("{} is in use by another process (tcp)", server.address));
    let address = server.address;
    server.stop();
    bind(config(&address.to_string())).expect("free again");

    let plain = UdpSocket::bind("127.0.0.77:0").unwrap();
    let address = plain.local_addr().unwrap();
    let error = bind(config(&address.to_string())).unwrap_err();
    assert_eq!(error.to_string(), format!("{address} is in use by another process (udp)"));

    let shared = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    shared.set_reuse_port(true).unwrap();
    shared.bind(&"127.0.0.77:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = shared.local_addr().unwrap().as_socket().unwrap();
    let error = bind(config(&address.to_string())).unwrap_err();
    assert!(matches!(error, BindError::InUse { transport: Transport::Udp, .. }), "{error:?}");
}

#[test]
fn an_address_of_another_host_is_refused() {
    let error = bind(config("192.0.2.1:0")).unwrap_err();
    assert_eq!(error.to_string(), "192.0.2.1:0 is not an address of this host (tcp)");
}

#[test]
fn queries_are_counted_by_outcome() {
    let server = start("127.0.0.1:0", Some(fleet()));
    let (udp, mut tcp) = (server.udp(), server.tcp());
    for name in [WEB, WEB, "x.shop.svc.clusterset.local", "example.com"] {
        over_udp(&udp, &Query::new(name, Rtype::A).octets());
    }
    over_tcp(&mut tcp, &Query { flags: 0x2800, ..Query::new(WEB, Rtype::A) });
    let metrics = Arc::clone(&server.metrics);
    // A batch is counted after its replies are sent, so the counters are read after the stop.
    server.stop();
    let counted = |transport| Code::ALL.map(|code| metrics.responses(transport, code));
    assert_eq!(counted(Transport::Udp), [2, 1, 1, 0, 0, 0, 0, 0]);
    assert_eq!(counted(Transport::Tcp), [0, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!((metrics.queries(Transport::Udp), metrics.queries(Transport::Tcp)), (4, 1));
    assert_eq!((metrics.unsent(), metrics.truncated(Transport::Udp), metrics.accept_errors()), (0, 0, 0));
}
