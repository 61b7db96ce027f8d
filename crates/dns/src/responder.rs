//! From a packet to the packet that answers it, without a socket.

use std::net::IpAddr;
use std::time::Duration;

use domain::base::iana::{OptRcode, Rtype};
use landfall_core::export::Family;
use landfall_core::plan::{Plan, ServicePlan};

use crate::answer::{Answer, Room, answer};
use crate::question::{NAME_MAX, question};
use crate::reply::{Authoritative, Reply, StartOfAuthority};
use crate::request::Request;
use crate::zone::Zone;

pub use crate::reply::Transport;

/// Longer, and a change would not reach clients for hours.
const TTL_MAX: Duration = Duration::from_secs(3600);
/// A cache holds one draw for this long, and a weight is only as good as the number of draws.
const DRAWN_TTL_MAX: u32 = 5;
/// Nothing that comes into being is unknown for longer.
const NEGATIVE_TTL_MAX: u32 = 5;
const SOA_TTL_MAX: u32 = 300;
/// The DNS specification of KEP-1645 that we follow, and the TTL that its example gives the record.
const SCHEMA_VERSION: &str = "1.0.0";
const SCHEMA_VERSION_TTL: u32 = 28800;

/// Over UDP, what fits into 1232 octets beside a long name. More endpoints are not worth a second query over TCP: who
/// asks gets a part of them, by weight.
const UDP_ROOM: Room = Room { ipv4: 64, ipv6: 32 };
/// Over TCP, what fits into 64 KiB beside the longest question and an OPT record.
const TCP_ROOM: Room = Room { ipv4: (65_535 - 282) / 16, ipv6: (65_535 - 282) / 28 };

/// What is the same for all answers.
#[derive(Debug, Clone)]
pub struct Responder {
    zones: Vec<Zone>,
    ttl: u32,
    advertise: Vec<IpAddr>,
    offset: u64,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It deserves no answer.
    Dropped,
    Replied {
        rcode: OptRcode,
        truncated: bool,
    },
}

impl Responder {
    /// `offset` is added to all points that are drawn with. Each process takes one at random, so that the replicas of a
    /// cluster do not give the same answers in step.
    pub fn new(zones: Vec<Zone>, ttl: Duration, advertise: Vec<IpAddr>, offset: u64) -> Self {
        let ttl = u32::try_from(ttl.min(TTL_MAX).as_secs()).unwrap_or(u32::MAX);
        Self { zones, ttl, advertise, offset }
    }

    /// Writes the reply to `packet` into `out`. `plan`: `None` as long as there is none.
    pub fn reply(&self, plan: Option<&Plan>, packet: &[u8], transport: Transport, out: &mut Vec<u8>) -> Outcome {
        let Some(request) = Request::parse(packet) else { return Outcome::Dropped };
        let mut buffer = [0; NAME_MAX];
        let asked = request.asked.filter(|_| request.fault.is_none());
        let found = asked.and_then(|asked| Some((asked, question(asked.name, &self.zones, &mut buffer)?)));
        let Some((asked, (zone, question))) = found else {
            let rcode = request.fault.unwrap_or(OptRcode::REFUSED);
            let truncated = Reply::new(&request, transport, 0, out).finish(&request, rcode, Authoritative::No);
            return Outcome::Replied { rcode, truncated };
        };
        let room = match transport {
            Transport::Udp => UDP_ROOM,
            Transport::Tcp => TCP_ROOM,
        };
        let point = |service: &ServicePlan| service.next_point().wrapping_add(self.offset);
        let answer = answer(plan, question, asked.qtype, room, point);
        let mut reply = Reply::new(&request, transport, zone.wire().len(), out);
        let (rcode, authoritative) = self.write(&answer, plan, &mut reply);
        Outcome::Replied { rcode, truncated: reply.finish(&request, rcode, authoritative) }
    }

    fn write(&self, answer: &Answer<'_>, plan: Option<&Plan>, reply: &mut Reply<'_>) -> (OptRcode, Authoritative) {
        match *answer {
            Answer::Refused => return (OptRcode::REFUSED, Authoritative::No),
            Answer::NotSynced => return (OptRcode::SERVFAIL, Authoritative::No),
            Answer::NoName => {
                reply.nothing(&self.start_of_authority(plan));
                return (OptRcode::NXDOMAIN, Authoritative::Yes);
            }
            Answer::NoData => reply.nothing(&self.start_of_authority(plan)),
            Answer::Drawn(address) => reply.addresses([address], self.ttl.min(DRAWN_TTL_MAX)),
            Answer::ClustersetIps(ips, family) => reply.addresses(of(family, ips), self.ttl),
            Answer::Endpoints(ref addresses) => reply.addresses(addresses.iter().copied(), self.ttl),
            Answer::StartOfAuthority => reply.start_of_authority(&self.start_of_authority(plan)),
            Answer::NameServers => reply.name_server(&self.advertise, self.ttl),
            Answer::OwnAddresses(family) if of(family, &self.advertise).next().is_none() => {
                reply.nothing(&self.start_of_authority(plan));
            }
            Answer::OwnAddresses(family) => reply.addresses(of(family, &self.advertise), self.ttl),
            Answer::SchemaVersion => reply.text(Rtype::TXT, SCHEMA_VERSION_TTL, &[SCHEMA_VERSION]),
            Answer::NotAList => reply.text(Rtype::HINFO, self.ttl, &["RFC8482", ""]),
        }
        (OptRcode::NOERROR, Authoritative::Yes)
    }

    #[expect(clippy::cast_possible_truncation, reason = "serial numbers go round (RFC 1982)")]
    fn start_of_authority(&self, plan: Option<&Plan>) -> StartOfAuthority {
        StartOfAuthority {
            serial: plan.map_or(0, Plan::changed) as u32,
            ttl: self.ttl.min(SOA_TTL_MAX),
            negative_ttl: self.ttl.min(NEGATIVE_TTL_MAX),
            minimum: self.ttl,
        }
    }
}

fn of(family: Family, addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    addresses.iter().copied().filter(move |&address| Family::of(address) == family)
}
