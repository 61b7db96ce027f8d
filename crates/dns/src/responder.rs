//! Turns a packet into its reply, without a socket.

use std::net::IpAddr;
use std::time::Duration;

use domain::base::iana::{OptRcode, Rtype};
use landfall_core::export::Family;
use landfall_core::plan::{Plan, ServicePlan};

use crate::answer::{Answer, AnswerLimit, answer};
use crate::question::{MAX_NAME_LENGTH, question};
use crate::reply::{Authoritative, Reply, StartOfAuthority};
use crate::request::Request;
use crate::zone::Zone;

pub use crate::reply::Transport;

/// Limit of the configured TTL. With a longer one, a change would not reach clients for hours.
const MAX_TTL: Duration = Duration::from_secs(3600);
/// Maximum TTL of a drawn address. A cache repeats one draw for this long, and shares follow the weights only over many
/// draws.
const MAX_DRAWN_TTL_SECONDS: u32 = 5;
/// Maximum TTL of a negative answer, and so the longest time for which a cache hides a new service.
const MAX_NEGATIVE_TTL_SECONDS: u32 = 5;
/// Maximum TTL of the SOA record.
const MAX_SOA_TTL_SECONDS: u32 = 300;
/// Version of the DNS specification of KEP-1645 that this server follows.
const SCHEMA_VERSION: &str = "1.0.0";
/// TTL of the version record, as in the example of KEP-1645.
const SCHEMA_VERSION_TTL_SECONDS: u32 = 28800;

/// Endpoints in an answer over UDP, which fit into 1232 octets beside a long name. Larger answers are sampled by weight
/// instead of truncated, to avoid a second query over TCP.
const UDP_LIMIT: AnswerLimit = AnswerLimit { ipv4: 64, ipv6: 32 };
/// Endpoints in an answer over TCP, which fit into 64 KiB beside the longest question and an OPT record.
const TCP_LIMIT: AnswerLimit = AnswerLimit { ipv4: (65_535 - 282) / 16, ipv6: (65_535 - 282) / 28 };

/// Configuration of all replies.
#[derive(Debug, Clone)]
pub struct Responder {
    zones: Vec<Zone>,
    ttl: u32,
    advertise: Vec<IpAddr>,
    offset: u64,
}

/// Outcome of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The packet must not be answered.
    Dropped,
    /// The reply was written.
    Replied { rcode: OptRcode, truncated: bool },
}

impl Responder {
    /// Creates a responder. `offset` is added to all points that are used to draw. Each process uses a random one, so
    /// that the replicas of a cluster do not draw the same answers in step.
    pub fn new(zones: Vec<Zone>, ttl: Duration, advertise: Vec<IpAddr>, offset: u64) -> Self {
        let ttl = u32::try_from(ttl.min(MAX_TTL).as_secs()).unwrap_or(u32::MAX);
        Self { zones, ttl, advertise, offset }
    }

    /// Writes the reply to `packet` into `out`. `plan` is `None` before the first plan.
    pub fn reply(&self, plan: Option<&Plan>, packet: &[u8], transport: Transport, out: &mut Vec<u8>) -> Outcome {
        let Some(request) = Request::parse(packet) else { return Outcome::Dropped };
        let mut buffer = [0; MAX_NAME_LENGTH];
        let raw = request.question.filter(|_| request.error.is_none());
        let found = raw.and_then(|raw| Some((raw, question(raw.name, &self.zones, &mut buffer)?)));
        let Some((raw, (zone, question))) = found else {
            let rcode = request.error.unwrap_or(OptRcode::REFUSED);
            let truncated = Reply::new(&request, transport, 0, out).finish(&request, rcode, Authoritative::No);
            return Outcome::Replied { rcode, truncated };
        };
        let limit = match transport {
            Transport::Udp => UDP_LIMIT,
            Transport::Tcp => TCP_LIMIT,
        };
        let point = |service: &ServicePlan| service.next_point().wrapping_add(self.offset);
        let answer = answer(plan, question, raw.qtype, limit, point);
        let mut reply = Reply::new(&request, transport, zone.wire().len(), out);
        let (rcode, authoritative) = self.write(&answer, plan, &mut reply);
        Outcome::Replied { rcode, truncated: reply.finish(&request, rcode, authoritative) }
    }

    /// Writes the records of `answer`. Returns the response code and the AA flag.
    fn write(&self, answer: &Answer<'_>, plan: Option<&Plan>, reply: &mut Reply<'_>) -> (OptRcode, Authoritative) {
        match *answer {
            Answer::Refused => return (OptRcode::REFUSED, Authoritative::No),
            Answer::NotSynced => return (OptRcode::SERVFAIL, Authoritative::No),
            Answer::NxDomain => {
                reply.negative(&self.start_of_authority(plan));
                return (OptRcode::NXDOMAIN, Authoritative::Yes);
            }
            Answer::NoData => reply.negative(&self.start_of_authority(plan)),
            Answer::Drawn(address) => reply.addresses([address], self.ttl.min(MAX_DRAWN_TTL_SECONDS)),
            Answer::ClustersetIps(ips, family) => reply.addresses(of_family(family, ips), self.ttl),
            Answer::Endpoints(ref addresses) => reply.addresses(addresses.iter().copied(), self.ttl),
            Answer::StartOfAuthority => reply.start_of_authority(&self.start_of_authority(plan)),
            Answer::NameServers => reply.name_server(&self.advertise, self.ttl),
            Answer::OwnAddresses(family) if of_family(family, &self.advertise).next().is_none() => {
                reply.negative(&self.start_of_authority(plan));
            }
            Answer::OwnAddresses(family) => reply.addresses(of_family(family, &self.advertise), self.ttl),
            Answer::SchemaVersion => reply.text(Rtype::TXT, SCHEMA_VERSION_TTL_SECONDS, &[SCHEMA_VERSION]),
            Answer::MinimalAny => reply.text(Rtype::HINFO, self.ttl, &["RFC8482", ""]),
        }
        (OptRcode::NOERROR, Authoritative::Yes)
    }

    #[expect(clippy::cast_possible_truncation, reason = "serial numbers wrap around (RFC 1982)")]
    fn start_of_authority(&self, plan: Option<&Plan>) -> StartOfAuthority {
        StartOfAuthority {
            serial: plan.map_or(0, Plan::changed) as u32,
            ttl: self.ttl.min(MAX_SOA_TTL_SECONDS),
            negative_ttl: self.ttl.min(MAX_NEGATIVE_TTL_SECONDS),
            minimum: self.ttl,
        }
    }
}

/// Returns the addresses of `family`.
fn of_family(family: Family, addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    addresses.iter().copied().filter(move |&address| Family::of(address) == family)
}
