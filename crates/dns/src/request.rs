//! A packet that came in, and what is wrong with it. Reading is left to `domain`, which never trusts a length.

use domain::base::iana::{Class, Opcode, OptRcode, Rtype};
use domain::base::message::QuestionSection;
use domain::base::name::ToName;
use domain::base::opt::{Opt, OptRecord};
use domain::base::wire::ParseError;
use domain::base::{Header, Message, ParsedRecord};

/// Where the question begins.
pub(crate) const HEADER: usize = 12;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'m> {
    pub(crate) header: Header,
    /// `None` when there is none, or more than one, or one that cannot be read.
    pub(crate) asked: Option<Asked<'m>>,
    pub(crate) edns: Option<Edns>,
    /// Why it gets no other answer than this.
    pub(crate) fault: Option<OptRcode>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'m> {
    /// Name, type and class as they came: clients compare the octets, upper and lower case included.
    pub(crate) octets: &'m [u8],
    pub(crate) name: &'m [u8],
    pub(crate) qtype: Rtype,
}

/// What the client says about itself (RFC 6891).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edns {
    pub(crate) udp_size: u16,
    pub(crate) dnssec_ok: bool,
    version: u8,
}

impl<'m> Request<'m> {
    /// `None`: no answer at all. What is too short has no id to answer to, and answering answers would never end.
    pub(crate) fn parse(packet: &'m [u8]) -> Option<Self> {
        let message = Message::from_slice(packet).ok().filter(|message| !message.header().qr())?;
        let mut request = Self { header: message.header(), asked: None, edns: None, fault: None };
        let read = request.read(packet, message);
        request.fault = if request.header.opcode() != Opcode::QUERY {
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

    /// Fills in what can be read, in order, and gives the class.
    fn read(&mut self, packet: &'m [u8], message: &'m Message<[u8]>) -> Result<Class, Malformed> {
        let counts = message.header_counts();
        if counts.qdcount() != 1 {
            return Err(Malformed);
        }
        let mut questions = message.question();
        let question = questions.next().ok_or(Malformed)??;
        let octets = &packet[HEADER..questions.pos()];
        // A pointer here could only lead into the header. It would not come back as it came.
        let name = octets.split_last_chunk::<4>().map(|(name, _)| name).ok_or(Malformed)?;
        if question.qname().as_flat_slice() != Some(name) {
            return Err(Malformed);
        }
        self.asked = Some(Asked { octets, name, qtype: question.qtype() });
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

/// It does not matter what: the client gets FORMERR.
struct Malformed;

impl From<ParseError> for Malformed {
    fn from(_: ParseError) -> Self {
        Self
    }
}
