//! Benchmark of answers, with and without sockets.
//!
//!     cargo bench -p landfall-dns
//!
//! The first part measures the time of one reply without a socket. The second part measures the server over loopback
//! and compares it with an echo server on the same system calls, which is the upper limit. The two alternate, because
//! other load on the machine varies.
//!
//! A generator on another thread keeps the server busy. Compare the CPU time per query: the rate also depends on the
//! generator, and with two cores both share the work of the loopback device.

#![allow(clippy::print_stdout, reason = "the result")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(clippy::unwrap_used, reason = "a failing benchmark should say where")]

use std::fs;
use std::hint::black_box;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use landfall_core::export::{Endpoint, Export};
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::plan::{Plan, plan};
use landfall_core::policy::{LocalPreference, Mode, Policy, Weight, WeightRow};
use landfall_core::snapshot::{NetworkView, RuleSource, Service, ServiceKind, Snapshot};
use landfall_dns::{Config, Responder, Transport, Zone, bind};
use mmsg::{BATCH_SIZE, Incoming, Outgoing, RawAddress, receive, send};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[path = "../src/mmsg.rs"]
mod mmsg;

const SERVICES: usize = 1_000;
const REPEATS: usize = 7;
const RUN: Duration = Duration::from_secs(2);
/// Number of clients. Each has as many queries in flight as one system call sends.
const SOCKETS: usize = 8;

fn main() {
    // `cargo test --all-targets` also runs benchmarks, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let plan = Arc::new(fleet());
    println!("without sockets, ns per reply, median of {REPEATS}");
    for (what, queries) in kinds() {
        println!("  {what:<42} {:>8.0}", median((0..REPEATS).map(|_| reply_ns(&plan, &queries))));
    }
    let queries: Vec<Vec<u8>> = (0..SERVICES).map(|i| query(&format!("s{i}.shop"), 1)).collect();
    let mut runs = Vec::new();
    for _ in 0..REPEATS {
        runs.push((echo(&queries), served(&plan, &queries)));
    }
    println!("over loopback, {SERVICES} services, 1 thread, {} s each, median of {REPEATS}", RUN.as_secs());
    report("echo", runs.iter().map(|(echo, _)| *echo));
    report("landfall", runs.iter().map(|(_, served)| *served));
    let ratio = |value: fn(Run) -> f64| median(runs.iter().map(|&(echo, served)| value(served) / value(echo)));
    println!(
        "  landfall / echo: {:.3} of the rate, {:.3} of the capacity (1 / CPU time)",
        ratio(Run::rate),
        ratio(|run| 1.0 / run.cpu_us())
    );
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(what: &str, runs: impl Iterator<Item = Run> + Clone) {
    let rate = median(runs.clone().map(Run::rate));
    let cpu = median(runs.map(Run::cpu_us));
    println!("  {what:<10} {rate:>10.0} answers/s  {cpu:>6.2} us CPU per answer");
}

#[derive(Clone, Copy)]
struct Run {
    answers: f64,
    elapsed: Duration,
    /// CPU time of the answering thread.
    cpu: Duration,
}

impl Run {
    fn rate(self) -> f64 {
        self.answers / self.elapsed.as_secs_f64()
    }

    fn cpu_us(self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.answers
    }
}

fn reply_ns(plan: &Plan, queries: &[Vec<u8>]) -> f64 {
    let responder = Responder::new(vec![Zone::default()], Duration::from_secs(5), Vec::new(), 0);
    let mut reply = Vec::new();
    let rounds = 200_000 / queries.len();
    let start = Instant::now();
    for _ in 0..rounds {
        for query in queries {
            black_box(responder.reply(Some(plan), black_box(query), Transport::Udp, &mut reply));
        }
    }
    start.elapsed().as_secs_f64() * 1e9 / (rounds * queries.len()) as f64
}

fn echo(queries: &[Vec<u8>]) -> Run {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let address = socket.local_addr().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let echo = move || {
        let mut incoming = Box::new([Incoming::EMPTY; BATCH_SIZE]);
        let mut outgoing = vec![Outgoing { octets: Vec::new(), to: RawAddress::UNKNOWN }; BATCH_SIZE];
        while !stopped.load(Ordering::Relaxed) {
            let received = receive(&socket, &mut incoming).unwrap_or(0);
            for (outgoing, incoming) in outgoing.iter_mut().zip(&incoming[..received]) {
                outgoing.octets.clear();
                outgoing.octets.extend_from_slice(incoming.octets());
                outgoing.to = incoming.from;
            }
            let _ = send(&socket, &outgoing[..received]);
        }
    };
    let thread = thread::Builder::new().name("echo".to_owned()).spawn(echo).unwrap();
    let run = generate(address, "echo", queries);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    run
}

fn served(plan: &Arc<Plan>, queries: &[Vec<u8>]) -> Run {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = Config { udp_threads: NonZeroUsize::MIN, ..Config::new(([127, 0, 0, 1], 0).into()) };
    let server = bind(config).unwrap();
    let address = server.local_addr();
    let (_publish, plans) = watch::channel(Some(Arc::clone(plan)));
    let stop = CancellationToken::new();
    let serving = runtime.handle().spawn(server.serve(plans, stop.clone()));
    let run = generate(address, "dns-udp", queries);
    stop.cancel();
    runtime.block_on(serving).unwrap().unwrap();
    run
}

/// Sends queries for the time [`RUN`] and measures the CPU time of the thread with the name `thread`.
fn generate(address: SocketAddr, thread: &str, queries: &[Vec<u8>]) -> Run {
    let mut clients: Vec<Client<'_>> = (0..SOCKETS).map(|i| Client::new(address, queries, i)).collect();
    clients.iter_mut().for_each(Client::refill);
    // The first answers show that the thread runs.
    assert!(clients.iter_mut().all(|client| client.exchange() > 0));
    let schedule = schedule(thread);
    let (start, cpu) = (Instant::now(), cpu(&schedule));
    let mut answers = 0;
    while start.elapsed() < RUN {
        answers += clients.iter_mut().map(Client::exchange).sum::<usize>();
    }
    Run { answers: answers as f64, elapsed: start.elapsed(), cpu: self::cpu(&schedule) - cpu }
}

struct Client<'q> {
    socket: UdpSocket,
    queries: std::iter::Cycle<std::slice::Iter<'q, Vec<u8>>>,
    incoming: Box<[Incoming; BATCH_SIZE]>,
    outgoing: Vec<Outgoing>,
}

