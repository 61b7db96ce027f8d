//! A fleet of services, and a client that queries it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::base::iana::Rtype;
use domain::base::name::ToName;
use domain::base::{Message, ParsedName, ParsedRecord};
use domain::rdata::AllRecordData;
use landfall_core::export::{Endpoint, Export};
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::plan::{Plan, plan};
use landfall_core::policy::{LocalPreference, Mode, Policy, Weight, WeightRow};
use landfall_core::snapshot::{Link, NetworkView, RuleSource, Service, ServiceKind, Snapshot};
use landfall_dns::responder::Outcome;
use landfall_dns::{Responder, Transport, Zone};

/// Time at which the plan of [`fleet`] last changed.
pub(crate) const CHANGED: u64 = 1_800_000_000;

pub(crate) fn id(cluster: &str) -> ClusterId {
    ClusterId::new(cluster).unwrap()
}

pub(crate) fn key(service: &str) -> ServiceKey {
    let (name, namespace) = service.split_once('.').unwrap();
    ServiceKey::new(namespace, name).unwrap()
}

/// Returns the network as `east` sees it: only `south` is unreachable.
pub(crate) fn view() -> NetworkView {
    let clusters = ["west", "east.eu", "north", "south", "a", "b", "c", "d", "e"];
    let link = |cluster: &str| (id(cluster), Link { reachable: cluster != "south", rtt: None });
    NetworkView { local: id("east"), links_complete: true, links: clusters.map(link).into() }
}

/// Parses endpoints of the form `hostname/address` or `address`.
pub(crate) fn export(endpoints: &[&str]) -> Export {
    let endpoint = |text: &&str| match text.split_once('/') {
        Some((hostname, address)) => Endpoint::new(address.parse().unwrap(), Some(hostname)),
        None => Endpoint::new(text.parse().unwrap(), None),
    };
    let mut ready: Vec<Endpoint> = endpoints.iter().map(endpoint).collect();
    ready.sort();
    ready.dedup();
    Export { ready: ready.into() }
}

pub(crate) fn service(kind: ServiceKind, exports: &[(&str, &[&str])]) -> Arc<Service> {
    let exports = exports.iter().map(|(cluster, endpoints)| (id(cluster), export(endpoints))).collect();
    Arc::new(Service { kind, exports, rule_source: RuleSource::Policy(Arc::default()) })
}

pub(crate) fn per_cluster() -> ServiceKind {
    ServiceKind::ClusterSetIp { ips: Vec::new() }
}

pub(crate) fn vip(ips: &[&str]) -> ServiceKind {
    ServiceKind::ClusterSetIp { ips: ips.iter().map(|ip| ip.parse().unwrap()).collect() }
}

/// Returns a service with weights and without local preference. A lower weight means a higher share.
pub(crate) fn weighted(kind: ServiceKind, exports: &[(&str, &[&str])], weights: &[(&str, f64)]) -> Arc<Service> {
    let weights = weights.iter().map(|&(cluster, weight)| (id(cluster), Weight::from(weight))).collect();
    let policy = Policy {
        mode: Mode::WeightedRoundRobin,
        local_preference: Some(LocalPreference::Balance),
        rows: vec![WeightRow::new(None, weights).unwrap()],
        ..Policy::default()
    };
    let service = Arc::unwrap_or_clone(service(kind, exports));
    Arc::new(Service { rule_source: RuleSource::Policy(Arc::new(policy)), ..service })
}

