//! Writes a reply to the wire.
//!
//! The records are written by hand, because all replies are alike: every owner is the name in the question or the end
//! of it. Names are therefore compression pointers into the question, and no search for common suffixes is needed.
//! Tests and fuzzing parse every reply with the `domain` crate.

use std::net::IpAddr;

use domain::base::Header;
use domain::base::iana::{Class, OptRcode, Rtype};

use crate::request::{Edns, HEADER_LENGTH, RawQuestion, Request};

/// Compression pointer to the name in the question.
const QUESTION_NAME: [u8; 2] = pointer(HEADER_LENGTH);
/// Length of an OPT record without options, in octets.
const OPT_LENGTH: usize = 11;
/// Maximum size of a reply over UDP, in octets, which is also the size that the server advertises for queries. Such a
/// message crosses nearly every network without fragmentation (DNS flag day 2020).
pub(crate) const MAX_UDP_SIZE: u16 = 1232;
/// Size of a reply over UDP that every client accepts, in octets (RFC 1035, 4.2.1).
const MIN_UDP_SIZE: u16 = 512;

/// Transport protocol of a query and its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    /// Returns the name in lower case, as used for metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A reply under construction.
pub(crate) struct Reply<'o> {
    out: &'o mut Vec<u8>,
    edns: Option<Edns>,
    transport: Transport,
    /// Maximum length of the message without its OPT record, in octets.
    limit: usize,
    /// Compression pointer to the name of the zone.
    zone: [u8; 2],
    answers: u16,
    authorities: u16,
    additionals: u16,
    truncated: bool,
}

impl<'o> Reply<'o> {
    /// Starts a reply with space for the header, and the question. The last `zone_length` octets of the name in the
    /// question are the zone.
    pub(crate) fn new(request: &Request<'_>, transport: Transport, zone_length: usize, out: &'o mut Vec<u8>) -> Self {
        out.clear();
        out.extend_from_slice(&[0; HEADER_LENGTH]);
        let name_length = request.question.map_or(0, |question| question.name.len());
        out.extend_from_slice(request.question.map_or(&[], |question: RawQuestion<'_>| question.octets));
        let limit = match transport {
            Transport::Tcp => u16::MAX,
            Transport::Udp => request.edns.map_or(MIN_UDP_SIZE, |edns| edns.udp_size.clamp(MIN_UDP_SIZE, MAX_UDP_SIZE)),
        };
        Self {
            out,
            edns: request.edns,
            transport,
            limit: usize::from(limit) - if request.edns.is_some() { OPT_LENGTH } else { 0 },
            zone: pointer(HEADER_LENGTH + name_length.saturating_sub(zone_length)),
            answers: 0,
            authorities: 0,
            additionals: 0,
            truncated: false,
        }
    }

    /// Appends the addresses of the name in the question. Sets TC over UDP if not all addresses fit, so that the client
    /// retries over TCP. Replies over TCP are cut silently.
    pub(crate) fn addresses(&mut self, addresses: impl IntoIterator<Item = IpAddr>, ttl: u32) {
        for address in addresses {
            if !self.write_address(QUESTION_NAME, address, ttl) {
                self.truncated = self.transport == Transport::Udp;
                return;
            }
            self.answers += 1;
        }
    }

    /// Appends a record whose data is a list of character strings.
    pub(crate) fn text(&mut self, rtype: Rtype, ttl: u32, strings: &[&str]) {
        let fits = self.write(QUESTION_NAME, rtype, ttl, |out, _| {
            for string in strings {
                out.push(u8::try_from(string.len()).unwrap_or(0));
                out.extend_from_slice(string.as_bytes());
            }
        });
        self.answers += u16::from(fits);
    }

    /// Appends the NS record of the zone, and the server's addresses as far as they fit.
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

    /// Appends the SOA record as the answer.
    pub(crate) fn start_of_authority(&mut self, soa: &StartOfAuthority) {
        self.answers += u16::from(self.write_soa(soa, soa.ttl));
    }

    /// Appends the SOA record to the authority section, which lets resolvers cache a negative answer (RFC 2308).
    pub(crate) fn negative(&mut self, soa: &StartOfAuthority) {
        self.authorities += u16::from(self.write_soa(soa, soa.negative_ttl));
    }

    /// Completes the message. Returns true if addresses were left out and TC is set.
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
            let [size_high, size_low] = MAX_UDP_SIZE.to_be_bytes();
            let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
            let [_, opt] = Rtype::OPT.to_int().to_be_bytes();
            self.out.extend_from_slice(&[0, 0, opt, size_high, size_low, rcode.ext(), 0, dnssec_ok, 0, 0, 0]);
        }
        let counts = [
            u16::from(request.question.is_some()),
            self.answers,
            self.authorities,
            self.additionals + u16::from(self.edns.is_some()),
        ];
        self.out[..4].copy_from_slice(header.as_slice());
        for (at, count) in self.out[4..HEADER_LENGTH].chunks_exact_mut(2).zip(counts) {
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

    /// Appends an address record. Each family has an array of fixed size, because nearly all records are addresses.
    fn write_address(&mut self, owner: [u8; 2], address: IpAddr, ttl: u32) -> bool {
        match address {
            IpAddr::V4(address) => {
                let mut record = [0; 16];
                record[..12].copy_from_slice(&record_header(owner, Rtype::A, ttl, 4));
                record[12..].copy_from_slice(&address.octets());
                self.append(&record)
            }
            IpAddr::V6(address) => {
                let mut record = [0; 28];
                record[..12].copy_from_slice(&record_header(owner, Rtype::AAAA, ttl, 16));
                record[12..].copy_from_slice(&address.octets());
                self.append(&record)
            }
        }
    }

    /// Appends `record` if it fits. Returns true if it did.
    fn append(&mut self, record: &[u8]) -> bool {
        let fits = self.out.len() + record.len() <= self.limit;
        if fits {
            self.out.extend_from_slice(record);
        }
        fits
    }

    /// Appends a record with the data that `data` writes, given the pointer to the zone. Removes the record again if it
    /// does not fit. Returns true if it did.
    fn write(&mut self, owner: [u8; 2], rtype: Rtype, ttl: u32, data: impl FnOnce(&mut Vec<u8>, [u8; 2])) -> bool {
        let before = self.out.len();
        self.out.extend_from_slice(&record_header(owner, rtype, ttl, 0));
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

/// The AA flag of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authoritative {
    Yes,
    No,
}

/// Numbers in the SOA record. Those for secondary servers have customary values, because the zone is not transferred.
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

/// Returns the part of a record in front of its data.
fn record_header(owner: [u8; 2], rtype: Rtype, ttl: u32, length: u16) -> [u8; 12] {
    let mut header = [0; 12];
    header[..2].copy_from_slice(&owner);
    header[2..4].copy_from_slice(&rtype.to_int().to_be_bytes());
    header[4..6].copy_from_slice(&Class::IN.to_int().to_be_bytes());
    header[6..10].copy_from_slice(&ttl.to_be_bytes());
    header[10..].copy_from_slice(&length.to_be_bytes());
    header
}

/// Returns a compression pointer to the position `at` (RFC 1035, 4.1.4). `at` is in the question or right behind it, so
/// it is always within the first 16 KiB.
#[expect(clippy::cast_possible_truncation, reason = "14 bits")]
const fn pointer(at: usize) -> [u8; 2] {
    (0xC000 | (at & 0x3FFF) as u16).to_be_bytes()
}
