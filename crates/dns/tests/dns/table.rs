//! The table of the DNS specification, row by row: each query with its expected reply.

use domain::base::iana::Rtype;
use landfall_dns::Transport;

use crate::support::{Edns, Query, RD, Reply, ask, fleet, responder, responder_for, wire};

const Z: &str = "clusterset.local";
const SOA: &str = "SOA ns.dns.clusterset.local. hostmaster.clusterset.local. 1800000000 7200 1800 86400 5";

/// Expected reply to a query. Owners and TTLs are not listed, because they follow from rules in [`check`].
enum Expected {
    /// Answer records as `type data`, in any order.
    Records(&'static [&'static str]),
    NoData,
    NxDomain,
    Refused,
}
use Expected::{NoData, NxDomain, Records, Refused};

const A: Rtype = Rtype::A;
const AAAA: Rtype = Rtype::AAAA;

fn rows() -> Vec<(&'static str, &'static str, Rtype, Expected)> {
    let mut rows = addresses();
    rows.extend(below_services());
    rows.extend(other_names());
    rows.extend(other_types());
    rows
}

fn addresses() -> Vec<(&'static str, &'static str, Rtype, Expected)> {
    vec![
        ("1", "vip.shop.svc.Z", A, Records(&["A 243.0.0.1"])),
        ("1", "web.shop.svc.Z", A, Records(&["A 10.0.0.1"])),
        ("2", "vip.shop.svc.Z", AAAA, Records(&["AAAA fd00:243::1"])),
        ("2", "vip4.shop.svc.Z", AAAA, NoData),
        ("2", "web.shop.svc.Z", AAAA, NoData),
        ("2", "dual.shop.svc.Z", AAAA, Records(&["AAAA fd00::3"])),
        ("3", "dual.shop.svc.Z", A, Records(&["A 10.0.0.3"])),
        ("4", "idle-vip.shop.svc.Z", A, Records(&["A 243.0.0.3"])),
        ("4", "idle.shop.svc.Z", A, NoData),
        ("4", "idle.shop.svc.Z", AAAA, NoData),
        ("4", "far.shop.svc.Z", A, Records(&["A 10.9.0.9"])),
        (
            "5",
            "db.data.svc.Z",
            A,
            Records(&["A 10.1.0.1", "A 10.1.0.2", "A 10.2.0.1", "A 10.2.0.2", "A 10.2.0.3", "A 10.3.0.1"]),
        ),
        ("5", "db.data.svc.Z", AAAA, Records(&["AAAA fd00:1::1", "AAAA fd00:2::"])),
        ("6", "empty.data.svc.Z", A, NxDomain),
        ("6", "empty.data.svc.Z", AAAA, NxDomain),
        ("6", "empty.data.svc.Z", Rtype::TXT, NxDomain),
        ("7", "v4.data.svc.Z", AAAA, NoData),
    ]
}