pub(crate) fn plan_of(services: impl IntoIterator<Item = (&'static str, Arc<Service>)>) -> Plan {
    let services = services.into_iter().map(|(name, service)| (key(name), service)).collect();
    plan(&Snapshot { view: view(), services }, &Plan::default(), CHANGED)
}

/// Returns a plan with one service of each kind.
pub(crate) fn fleet() -> Plan {
    plan_of([
        // `east` is the local cluster and preferred.
        ("web.shop", service(per_cluster(), &[("east", &["10.0.0.1"]), ("west", &["10.0.0.2"])])),
        ("dual.shop", service(per_cluster(), &[("east", &["10.0.0.3", "fd00::3"])])),
        ("idle.shop", service(per_cluster(), &[("east", &[]), ("west", &[])])),
        ("far.shop", service(per_cluster(), &[("south", &["10.9.0.9"])])),
        ("vip.shop", service(vip(&["243.0.0.1", "fd00:243::1"]), &[("west", &["10.0.0.4"])])),
        ("vip4.shop", service(vip(&["243.0.0.2"]), &[("west", &["10.0.0.5"])])),
        ("idle-vip.shop", service(vip(&["243.0.0.3"]), &[("west", &[])])),
        (
            "db.data",
            service(
                ServiceKind::Headless,
                &[
                    ("east", &["db-0/10.1.0.1", "db-0/fd00:1::1", "db-1/10.1.0.2"]),
                    ("west", &["10.2.0.1", "twin/10.2.0.2", "twin/10.2.0.3", "fd00:2::"]),
                    ("east.eu", &["db-0/10.3.0.1"]),
                    ("north", &[]),
                    ("south", &["db-0/10.4.0.1"]),
                ],
            ),
        ),
        ("v4.data", service(ServiceKind::Headless, &[("west", &["10.5.0.1"])])),
        ("empty.data", service(ServiceKind::Headless, &[("east", &[]), ("west", &[])])),
    ])
}

/// Returns a StatefulSet: `count` endpoints in each of `clusters`, each with a hostname and an address of either
/// family.
pub(crate) fn stateful(clusters: &[&str], count: u16) -> Arc<Service> {
    let exports = clusters.iter().enumerate().map(|(i, cluster)| {
        let names = (0..count).flat_map(|n| {
            let [high, low] = n.to_be_bytes();
            // IPv6 addresses descend while IPv4 addresses ascend, so that the families do not sort alike.
            [format!("db-{n}/10.{i}.{high}.{low}"), format!("db-{n}/fd00:{i}::{:x}", u16::MAX - n)]
        });
        let names: Vec<String> = names.collect();
        (id(cluster), export(&names.iter().map(String::as_str).collect::<Vec<_>>()))
    });
    let rule_source =
        RuleSource::Policy(Arc::new(Policy { local_preference: Some(LocalPreference::Balance), ..Policy::default() }));
    Arc::new(Service { kind: ServiceKind::Headless, exports: exports.collect(), rule_source })
}

pub(crate) fn responder() -> Responder {
    responder_for(&["clusterset.local"], 5)
}

pub(crate) fn responder_for(zones: &[&str], ttl: u64) -> Responder {
    let zones = zones.iter().map(|zone| zone.parse::<Zone>().unwrap()).collect();
    let advertise = ["10.96.0.53", "fd00:96::53"].map(|address| address.parse().unwrap()).into();
    Responder::new(zones, Duration::from_secs(ttl), advertise, 0)
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Edns {
    pub(crate) size: u16,
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
    pub(crate) options: &'static [u8],
}

impl Edns {
    pub(crate) fn of(size: u16) -> Self {
        Self { size, version: 0, dnssec_ok: false, options: &[] }
    }
}

/// A query that is built octet by octet, so that a test can make it invalid.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) name: Vec<u8>,
    pub(crate) qtype: Rtype,
    pub(crate) class: u16,
    pub(crate) flags: u16,
    pub(crate) edns: Option<Edns>,
}

pub(crate) const ID: u16 = 0xBEEF;
pub(crate) const RD: u16 = 0x0100;

impl Query {
    pub(crate) fn new(name: &str, qtype: Rtype) -> Self {
        Self { name: wire(name), qtype, class: 1, flags: RD, edns: None }
    }

    pub(crate) fn octets(&self) -> Vec<u8> {
        let additional = u16::from(self.edns.is_some());
        let header = [ID, self.flags, 1, 0, 0, additional];
        let mut octets: Vec<u8> = header.iter().flat_map(|number| number.to_be_bytes()).collect();
        octets.extend(self.question());
        octets.extend(self.edns.iter().flat_map(opt));
        octets
    }

    pub(crate) fn question(&self) -> Vec<u8> {
        let class = self.class.to_be_bytes();
        [&self.name[..], &self.qtype.to_int().to_be_bytes(), &class].concat()
    }
}

pub(crate) fn opt(edns: &Edns) -> Vec<u8> {
    let length = u16::try_from(edns.options.len()).unwrap().to_be_bytes();
    let flags = if edns.dnssec_ok { [0x80, 0] } else { [0, 0] };
    let [high, low] = edns.size.to_be_bytes();
    [&[0, 0, 41, high, low, 0, edns.version, flags[0], flags[1]], &length[..], edns.options].concat()
}

pub(crate) fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let labels = labels.flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

/// A reply, as parsed by `domain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) length: usize,
    pub(crate) id: u16,
    pub(crate) opcode: u8,
    pub(crate) authoritative: bool,
    pub(crate) truncated: bool,
    pub(crate) recursion_desired: bool,
    /// True if RA, Z, AD or CD is set.
    pub(crate) other_flags: bool,
    pub(crate) rcode: String,
    pub(crate) question: Vec<u8>,
    /// Answer records, as `owner ttl type data`.
    pub(crate) answers: Vec<String>,
    pub(crate) authority: Vec<String>,
    /// Additional records except the OPT record.
    pub(crate) additional: Vec<String>,
    /// UDP size, version, DO flag and length of the options.
    pub(crate) edns: Option<(u16, u8, bool, usize)>,
}

