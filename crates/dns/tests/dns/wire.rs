//! Malformed packets, limits of message sizes, and properties of every reply.

use std::collections::BTreeSet;
use std::net::IpAddr;

use domain::base::iana::Rtype;
use landfall_core::plan::Plan;
use landfall_core::snapshot::ServiceKind;
use landfall_dns::Transport;
use proptest::prelude::*;

use crate::support::{
    Edns, ID, Query, RD, Reply, ask, fleet, opt, plan_of, reply_to, responder, service, stateful, wire,
};

const WEB: &str = "web.shop.svc.clusterset.local";
const DB: &str = "db.data.svc.clusterset.local";

fn udp(octets: &[u8]) -> Option<Reply> {
    reply_to(&responder(), Some(&fleet()), octets, Transport::Udp)
}

fn with_counts(counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
    let header = [&[ID, RD][..], &counts].concat();
    header.iter().flat_map(|number| number.to_be_bytes()).chain(rest.iter().copied()).collect()
}

#[test]
fn query_without_exactly_one_question_gets_formerr_and_no_question() {
    let question = Query::new(WEB, Rtype::A).question();
    let two = [&question[..], &question].concat();
    for (count, questions) in [(0, &[][..]), (0, &question), (2, &two), (u16::MAX, &question)] {
        let reply = udp(&with_counts([count, 0, 0, 0], questions)).unwrap();
        assert_eq!((reply.id, reply.rcode.as_str(), reply.length), (ID, "FORMERR", 12), "{count} questions");
    }
}

#[test]
fn unreadable_question_gets_formerr() {
    let too_long = [&wire(&["x".repeat(63).as_str(); 4].join("."))[..], &[0, 1, 0, 1]].concat();
    let cases: [(&str, &[u8]); 8] = [
        ("nothing", &[]),
        ("no type", &wire(WEB)),
        ("no end", &wire(WEB)[..9]),
        ("a pointer into the header", &[0xC0, 0, 0, 1, 0, 1]),
        ("a pointer after a label", &[3, b'w', b'e', b'b', 0xC0, 4, 0, 1, 0, 1]),
        ("a pointer to itself", &[0xC0, 12, 0, 1, 0, 1]),
        ("an unknown kind of label", &[0x41, b'x', 0, 0, 1, 0, 1]),
        ("a name of more than 255 octets", &too_long),
    ];
    for (case, question) in cases {
        for transport in Transport::ALL {
            let packet = with_counts([1, 0, 0, 0], question);
            let reply = reply_to(&responder(), Some(&fleet()), &packet, transport).unwrap();
            assert_eq!((reply.rcode.as_str(), reply.length), ("FORMERR", 12), "{case}");
        }
    }
}

#[test]
fn packet_that_is_too_short_or_is_itself_a_reply_gets_no_reply() {
    let packet = Query::new(WEB, Rtype::A).octets();
    assert!((0..12).all(|length| udp(&packet[..length]).is_none()));
    for flags in [0x8000, 0x8180, 0xF800] {
        assert_eq!(udp(&Query { flags, ..Query::new(WEB, Rtype::A) }.octets()), None);
    }
}

#[test]
fn opcodes_other_than_query_get_notimp() {
    for opcode in 1..=15 {
        let query = Query { flags: (opcode << 11) | RD, ..Query::new(WEB, Rtype::A) };
        let reply = udp(&query.octets()).unwrap();
        assert_eq!((reply.rcode.as_str(), u16::from(reply.opcode)), ("NOTIMP", opcode));
        assert_eq!((reply.question, reply.authoritative), (query.question(), false));
        let update = with_counts([0; 4], &[]);
        assert_eq!(udp(&[&[0, 1, 0x28, 0], &update[4..]].concat()).unwrap().rcode, "NOTIMP", "without a question");
    }
}

#[test]
fn edns_options_are_ignored_and_a_cookie_is_not_returned() {
    let cookie = &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    let unknown = &[0xFD, 0xE9, 0, 1, 7, 0, 12, 0, 2, 0, 0];
    for options in [&cookie[..], unknown] {
        let query = Query { edns: Some(Edns { options, ..Edns::of(1232) }), ..Query::new(WEB, Rtype::A) };
        let reply = udp(&query.octets()).unwrap();
        assert_eq!((reply.rcode.as_str(), reply.edns), ("NOERROR", Some((1232, 0, false, 0))));
    }
}