fn below_services() -> Vec<(&'static str, &'static str, Rtype, Expected)> {
    vec![
        ("8", "db-0.east.db.data.svc.Z", A, Records(&["A 10.1.0.1"])),
        ("8", "db-0.east.db.data.svc.Z", AAAA, Records(&["AAAA fd00:1::1"])),
        ("8", "db-1.east.db.data.svc.Z", AAAA, NoData),
        ("8", "10-2-0-1.west.db.data.svc.Z", A, Records(&["A 10.2.0.1"])),
        ("8", "twin.west.db.data.svc.Z", A, Records(&["A 10.2.0.2", "A 10.2.0.3"])),
        ("8", "fd00-2--0.west.db.data.svc.Z", AAAA, Records(&["AAAA fd00:2::"])),
        ("8", "db-0.east.eu.db.data.svc.Z", A, Records(&["A 10.3.0.1"])),
        ("8", "db-0.south.db.data.svc.Z", A, Records(&["A 10.4.0.1"])),
        ("9", "db-2.east.db.data.svc.Z", A, NxDomain),
        ("9", "db-2.east.db.data.svc.Z", AAAA, NxDomain),
        ("9", "db-0.nowhere.db.data.svc.Z", A, NxDomain),
        ("9", "db-0.north.db.data.svc.Z", AAAA, NxDomain),
        ("9", "x.db-0.east.db.data.svc.Z", A, NxDomain),
        ("9", "x.db-0.east.eu.db.data.svc.Z", AAAA, NxDomain),
        ("10", "db-0.east.web.shop.svc.Z", A, NxDomain),
        ("10", "10-0-0-1.east.web.shop.svc.Z", A, NxDomain),
        ("10", "10-0-0-4.west.vip.shop.svc.Z", AAAA, NxDomain),
        ("11", "east.db.data.svc.Z", A, NoData),
        ("11", "east.eu.db.data.svc.Z", A, NoData),
        ("11", "eu.db.data.svc.Z", AAAA, NoData),
        ("11", "south.db.data.svc.Z", A, NoData),
        ("11", "u.db.data.svc.Z", A, NxDomain),
        ("11", "north.db.data.svc.Z", A, NxDomain),
        ("11", "nowhere.db.data.svc.Z", A, NxDomain),
        ("11", "east.web.shop.svc.Z", A, NxDomain),
        ("11", "west.vip.shop.svc.Z", A, NxDomain),
        ("11", "east.empty.data.svc.Z", A, NxDomain),
        // Without SRV records, these names do not exist.
        ("12", "_http._tcp.web.shop.svc.Z", Rtype::SRV, NxDomain),
        ("13", "_http._tcp.db.data.svc.Z", Rtype::SRV, NxDomain),
        ("14", "web.shop.svc.Z", Rtype::SRV, NoData),
        ("18", "_http._tcp.db.data.svc.Z", A, NxDomain),
    ]
}

fn other_names() -> Vec<(&'static str, &'static str, Rtype, Expected)> {
    vec![
        ("20", "shop.svc.Z", A, NoData),
        ("20", "data.svc.Z", AAAA, NoData),
        ("20", "nowhere.svc.Z", A, NxDomain),
        ("20", "web.nowhere.svc.Z", A, NxDomain),
        ("20", "nothing.shop.svc.Z", A, NxDomain),
        ("21", "svc.Z", A, NoData),
        ("22", "pod.Z", A, NxDomain),
        ("22", "10-0-0-1.shop.pod.Z", A, NxDomain),
        ("22", "web.shop.pod.Z", A, NxDomain),
        ("23", "dns-version.Z", Rtype::TXT, Records(&["TXT \"1.0.0\""])),
        ("23", "dns-version.Z", A, NoData),
        ("23", "x.dns-version.Z", Rtype::TXT, NxDomain),
        ("24", "Z", Rtype::SOA, Records(&[SOA])),
        ("25", "Z", Rtype::NS, Records(&["NS ns.dns.clusterset.local."])),
        ("26", "ns.dns.Z", A, Records(&["A 10.96.0.53"])),
        ("26", "ns.dns.Z", AAAA, Records(&["AAAA fd00:96::53"])),
        ("26", "ns.dns.Z", Rtype::TXT, NoData),
        ("26", "a.ns.dns.Z", A, NxDomain),
        ("27", "dns.Z", A, NoData),
        ("27", "x.dns.Z", A, NxDomain),
        ("28", "Z", A, NoData),
        ("28", "Z", AAAA, NoData),
        ("28", "Z", Rtype::TXT, NoData),
        ("32", "example.com", A, Refused),
        ("32", "web.shop.svc.cluster.local", A, Refused),
        ("32", "local", Rtype::SOA, Refused),
        ("33", "", Rtype::NS, Refused),
        ("34", "1.0.0.10.in-addr.arpa", Rtype::PTR, Refused),
    ]
}

