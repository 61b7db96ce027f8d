//! Fuzzes the DNS responder with arbitrary packets and a plan with a service of each kind. The properties that every
//! reply must have are checked with a parser that is independent of the code that writes replies.

#![no_main]

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use domain::base::iana::{OptRcode, Rtype};
use domain::base::message::RecordSection;
use domain::base::{Message, ParsedName, ParsedRecord};
use domain::rdata::AllRecordData;
use landfall_core::export::{Endpoint, Export};
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::plan::{Plan, plan};
use landfall_core::snapshot::{Link, NetworkView, RuleSource, Service, ServiceKind, Snapshot};
use landfall_dns::responder::Outcome;
use landfall_dns::{Responder, Transport};
use libfuzzer_sys::fuzz_target;

static FLEET: LazyLock<Plan> = LazyLock::new(fleet);
static RESPONDER: LazyLock<Responder> = LazyLock::new(|| {
    let zones = ["clusterset.local", "eu.clusterset.local"].map(|zone| zone.parse().unwrap());
    let advertise = ["10.96.0.53", "fd00:96::53"].map(|address| address.parse().unwrap());
    Responder::new(zones.into(), Duration::from_secs(5), advertise.into(), 0)
});

fuzz_target!(|packet: &[u8]| {
    let mut reply = Vec::new();
    for transport in Transport::ALL {
        for plan in [Some(&*FLEET), None] {
            let outcome = RESPONDER.reply(plan, packet, transport, &mut reply);
            check(packet, plan, transport, outcome, &reply);
        }
    }
});

fn check(packet: &[u8], plan: Option<&Plan>, transport: Transport, outcome: Outcome, reply: &[u8]) {
    let unanswerable = packet.len() < 12 || packet[2] & 0x80 != 0;
    assert_eq!(unanswerable, outcome == Outcome::Dropped);
    let Outcome::Replied { rcode, truncated } = outcome else { return };

    let message = Message::from_slice(reply).unwrap();
    let (header, counts) = (message.header(), message.header_counts());
    assert_eq!(reply[..2], packet[..2], "the id");
    assert_eq!(reply[2] & 0x79, packet[2] & 0x79, "opcode and RD");
    assert!(header.qr() && !header.ra() && !header.z() && !header.ad() && !header.cd());
    assert_eq!((header.tc(), message.opt_rcode()), (truncated, rcode));
    assert_eq!(header.aa(), matches!(rcode, OptRcode::NOERROR | OptRcode::NXDOMAIN));
    assert!(plan.is_some() || !header.aa());

    let mut questions = message.question();
    assert_eq!(questions.by_ref().map(Result::unwrap).count(), usize::from(counts.qdcount()));
    assert!(packet.starts_with(&[&packet[..12], &reply[12..questions.pos()]].concat()), "the question");
    let answer = message.answer().unwrap();
    let authority = answer.next_section().unwrap().unwrap();
    let mut additional = authority.next_section().unwrap().unwrap();
    let answers = types(answer);
    let authorities = types(authority);
    let additionals = types(additional);
    additional.by_ref().for_each(|record| drop(record.unwrap()));
    assert_eq!(additional.pos(), reply.len(), "nothing follows the last record");

    let edns = additionals.iter().filter(|&&rtype| rtype == Rtype::OPT).count();
    assert!(edns <= 1 && (rcode != OptRcode::BADVERS || edns == 1));
    let limit = match (transport, Message::from_slice(packet).unwrap().opt()) {
        (Transport::Tcp, _) => 65_535,
        (Transport::Udp, Some(opt)) if edns == 1 => usize::from(opt.udp_payload_size()).clamp(512, 1232),
        (Transport::Udp, _) => 512,
    };
    assert!(reply.len() <= limit && (transport == Transport::Udp || !truncated));
    assert!(
        message.opt().is_none_or(|opt| opt.udp_payload_size() == 1232 && opt.version() == 0 && opt.opt().is_empty())
    );

    let negative = header.aa() && answers.is_empty() && !truncated;
    assert_eq!(authorities, if negative { vec![Rtype::SOA] } else { vec![] });
    assert!(header.aa() || answers.is_empty());
    assert!(rcode == OptRcode::NOERROR || answers.is_empty());
    let asked = message.first_question().map(|question| question.qtype());
    assert!(answers.iter().all(|&rtype| Some(rtype) == asked || (rtype == Rtype::HINFO && asked == Some(Rtype::ANY))));
}

/// Returns the types of all records. Parses each record including its data.
fn types(section: RecordSection<'_, [u8]>) -> Vec<Rtype> {
    let read = |record: Result<ParsedRecord<'_, [u8]>, _>| {
        let record = record.unwrap();
        record.to_any_record::<AllRecordData<_, ParsedName<_>>>().unwrap();
        record.rtype()
    };
    section.map(read).collect()
}

fn fleet() -> Plan {
    let id = |cluster: &str| ClusterId::new(cluster).unwrap();
    let endpoint = |text: &str| match text.split_once('/') {
        Some((hostname, address)) => Endpoint::new(address.parse().unwrap(), Some(hostname)),
        None => Endpoint::new(text.parse().unwrap(), None),
    };
    let service = |kind: ServiceKind, exports: &[(&str, &[&str])]| {
        let export = |endpoints: &[&str]| {
            let mut ready: Vec<Endpoint> = endpoints.iter().map(|text| endpoint(text)).collect();
            ready.sort();
            Export { ready: ready.into() }
        };
        let exports = exports.iter().map(|(cluster, endpoints)| (id(cluster), export(endpoints))).collect();
        Arc::new(Service { kind, exports, rule_source: RuleSource::Policy(Arc::default()) })
    };
    let vip = |ips: &[&str]| {
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        ServiceKind::ClusterSetIp { ips }
    };
    let many: Vec<String> =
        (0..200).flat_map(|i| [format!("p-{i}/10.9.0.{i}"), format!("p-{i}/fd00:9::{i:x}")]).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let services = [
        ("web", "shop", service(vip(&[]), &[("east", &["10.0.0.1"]), ("west", &["10.0.0.2", "fd00::2"])])),
        ("dual", "shop", service(vip(&[]), &[("west", &["10.0.0.3", "fd00::3"])])),
        ("vip", "shop", service(vip(&["243.0.0.1", "fd00:243::1"]), &[("west", &["10.0.0.4"])])),
        ("idle", "shop", service(vip(&[]), &[("west", &[])])),
        (
            "db",
            "data",
            service(
                ServiceKind::Headless,
                &[
                    ("east", &["db-0/10.1.0.1", "db-0/fd00:1::1"]),
                    ("west", &["10.2.0.1", "twin/10.2.0.2", "twin/10.2.0.3"]),
                    ("east.eu", &["db-0/10.3.0.1"]),
                ],
            ),
        ),
        ("large", "data", service(ServiceKind::Headless, &[("east", &many), ("west", &["10.2.0.9"])])),
        ("empty", "data", service(ServiceKind::Headless, &[("east", &[])])),
    ];
    let services = services.map(|(name, namespace, service)| (ServiceKey::new(namespace, name).unwrap(), service));
    let link = |cluster| (id(cluster), Link { reachable: true, rtt: None });
    let view =
        NetworkView { local: id("south"), links_complete: true, links: ["east", "west", "east.eu"].map(link).into() };
    plan(&Snapshot { view, services: services.into() }, &Plan::default(), 1_800_000_000)
}
