//! Shared by the demo, the benchmarks and the tests of the command line: `landfall up` as a process, and a DNS client.

#![allow(dead_code, reason = "each user needs a part of it")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::base::iana::{Class, Rcode};
use domain::base::{Message, MessageBuilder, Name, Rtype};
use domain::rdata::A;

/// Limit for a fleet to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A running `landfall up`, which ends when this is dropped.
pub struct Fleet {
    process: Child,
    base: u16,
}

impl Fleet {
    /// Starts the process. Returns at once, before the servers answer.
    pub fn up(landfall: &Path, dir: &Path, clusters: usize) -> Result<Self> {
        Self::up_in(Path::new("."), landfall, dir, clusters)
    }

    /// Starts the process in the working directory `at`.
    pub fn up_in(at: &Path, landfall: &Path, dir: &Path, clusters: usize) -> Result<Self> {
        let base = free_ports(u16::try_from(clusters)?)?;
        let mut command = Command::new(landfall);
        command.current_dir(at).arg("up").arg(dir).args(["--dns", &format!("127.0.0.1:{base}")]).stdout(Stdio::null());
        Ok(Self { process: command.spawn().context("cannot start landfall up")?, base })
    }

    /// Returns the addresses of the DNS servers, by the names of their clusters.
    pub fn servers(&self) -> impl Iterator<Item = SocketAddr> {
        (self.base..).map(|port| (Ipv4Addr::LOCALHOST, port).into())
    }

    /// Sends SIGTERM, and waits until the process has ended.
    pub fn terminate(mut self) -> Result<()> {
        Command::new("kill").arg(self.pid().to_string()).status()?;
        let asked = Instant::now();
        while self.process.try_wait()?.is_none() {
            ensure!(asked.elapsed() < Duration::from_secs(5), "landfall up still runs 5 s after SIGTERM");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the first of `count` consecutive free ports, from 5301 on as in the documentation. Each call returns other ports,
/// so that tests in one process do not share them.
fn free_ports(count: u16) -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(5301);
    let free = |port: u16| {
        let address = (Ipv4Addr::LOCALHOST, port);
        UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
    };
    let mut attempts = (0..100).map(|_| NEXT.fetch_add(count, Ordering::Relaxed));
    attempts.find(|&base| (base..base + count).all(free)).context("no free ports from 5301 on")
}

/// A DNS client that sends one query at a time to one server, over UDP.
pub struct Client(UdpSocket);

impl Client {
    pub fn new(server: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Self(socket))
    }

    pub fn addresses(&mut self, name: &str) -> Result<Vec<Ipv4Addr>> {
        let name: Name<Vec<u8>> = name.parse()?;
        let mut question = MessageBuilder::new_vec().question();
        question.push((&name, Rtype::A, Class::IN))?;
        let id = question.header().id();
        self.0.send(question.as_slice())?;
        let mut reply = [0; 1232];
        let length = self.0.recv(&mut reply)?;
        let reply = Message::from_octets(&reply[..length])?;
        ensure!(reply.header().id() == id, "the answer is for another query");
        ensure!(reply.header().rcode() == Rcode::NOERROR, "{} for {name}", reply.header().rcode());
        reply.answer()?.limit_to::<A>().map(|answer| Ok(answer?.data().addr())).collect()
    }

    /// Waits until the name has an address.
    pub fn wait_for(&mut self, name: &str) -> Result<()> {
        self.wait_until(name, |addresses| !addresses.is_empty())
    }

    pub fn wait_until(&mut self, name: &str, accept: impl Fn(&[Ipv4Addr]) -> bool) -> Result<()> {
        let started = Instant::now();
        loop {
            let answered = self.addresses(name);
            if answered.as_ref().is_ok_and(|addresses| accept(addresses)) {
                return Ok(());
            }
            ensure!(started.elapsed() < ANSWER_TIMEOUT, "{name} is {answered:?} after {ANSWER_TIMEOUT:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