fn other_types() -> Vec<(&'static str, &'static str, Rtype, Expected)> {
    const MINIMAL: Expected = Records(&["HINFO \"RFC8482\" \"\""]);
    vec![
        ("29", "web.shop.svc.Z", Rtype::MX, NoData),
        ("29", "web.shop.svc.Z", Rtype::HTTPS, NoData),
        ("29", "db.data.svc.Z", Rtype::CAA, NoData),
        ("29", "db-0.east.db.data.svc.Z", Rtype::from_int(65280), NoData),
        ("29", "nothing.shop.svc.Z", Rtype::MX, NxDomain),
        ("30", "nothing.shop.svc.Z", Rtype::SOA, NxDomain),
        ("30", "web.shop.svc.Z", Rtype::SOA, NoData),
        ("30", "svc.Z", Rtype::NS, NoData),
        ("31", "svc.Z", Rtype::TXT, NoData),
        ("31", "shop.svc.Z", Rtype::TXT, NoData),
        ("31", "dns.Z", Rtype::TXT, NoData),
        ("35", "web.shop.svc.Z", Rtype::ANY, MINIMAL),
        ("35", "idle.shop.svc.Z", Rtype::ANY, MINIMAL),
        ("35", "svc.Z", Rtype::ANY, MINIMAL),
        ("35", "Z", Rtype::ANY, MINIMAL),
        ("35", "nothing.shop.svc.Z", Rtype::ANY, NxDomain),
        ("35", "example.com", Rtype::ANY, Refused),
        ("37", "Z", Rtype::AXFR, Refused),
        ("37", "Z", Rtype::IXFR, Refused),
        ("37", "web.shop.svc.Z", Rtype::AXFR, Refused),
    ]
}

fn spellings(name: &str) -> [String; 3] {
    let name = name.replace('Z', Z);
    let mixed = name.chars().enumerate().map(|(i, letter)| match i % 3 {
        0 => letter.to_ascii_uppercase(),
        _ => letter,
    });
    [name.clone(), name.to_ascii_uppercase(), mixed.collect()]
}

fn clients() -> Vec<(Transport, Option<Edns>)> {
    let edns = [None, Some(Edns::of(512)), Some(Edns::of(1232)), Some(Edns::of(4096))];
    let dnssec = Some(Edns { dnssec_ok: true, ..Edns::of(1400) });
    let all = edns.into_iter().chain([dnssec]);
    all.flat_map(|edns| Transport::ALL.map(|transport| (transport, edns))).collect()
}

#[test]
fn each_row_of_the_table_is_answered_as_written_in_any_case_over_any_transport() {
    let plan = fleet();
    for (row, name, qtype, expected) in &rows() {
        for spelling in spellings(name) {
            for (transport, edns) in clients() {
                let query = Query { edns, ..Query::new(&spelling, *qtype) };
                let reply = ask(&responder(), Some(&plan), &query, transport);
                check(
                    &format!("row {row}: {spelling:?} {qtype} {transport:?} {edns:?}"),
                    &spelling,
                    &query,
                    &reply,
                    expected,
                );
            }
        }
    }
}

fn check(case: &str, name: &str, query: &Query, reply: &Reply, expected: &Expected) {
    assert_eq!(reply.question, query.question(), "{case}: the question comes back octet by octet");
    assert_eq!((reply.id, reply.recursion_desired, reply.other_flags, reply.truncated), (0xBEEF, true, false, false));
    let edns = query.edns.map(|edns| (1232, 0, edns.dnssec_ok, 0));
    assert_eq!(reply.edns, edns, "{case}");

    let zone = name.get(name.len().saturating_sub(Z.len())..).unwrap_or_default();
    let soa = format!("{zone} 5 {}", SOA.replace(Z, zone));
    let (rcode, authoritative, answers, authority) = match expected {
        Records(records) => ("NOERROR", true, *records, vec![]),
        NoData => ("NOERROR", true, &[][..], vec![soa]),
        NxDomain => ("NXDOMAIN", true, &[][..], vec![soa]),
        Refused => ("REFUSED", false, &[][..], vec![]),
    };
    assert_eq!((reply.rcode.as_str(), reply.authoritative), (rcode, authoritative), "{case}");
    assert_eq!(reply.authority, authority, "{case}");
    let mut answered = reply.answers.clone();
    answered.sort();
    let ttl = if query.qtype == Rtype::TXT { 28800 } else { 5 };
    let mut answers: Vec<String> =
        answers.iter().map(|record| format!("{name} {ttl} {}", record.replace(Z, zone))).collect();
    answers.sort();
    assert_eq!(answered, answers, "{case}");
}