impl<'q> Client<'q> {
    fn new(address: SocketAddr, queries: &'q [Vec<u8>], i: usize) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let outgoing = vec![Outgoing { octets: Vec::new(), to: RawAddress::UNKNOWN }; BATCH_SIZE];
        let (_, from) = queries.split_at(i * queries.len() / SOCKETS);
        let mut queries = queries.iter().cycle();
        queries.nth(SERVICES - from.len());
        Self { socket, queries, incoming: Box::new([Incoming::EMPTY; BATCH_SIZE]), outgoing }
    }

    /// Receives the available answers and sends as many queries again. Returns the number of answers.
    fn exchange(&mut self) -> usize {
        let Ok(received) = receive(&self.socket, &mut self.incoming) else {
            self.refill();
            return 0;
        };
        self.ask(received);
        received
    }

    /// Sends a full batch, at the start and when all queries in flight are lost.
    fn refill(&mut self) {
        self.ask(BATCH_SIZE);
    }

    fn ask(&mut self, count: usize) {
        for (outgoing, query) in self.outgoing.iter_mut().zip(&mut self.queries).take(count) {
            outgoing.octets.clone_from(query);
        }
        assert_eq!(send(&self.socket, &self.outgoing[..count]).unwrap(), count);
    }
}

/// Returns the file of the kernel with the CPU time of the thread with the name `thread`.
fn schedule(thread: &str) -> PathBuf {
    let named = |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == thread);
    let mut threads = fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
    threads.find(named).unwrap().join("schedstat")
}

fn cpu(schedule: &PathBuf) -> Duration {
    let text = fs::read_to_string(schedule).unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// Returns a plan of weighted services with one address in each of three clusters, and of two headless services.
fn fleet() -> Plan {
    let id = |cluster: &str| ClusterId::new(cluster).unwrap();
    let clusters = ["a", "b", "c"];
    let weights = clusters.iter().zip([10.0, 5.0, 3.0]).map(|(cluster, weight)| (id(cluster), Weight::from(weight)));
    let policy = Arc::new(Policy {
        mode: Mode::WeightedRoundRobin,
        local_preference: Some(LocalPreference::Balance),
        rows: vec![WeightRow::new(None, weights.collect()).unwrap()],
        ..Policy::default()
    });
    let service = |kind: ServiceKind, endpoints: u8| {
        let export = |(i, cluster): (u8, &&str)| {
            let ready = (0..endpoints).map(|n| Endpoint::new([10, i, 0, n].into(), None));
            (id(cluster), Export { ready: ready.collect() })
        };
        let exports = (0..).zip(&clusters).map(export).collect();
        Arc::new(Service { kind, exports, rule_source: RuleSource::Policy(Arc::clone(&policy)) })
    };
    let per_cluster = |i| (key(&format!("s{i}")), service(ServiceKind::ClusterSetIp { ips: Vec::new() }, 1));
    let mut services: std::collections::BTreeMap<_, _> = (0..SERVICES).map(per_cluster).collect();
    services.insert(key("small"), service(ServiceKind::Headless, 3));
    services.insert(key("large"), service(ServiceKind::Headless, 200));
    let view = NetworkView { local: id("east"), links_complete: false, links: [].into() };
    plan(&Snapshot { view, services }, &Plan::default(), 1)
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("shop", name).unwrap()
}

fn kinds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let all = |qtype| (0..SERVICES).map(|i| query(&format!("s{i}.shop"), qtype)).collect();
    let edns = |name: &str| {
        let mut query = query(name, 1);
        query[11] = 1;
        query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        query
    };
    vec![
        ("A, 1 of 3 clusters, 1,000 services", all(1)),
        ("the same with EDNS", (0..SERVICES).map(|i| edns(&format!("s{i}.shop"))).collect()),
        ("AAAA, no data", all(28)),
        ("A, no such name", vec![query("none.shop", 1)]),
        ("A, headless, 9 endpoints", vec![query("small.shop", 1)]),
        ("A, headless, 64 of 600 endpoints, EDNS", vec![edns("large.shop")]),
    ]
}

fn query(service: &str, qtype: u8) -> Vec<u8> {
    let mut query = vec![0xBE, 0xEF, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in service.split('.').chain(["svc", "clusterset", "local"]) {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend_from_slice(label.as_bytes());
    }
    query.extend([0, 0, qtype, 0, 1]);
    query
}
