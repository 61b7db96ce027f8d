//! Parses a query and finds the errors in it. The `domain` crate reads the octets, with all lengths checked.

use domain::base::iana::{Class, Opcode, OptRcode, Rtype};
use domain::base::message::QuestionSection;
use domain::base::name::ToName;
use domain::base::opt::{Opt, OptRecord};
use domain::base::wire::ParseError;
use domain::base::{Header, Message, ParsedRecord};

/// Length of the header, in octets. The question follows it.
pub(crate) const HEADER_LENGTH: usize = 12;

/// A query, as far as it can be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'m> {
    pub(crate) header: Header,
    /// `None` if there is not exactly one question, or if it cannot be read.
    pub(crate) question: Option<RawQuestion<'m>>,
    pub(crate) edns: Option<Edns>,
    /// Response code of a query that is not answered from the plan.
    pub(crate) error: Option<OptRcode>,
}

/// The question of a query, in wire format.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawQuestion<'m> {
    /// Name, type and class as received. Clients compare these octets with those of the reply, including the case.
    pub(crate) octets: &'m [u8],
    pub(crate) name: &'m [u8],
    pub(crate) qtype: Rtype,
}

/// EDNS parameters of the client (RFC 6891).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edns {
    pub(crate) udp_size: u16,
    pub(crate) dnssec_ok: bool,
    version: u8,
}

impl<'m> Request<'m> {
    /// Parses a packet. Returns `None` if it must not be answered: a packet without a full header has no id to reply
    /// to, and two servers that answered replies would never stop.
    pub(crate) fn parse(packet: &'m [u8]) -> Option<Self> {
        let message = Message::from_slice(packet).ok().filter(|message| !message.header().qr())?;
        let mut request = Self { header: message.header(), question: None, edns: None, error: None };
        let read = request.read(packet, message);
        request.error = if request.header.opcode() != Opcode::QUERY {
            Some(OptRcode::NOTIMP)
        } else {
            match read {
                Err(Malformed) => Some(OptRcode::FORMERR),
                Ok(_) if request.edns.is_some_and(|edns| edns.version > 0) => Some(OptRcode::BADVERS),
                Ok(Class::IN) => None,
                Ok(_) => Some(OptRcode::REFUSED),
            }
        };
        Some(request)
    }

    /// Fills in the question and the EDNS parameters, in this order. Returns the class of the question.
    fn read(&mut self, packet: &'m [u8], message: &'m Message<[u8]>) -> Result<Class, Malformed> {
        let counts = message.header_counts();
        if counts.qdcount() != 1 {
            return Err(Malformed);
        }
        let mut questions = message.question();
        let question = questions.next().ok_or(Malformed)??;
        let octets = &packet[HEADER_LENGTH..questions.pos()];
        // A compression pointer here could only lead into the header, and the reply would not repeat its octets.
        let name = octets.split_last_chunk::<4>().map(|(name, _)| name).ok_or(Malformed)?;
        if question.qname().as_flat_slice() != Some(name) {
            return Err(Malformed);
        }
        self.question = Some(RawQuestion { octets, name, qtype: question.qtype() });
        if (counts.ancount(), counts.nscount(), counts.arcount()) != (0, 0, 0) {
            self.read_edns(questions)?;
        }
        Ok(question.qclass())
    }

    fn read_edns(&mut self, questions: QuestionSection<'m, [u8]>) -> Result<(), Malformed> {
        let authority = questions.answer()?.next_section()?.ok_or(Malformed)?;
        for record in authority.next_section()?.ok_or(Malformed)? {
            let record = record?;
            if record.rtype() != Rtype::OPT {
                continue;
            }
            let edns = Edns::parse(record)?;
            if self.edns.replace(edns).is_some() {
                return Err(Malformed);
            }
        }
        Ok(())
    }
}

impl Edns {
    fn parse(record: ParsedRecord<'_, [u8]>) -> Result<Self, Malformed> {
        let at_root = record.owner().is_root();
        let opt: OptRecord<&[u8]> = record.into_record::<Opt<_>>()?.filter(|_| at_root).ok_or(Malformed)?.into();
        Ok(Self { udp_size: opt.udp_payload_size(), dnssec_ok: opt.dnssec_ok(), version: opt.version() })
    }
}

/// A query that cannot be read. All causes lead to FORMERR.
struct Malformed;

impl From<ParseError> for Malformed {
    fn from(_: ParseError) -> Self {
        Self
    }
}