#[test]
fn the_name_server_of_the_zone_comes_with_its_addresses() {
    let reply = ask(&responder(), Some(&fleet()), &Query::new("clusterSET.local", Rtype::NS), Transport::Udp);
    let glue = ["ns.dns.clusterSET.local 5 A 10.96.0.53", "ns.dns.clusterSET.local 5 AAAA fd00:96::53"];
    assert_eq!(reply.additional, glue);
}

#[test]
fn names_in_the_zone_get_servfail_before_the_first_plan() {
    for (row, name, qtype, _) in rows() {
        let [name, ..] = spellings(name);
        let reply = ask(&responder(), None, &Query::new(&name, qtype), Transport::Udp);
        let in_zone = name.ends_with(Z) && !matches!(qtype, Rtype::AXFR | Rtype::IXFR);
        let expected = if in_zone { "SERVFAIL" } else { "REFUSED" };
        assert_eq!(reply.rcode, expected, "row {row}: {name} {qtype}");
        assert!(reply.answers.is_empty() && reply.authority.is_empty() && !reply.authoritative);
    }
}

#[test]
fn classes_other_than_in_are_refused() {
    for (class, name) in [(3, "web.shop.svc.clusterset.local"), (255, "clusterset.local"), (3, "version.bind")] {
        for transport in Transport::ALL {
            let query = Query { class, ..Query::new(name, Rtype::TXT) };
            let reply = ask(&responder(), Some(&fleet()), &query, transport);
            assert_eq!((reply.rcode.as_str(), reply.question), ("REFUSED", query.question()));
        }
    }
}

#[test]
fn newer_edns_version_gets_badvers_with_the_supported_version() {
    for (name, version) in [("web.shop.svc.clusterset.local", 1), ("example.com", 255)] {
        for transport in Transport::ALL {
            let edns = Some(Edns { version, dnssec_ok: true, ..Edns::of(4096) });
            let query = Query { edns, ..Query::new(name, A) };
            let reply = ask(&responder(), Some(&fleet()), &query, transport);
            assert_eq!((reply.rcode.as_str(), reply.edns), ("BADVERS", Some((1232, 0, true, 0))));
            assert!(reply.answers.is_empty() && reply.question == query.question());
        }
    }
}

#[test]
fn recursion_desired_flag_is_copied_from_the_query() {
    let query = Query { flags: 0, ..Query::new("web.shop.svc.clusterset.local", A) };
    assert!(!ask(&responder(), Some(&fleet()), &query, Transport::Udp).recursion_desired);
    let everything = Query { flags: RD | 0x04F0, ..query };
    let reply = ask(&responder(), Some(&fleet()), &everything, Transport::Udp);
    assert!(reply.recursion_desired && !reply.other_flags && reply.authoritative);
}

#[test]
fn several_zones_are_answered_alike_with_the_configured_ttl() {
    let responder = responder_for(&["clusterset.local", "global.example"], 60);
    let plan = fleet();
    let asked = |name: &str, qtype| ask(&responder, Some(&plan), &Query::new(name, qtype), Transport::Udp);
    for zone in ["clusterset.local", "global.example"] {
        let drawn = asked(&format!("web.shop.svc.{zone}"), A);
        assert_eq!(drawn.answers, [format!("web.shop.svc.{zone} 5 A 10.0.0.1")], "the TTL of a draw is limited");
        let vip = asked(&format!("vip.shop.svc.{zone}"), A);
        assert_eq!(vip.answers, [format!("vip.shop.svc.{zone} 60 A 243.0.0.1")]);
        let none = asked(&format!("none.shop.svc.{zone}"), A);
        let soa = format!("SOA ns.dns.{zone}. hostmaster.{zone}. 1800000000 7200 1800 86400 60");
        assert_eq!(none.authority, [format!("{zone} 5 {soa}")], "the TTL of a negative answer is limited");
        assert_eq!(asked(zone, Rtype::SOA).answers, [format!("{zone} 60 {soa}")]);
    }
}

#[test]
fn label_with_the_text_of_a_zone_is_not_in_the_zone() {
    let odd = [&wire("web.shop.svc")[..13], b"\x10clusterset.local\x00"].concat();
    let query = Query { name: odd, ..Query::new("", A) };
    assert_eq!(ask(&responder(), Some(&fleet()), &query, Transport::Udp).rcode, "REFUSED");
}
