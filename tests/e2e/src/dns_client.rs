//! DNS client that is cheap enough for thousands of queries and for measuring milliseconds.
//!
//! It builds and parses messages with the `domain` crate and shares no code with Landfall. The independent client is
//! [`crate::dig`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use domain::base::iana::{Class, Rcode};
use domain::base::{Message, MessageBuilder, Name, Question as WireQuestion, Rtype};
use domain::rdata::{A, Aaaa};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Longest wait for an answer from a server on loopback.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// UDP socket that is connected to one server.
#[derive(Debug)]
pub struct DnsClient {
    socket: UdpSocket,
    next_id: AtomicU16,
}

/// Query that is built once and may be sent often.
#[derive(Debug, Clone)]
pub struct Question {
    wire: Vec<u8>,
}

/// Parts of a reply that the tests look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub rcode: Rcode,
    pub truncated: bool,
    /// Addresses of the A and AAAA records in the answer section, in their order.
    pub addresses: Vec<IpAddr>,
    /// Smallest TTL of the records, in seconds.
    pub ttl: Option<u32>,
}

impl Question {
    /// Builds a query for the A records of a name, written without the final dot.
    pub fn a(name: &str) -> Result<Self> {
        Self::new(name, Rtype::A)
    }

    pub fn new(name: &str, kind: Rtype) -> Result<Self> {
        let name: Name<Vec<u8>> = name.parse().map_err(|e| anyhow!("{name} is not a DNS name: {e}"))?;
        let mut message = MessageBuilder::new_vec().question();
        message.push(WireQuestion::new(name, kind, Class::IN))?;
        Ok(Self { wire: message.finish() })
    }
}

impl DnsClient {
    pub async fn connect(server: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(server).await?;
        Ok(Self { socket, next_id: AtomicU16::new(1) })
    }

    /// Sends the question and returns the reply to it. Fails if no server listens, or if no reply arrives in time.
    pub async fn query(&self, question: &Question) -> Result<Reply> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut query = question.wire.clone();
        query[..2].copy_from_slice(&id);
        self.socket.send(&query).await.context("the query was refused")?;
        timeout(ANSWER_TIMEOUT, self.receive(id)).await.map_err(|_| anyhow!("no answer within {ANSWER_TIMEOUT:?}"))?
    }

    /// Skips late replies to earlier questions.
    async fn receive(&self, id: [u8; 2]) -> Result<Reply> {
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer).await.context("no server listens")?;
            if buffer[..length].starts_with(&id) {
                return read(&buffer[..length]);
            }
        }
    }
}

fn read(octets: &[u8]) -> Result<Reply> {
    let message = Message::from_octets(octets).map_err(|_| anyhow!("{} octets are not a DNS message", octets.len()))?;
    let answer = message.answer()?;
    let mut addresses = Vec::new();
    let mut ttls = Vec::new();
    for record in answer {
        let record = record?;
        ttls.push(record.ttl().as_secs());
        if let Some(a) = record.to_record::<A>()? {
            addresses.push(a.data().addr().into());
        } else if let Some(aaaa) = record.to_record::<Aaaa>()? {
            addresses.push(aaaa.data().addr().into());
        }
    }
    let ttl = ttls.into_iter().min();
    Ok(Reply { rcode: message.header().rcode(), truncated: message.header().tc(), addresses, ttl })
}

impl Reply {
    /// Returns true for NOERROR without an address: the name exists, and no endpoint is ready.
    #[must_use]
    pub fn is_nodata(&self) -> bool {
        self.rcode == Rcode::NOERROR && self.addresses.is_empty()
    }

    /// Returns true for NOERROR with exactly this address.
    #[must_use]
    pub fn is(&self, address: &str) -> bool {
        self.rcode == Rcode::NOERROR && self.addresses.iter().map(ToString::to_string).eq([address])
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.rcode, self.addresses)
    }
}