#[test]
fn opt_record_counts_anywhere_in_the_additional_section_and_nowhere_else() {
    let question = Query::new(WEB, Rtype::A).question();
    let other = [&wire("key.example")[..], &[0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4]].concat();
    let opt = opt(&Edns::of(4096));
    let read = |counts: [u16; 4], records: &[&[u8]]| {
        let reply = udp(&with_counts(counts, &[&question[..], &records.concat()].concat())).unwrap();
        (reply.rcode, reply.edns.is_some())
    };
    let answered = |edns| ("NOERROR".to_owned(), edns);
    assert_eq!(read([1, 0, 0, 3], &[&other, &opt, &other]), answered(true));
    assert_eq!(read([1, 1, 1, 1], &[&other, &other, &opt]), answered(true));
    assert_eq!(read([1, 1, 0, 0], &[&opt]), answered(false));
    assert_eq!(read([1, 0, 0, 0], &[&opt]), answered(false), "octets after the end are ignored");
}

#[test]
fn two_opt_records_or_a_damaged_one_get_formerr() {
    let question = Query::new(WEB, Rtype::A).question();
    let sound = opt(&Edns::of(4096));
    let owned = [&wire("x")[..], &sound[1..]].concat();
    let cut_option = opt(&Edns { options: &[0, 10, 0, 8, 1], ..Edns::of(4096) });
    let short_data = [&sound[..9], &[0, 4, 0]].concat();
    let cases: [(u16, &[&[u8]]); 6] = [
        (2, &[&sound, &sound]),
        (1, &[&owned]),
        (1, &[&cut_option]),
        (1, &[&short_data]),
        (1, &[&sound[..10]]),
        (1, &[]),
    ];
    for (count, records) in cases {
        let packet = with_counts([1, 0, 0, count], &[&question[..], &records.concat()].concat());
        let reply = udp(&packet).unwrap();
        assert_eq!((reply.rcode.as_str(), reply.question), ("FORMERR", question.clone()), "{records:x?}");
    }
}

/// 300 endpoints with addresses of both families: more than any answer over UDP can hold.
fn large() -> Plan {
    plan_of([("db.data", stateful(&["a", "b", "c"], 100))])
}

#[test]
fn answer_that_does_not_fit_has_tc_set_and_keeps_what_fits() {
    let plan = large();
    for (edns, limit, fits) in [(None, 512, 29), (Some(0), 512, 28), (Some(511), 512, 28), (Some(700), 700, 40)] {
        let query = Query { edns: edns.map(Edns::of), ..Query::new(DB, Rtype::A) };
        let reply = ask(&responder(), Some(&plan), &query, Transport::Udp);
        assert!(reply.truncated && reply.length <= limit && reply.length > limit - 16, "{edns:?}: {}", reply.length);
        assert_eq!((reply.answers.len(), reply.edns.is_some()), (fits, edns.is_some()));
    }
}

#[test]
fn answer_over_udp_samples_many_endpoints_and_over_tcp_lists_all() {
    let plan = large();
    for (qtype, limit) in [(Rtype::A, 64), (Rtype::AAAA, 32)] {
        let query = Query { edns: Some(Edns::of(4096)), ..Query::new(DB, qtype) };
        let part = ask(&responder(), Some(&plan), &query, Transport::Udp);
        assert_eq!((part.answers.len(), part.truncated), (limit, false));
        assert!(part.length <= 1232);
        let all = ask(&responder(), Some(&plan), &query, Transport::Tcp);
        assert_eq!((distinct(&all).len(), all.answers.len(), all.truncated), (300, 300, false));
        assert!(distinct(&part).is_subset(&distinct(&all)));
    }
}

fn distinct(reply: &Reply) -> BTreeSet<IpAddr> {
    reply.addresses().into_iter().collect()
}

#[test]
fn sample_of_endpoints_is_the_same_in_both_families() {
    let plan = large();
    let responder = responder();
    // Cluster and number of an endpoint: the inverse of `stateful`.
    let endpoint = |address: &IpAddr| match address {
        IpAddr::V4(address) => {
            let [_, cluster, high, low] = address.octets();
            (u16::from(cluster), u16::from_be_bytes([high, low]))
        }
        IpAddr::V6(address) => (address.segments()[1], u16::MAX - address.segments()[7]),
    };
    let mut same = 0;
    let mut seen = BTreeSet::new();
    for _ in 0..2_000 {
        let [a, aaaa] = [Rtype::A, Rtype::AAAA].map(|qtype| {
            let query = Query { edns: Some(Edns::of(1232)), ..Query::new(DB, qtype) };
            distinct(&ask(&responder, Some(&plan), &query, Transport::Udp)).iter().map(endpoint).collect()
        });
        let (a, aaaa): (BTreeSet<_>, BTreeSet<_>) = (a, aaaa);
        same += u32::from(aaaa.is_subset(&a));
        seen.extend(a);
    }
    assert!(same > 1_950, "{same} of 2000");
    assert_eq!(seen.len(), 300, "every endpoint is in some sample");
}

