//! Writes a reply.
//!
//! By hand, because all that we answer is alike: every owner is the name that was asked for or the end of it, so that a
//! name is a pointer to the question and nothing has to be searched for. `domain` reads every reply back in the tests
//! and while fuzzing.

use std::net::IpAddr;

use domain::base::Header;
use domain::base::iana::{Class, OptRcode, Rtype};

use crate::request::{Asked, Edns, HEADER, Request};

/// A pointer to the name in the question.
const ASKED: [u8; 2] = pointer(HEADER);
/// The size of an OPT record without options.
const OPT_SIZE: usize = 11;
/// How much we take over UDP, and give at most: what crosses every network in one piece (the DNS flag day of 2020 chose
/// it).
pub(crate) const UDP_SIZE: u16 = 1232;
/// What a client takes that does not say.
const UDP_SIZE_WITHOUT_EDNS: u16 = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

pub(crate) struct Reply<'o> {
    out: &'o mut Vec<u8>,
    edns: Option<Edns>,
    transport: Transport,
    /// What the records must fit into.
    limit: usize,
    zone: [u8; 2],
    answers: u16,
    authorities: u16,
    additionals: u16,
    truncated: bool,
}

impl<'o> Reply<'o> {
    /// Writes the header and the question. `zone_length`: how much of the name asked for is the zone.
    pub(crate) fn new(request: &Request<'_>, transport: Transport, zone_length: usize, out: &'o mut Vec<u8>) -> Self {
        out.clear();
        out.extend_from_slice(&[0; HEADER]);
        let name_length = request.asked.map_or(0, |asked| asked.name.len());
        out.extend_from_slice(request.asked.map_or(&[], |asked: Asked<'_>| asked.octets));
        let limit = match transport {
            Transport::Tcp => u16::MAX,
            Transport::Udp => {
                request.edns.map_or(UDP_SIZE_WITHOUT_EDNS, |edns| edns.udp_size.clamp(UDP_SIZE_WITHOUT_EDNS, UDP_SIZE))
            }
        };
        Self {
            out,
            edns: request.edns,
            transport,
            limit: usize::from(limit) - if request.edns.is_some() { OPT_SIZE } else { 0 },
            zone: pointer(HEADER + name_length.saturating_sub(zone_length)),
            answers: 0,
            authorities: 0,
            additionals: 0,
            truncated: false,
        }
    }

    /// What was asked for has these addresses. A client whose packet cannot take them all is told to come back over TCP;
    /// there is nowhere to go on to from there.
    pub(crate) fn addresses(&mut self, addresses: impl IntoIterator<Item = IpAddr>, ttl: u32) {
        for address in addresses {
            if !self.write_address(ASKED, address, ttl) {
                self.truncated = self.transport == Transport::Udp;
                return;
            }
            self.answers += 1;
        }
    }

    pub(crate) fn text(&mut self, rtype: Rtype, ttl: u32, strings: &[&str]) {
        let fits = self.write(ASKED, rtype, ttl, |out, _| {
            for string in strings {
                out.push(u8::try_from(string.len()).unwrap_or(0));
                out.extend_from_slice(string.as_bytes());
            }
        });
        self.answers += u16::from(fits);
    }

    /// The zone was asked for its server; the server's addresses are added as far as they fit.
    pub(crate) fn name_server(&mut self, addresses: &[IpAddr], ttl: u32) {
        let server = pointer(self.out.len() + 12);
        let fits = self.write(self.zone, Rtype::NS, ttl, |out, zone| {
            out.extend_from_slice(b"\x02ns\x03dns");
            out.extend_from_slice(&zone);
        });
        self.answers += u16::from(fits);
        for &address in addresses {
            self.additionals += u16::from(self.write_address(server, address, ttl));
        }
    }

    pub(crate) fn start_of_authority(&mut self, soa: &StartOfAuthority) {
        self.answers += u16::from(self.write_soa(soa, soa.ttl));
    }

    /// What a resolver needs to remember that there is nothing, and for how long (RFC 2308).
    pub(crate) fn nothing(&mut self, soa: &StartOfAuthority) {
        self.authorities += u16::from(self.write_soa(soa, soa.negative_ttl));
    }

    /// Completes the message. Returns whether something had to be left out.
    pub(crate) fn finish(self, request: &Request<'_>, rcode: OptRcode, authoritative: Authoritative) -> bool {
        let mut header = Header::new();
        header.set_id(request.header.id());
        header.set_qr(true);
        header.set_opcode(request.header.opcode());
        header.set_aa(authoritative == Authoritative::Yes);
        header.set_tc(self.truncated);
        header.set_rd(request.header.rd());
        header.set_rcode(rcode.rcode());
        if let Some(edns) = self.edns {
            let [size_high, size_low] = UDP_SIZE.to_be_bytes();
            let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
            let [_, opt] = Rtype::OPT.to_int().to_be_bytes();
            self.out.extend_from_slice(&[0, 0, opt, size_high, size_low, rcode.ext(), 0, dnssec_ok, 0, 0, 0]);
        }
        let counts = [
            u16::from(request.asked.is_some()),
            self.answers,
            self.authorities,
            self.additionals + u16::from(self.edns.is_some()),
        ];
        self.out[..4].copy_from_slice(header.as_slice());
        for (at, count) in self.out[4..HEADER].chunks_exact_mut(2).zip(counts) {
            at.copy_from_slice(&count.to_be_bytes());
        }
        self.truncated
    }

    fn write_soa(&mut self, soa: &StartOfAuthority, ttl: u32) -> bool {
        self.write(self.zone, Rtype::SOA, ttl, |out, zone| {
            out.extend_from_slice(b"\x02ns\x03dns");
            out.extend_from_slice(&zone);
            out.extend_from_slice(b"\x0ahostmaster");
            out.extend_from_slice(&zone);
            for number in [soa.serial, StartOfAuthority::REFRESH, StartOfAuthority::RETRY, StartOfAuthority::EXPIRE] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            out.extend_from_slice(&soa.minimum.to_be_bytes());
        })
    }

    /// One fixed array per family: this is what nearly every answer is made of.
    fn write_address(&mut self, owner: [u8; 2], address: IpAddr, ttl: u32) -> bool {
        match address {
            IpAddr::V4(address) => {
                let mut record = [0; 16];
                record[..12].copy_from_slice(&start(owner, Rtype::A, ttl, 4));
                record[12..].copy_from_slice(&address.octets());
                self.append(&record)
            }
            IpAddr::V6(address) => {
                let mut record = [0; 28];
                record[..12].copy_from_slice(&start(owner, Rtype::AAAA, ttl, 16));
                record[12..].copy_from_slice(&address.octets());
                self.append(&record)
            }
        }
    }

    fn append(&mut self, record: &[u8]) -> bool {
        let fits = self.out.len() + record.len() <= self.limit;
        if fits {
            self.out.extend_from_slice(record);
        }
        fits
    }

    /// `data` gets the pointer to the zone. What does not fit is taken back.
    fn write(&mut self, owner: [u8; 2], rtype: Rtype, ttl: u32, data: impl FnOnce(&mut Vec<u8>, [u8; 2])) -> bool {
        let before = self.out.len();
        self.out.extend_from_slice(&start(owner, rtype, ttl, 0));
        let begin = self.out.len();
        data(self.out, self.zone);
        let length = u16::try_from(self.out.len() - begin).unwrap_or(u16::MAX);
        self.out[begin - 2..begin].copy_from_slice(&length.to_be_bytes());
        let fits = self.out.len() <= self.limit;
        if !fits {
            self.out.truncate(before);
        }
        fits
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authoritative {
    Yes,
    No,
}

/// The numbers of the SOA record. Nobody transfers the zone, so those for secondaries are customary ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartOfAuthority {
    pub(crate) serial: u32,
    pub(crate) ttl: u32,
    pub(crate) negative_ttl: u32,
    pub(crate) minimum: u32,
}

impl StartOfAuthority {
    const REFRESH: u32 = 7200;
    const RETRY: u32 = 1800;
    const EXPIRE: u32 = 86400;
}

/// A record up to its data.
fn start(owner: [u8; 2], rtype: Rtype, ttl: u32, length: u16) -> [u8; 12] {
    let mut start = [0; 12];
    start[..2].copy_from_slice(&owner);
    start[2..4].copy_from_slice(&rtype.to_int().to_be_bytes());
    start[4..6].copy_from_slice(&Class::IN.to_int().to_be_bytes());
    start[6..10].copy_from_slice(&ttl.to_be_bytes());
    start[10..].copy_from_slice(&length.to_be_bytes());
    start
}

/// A compression pointer (RFC 1035, 4.1.4). `at` is always within the first 16 KiB: in the question or right behind it.
#[expect(clippy::cast_possible_truncation, reason = "14 bits")]
const fn pointer(at: usize) -> [u8; 2] {
    (0xC000 | (at & 0x3FFF) as u16).to_be_bytes()
}