impl Reply {
    pub(crate) fn parse(octets: &[u8]) -> Self {
        let message = Message::from_slice(octets).expect("a header");
        let header = message.header();
        assert!(header.qr(), "a reply");
        let mut questions = message.question();
        questions.by_ref().for_each(|question| {
            question.expect("a question");
        });
        let question = octets[12..questions.pos()].to_vec();
        let answer = message.answer().expect("an answer section");
        let authority = answer.next_section().unwrap().expect("an authority section");
        let additional = authority.next_section().unwrap().expect("an additional section");
        let opt: Vec<_> = additional.filter(|record| record.as_ref().unwrap().rtype() == Rtype::OPT).collect();
        assert!(opt.len() <= 1, "{} OPT records", opt.len());
        let edns = opt.into_iter().next().map(|_| {
            let opt = message.opt().expect("an OPT record");
            (opt.udp_payload_size(), opt.version(), opt.dnssec_ok(), opt.opt().len())
        });
        let mut end = additional;
        end.by_ref().for_each(|record| {
            record.expect("a record");
        });
        assert_eq!(end.pos(), octets.len(), "octets after the end");
        Self {
            length: octets.len(),
            id: header.id(),
            opcode: header.opcode().to_int(),
            authoritative: header.aa(),
            truncated: header.tc(),
            recursion_desired: header.rd(),
            other_flags: header.ra() || header.z() || header.ad() || header.cd(),
            rcode: message.opt_rcode().to_string(),
            question,
            answers: answer.map(|record| show(record.unwrap())).collect(),
            authority: authority.map(|record| show(record.unwrap())).collect(),
            additional: additional
                .map(Result::unwrap)
                .filter(|record| record.rtype() != Rtype::OPT)
                .map(show)
                .collect(),
            edns,
        }
    }

    /// Returns the address of each answer, which is its last word.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.answers.iter().map(|answer| answer.rsplit(' ').next().unwrap().parse().unwrap()).collect()
    }
}

fn show(record: ParsedRecord<'_, [u8]>) -> String {
    let record = record.to_any_record::<AllRecordData<_, ParsedName<_>>>().expect("record data");
    let owner = record.owner().to_vec();
    format!("{owner} {} {} {}", record.ttl().as_secs(), record.rtype(), record.data())
}

pub(crate) fn ask(responder: &Responder, plan: Option<&Plan>, query: &Query, transport: Transport) -> Reply {
    reply_to(responder, plan, &query.octets(), transport).expect("a reply")
}

pub(crate) fn reply_to(
    responder: &Responder,
    plan: Option<&Plan>,
    query: &[u8],
    transport: Transport,
) -> Option<Reply> {
    let mut out = Vec::new();
    match responder.reply(plan, query, transport, &mut out) {
        Outcome::Dropped => None,
        Outcome::Replied { rcode, truncated } => {
            let reply = Reply::parse(&out);
            assert_eq!((reply.rcode.as_str(), reply.truncated), (rcode.to_string().as_str(), truncated));
            Some(reply)
        }
    }
}

/// Asks over UDP with the default responder.
pub(crate) fn reply(plan: &Plan, name: &str, qtype: Rtype) -> Reply {
    ask(&responder(), Some(plan), &Query::new(name, qtype), Transport::Udp)
}