#[test]
fn ten_thousand_endpoints_are_answered() {
    let plan = plan_of([("db.data", stateful(&["a", "b", "c", "d"], 2_500))]);
    for (qtype, over_udp, over_tcp) in [(Rtype::A, 64, 4_078), (Rtype::AAAA, 32, 2_330)] {
        let query = Query { edns: Some(Edns::of(1232)), ..Query::new(DB, qtype) };
        for (transport, expected) in [(Transport::Udp, over_udp), (Transport::Tcp, over_tcp)] {
            let reply = ask(&responder(), Some(&plan), &query, transport);
            assert_eq!((reply.rcode.as_str(), reply.truncated), ("NOERROR", false));
            assert_eq!((distinct(&reply).len(), reply.answers.len()), (expected, expected));
        }
        let small = ask(&responder(), Some(&plan), &Query::new(DB, qtype), Transport::Udp);
        assert!(small.truncated && small.length <= 512);
    }
}

#[test]
fn hostname_with_too_many_addresses_for_an_answer_gives_those_that_fit() {
    let one_name: Vec<String> = (0..5_000).map(|i| format!("db/10.0.{}.{}", i / 250, i % 250)).collect();
    let one_name: Vec<&str> = one_name.iter().map(String::as_str).collect();
    let plan = plan_of([("db.data", service(ServiceKind::Headless, &[("a", &one_name)]))]);
    let query = Query::new("db.a.db.data.svc.clusterset.local", Rtype::A);
    for (transport, truncated, answers) in [(Transport::Udp, true, 28), (Transport::Tcp, false, 4_092)] {
        let reply = ask(&responder(), Some(&plan), &query, transport);
        assert_eq!((reply.truncated, reply.answers.len(), distinct(&reply).len()), (truncated, answers, answers));
    }
}

#[test]
fn an_address_that_two_clusters_share_is_listed_once() {
    let shared: &[(&str, &[&str])] =
        &[("a", &["10.0.0.1", "10.0.0.2"]), ("b", &["10.0.0.2", "x/10.0.0.2", "10.0.0.3"])];
    let plan = plan_of([("db.data", service(ServiceKind::Headless, shared))]);
    let reply = ask(&responder(), Some(&plan), &Query::new(DB, Rtype::A), Transport::Udp);
    assert_eq!((distinct(&reply).len(), reply.answers.len()), (3, 3));
}

#[test]
fn the_longest_name_is_answered_within_512_octets() {
    let long = format!("{}.{WEB}", vec!["x".repeat(55); 4].join("."));
    let query = Query { edns: Some(Edns::of(512)), ..Query::new(&long, Rtype::A) };
    assert_eq!(query.name.len(), 255);
    let reply = ask(&responder(), Some(&fleet()), &query, Transport::Udp);
    assert_eq!((reply.rcode.as_str(), reply.truncated, reply.authority.len()), ("NXDOMAIN", false, 1));
}

prop_compose! {
    /// A query with some octets changed, cut off or added.
    fn mutated()(
        name in prop::sample::select(
            vec!["", "clusterset.local", WEB, DB, "db-0.east.db.data.svc.clusterset.local", "x.y"]
        ),
        qtype in prop_oneof![prop::sample::select(vec![1, 28, 33, 6, 2, 255, 252]), any::<u16>()],
        edns in prop::option::of((any::<u16>(), 0..3_u8, any::<bool>())),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::weighted(0.3, any::<prop::sample::Index>()),
        added in prop::collection::vec(any::<u8>(), 0..20),
    ) -> Vec<u8> {
        let edns = edns.map(|(size, version, dnssec_ok)| Edns { size, version, dnssec_ok, options: &[] });
        let mut octets = Query { edns, ..Query::new(name, Rtype::from_int(qtype)) }.octets();
        octets.extend(added);
        for (at, octet) in changes {
            *at.get_mut(&mut octets) = octet;
        }
        octets.truncate(cut.map_or(usize::MAX, |at| at.index(octets.len())));
        octets
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_packet_gets_a_valid_reply_or_none(packet in mutated(), synced: bool) {
        let plan = fleet();
        let plan = synced.then_some(&plan);
        for (transport, limit) in [(Transport::Udp, 1232), (Transport::Tcp, 65_535)] {
            let reply = reply_to(&responder(), plan, &packet, transport);
            let unanswerable = packet.len() < 12 || packet[2] & 0x80 != 0;
            prop_assert_eq!(reply.is_none(), unanswerable);
            let Some(reply) = reply else { continue };
            prop_assert!(reply.length <= limit && !reply.other_flags);
            prop_assert_eq!(reply.id.to_be_bytes(), [packet[0], packet[1]]);
            prop_assert!(packet[12..].starts_with(&reply.question));
            prop_assert!(reply.rcode == "FORMERR" || reply.rcode == "NOTIMP" || !reply.question.is_empty());
        }
    }
}
