//! Faults of other DNS servers for Kubernetes, which this server must not repeat.
//!
//! The prefix names the server: L is Lighthouse, K is CoreDNS's kubernetes plugin, M is its multicluster plugin. The
//! numbers are those of section 2.4 of the collected DNS specification.

use std::collections::BTreeMap;
use std::net::IpAddr;

use domain::base::iana::Rtype;
use landfall_core::plan::Plan;
use landfall_core::snapshot::ServiceKind;
use landfall_dns::Transport;

use crate::support::{
    Edns, Query, ask, fleet, key, per_cluster, plan_of, reply, responder, service, view, vip, weighted,
};

fn addresses(plan: &Plan, name: &str, qtype: Rtype) -> Vec<IpAddr> {
    reply(plan, &format!("{name}.svc.clusterset.local"), qtype).addresses()
}

fn ips(ips: &[&str]) -> Vec<IpAddr> {
    ips.iter().map(|ip| ip.parse().unwrap()).collect()
}

fn changed(plan: &Plan, name: &str, service: std::sync::Arc<landfall_core::snapshot::Service>) -> Plan {
    plan.updated(&view(), [(key(name), Some(service))], 1_900_000_000).unwrap()
}

#[test]
fn l2_l3_events_between_answers_do_not_make_one_cluster_dominate() {
    let with = |endpoint: &str| {
        weighted(
            per_cluster(),
            &[("a", &["10.0.0.1"]), ("b", &["10.0.0.2"]), ("c", &["10.0.0.3", endpoint])],
            &[("a", 1.0), ("b", 1.0), ("c", 1.0)],
        )
    };
    let mut plan = plan_of([("web.shop", with("10.0.1.3"))]);
    let mut first = BTreeMap::<IpAddr, u32>::new();
    for i in 0..3_000 {
        plan = changed(&plan, "web.shop", with(["10.0.2.3", "10.0.1.3"][i % 2]));
        *first.entry(addresses(&plan, "web.shop", Rtype::A)[0]).or_default() += 1;
    }
    for address in ips(&["10.0.0.1", "10.0.0.2"]) {
        assert!((990..=1010).contains(&first[&address]), "{first:?}");
    }
}

#[test]
fn l4_query_for_a_family_gets_only_addresses_of_that_family() {
    let plan = plan_of([
        ("db.data", service(ServiceKind::Headless, &[("a", &["fd00::1"]), ("b", &["10.0.0.1"])])),
        ("v6.data", service(ServiceKind::Headless, &[("a", &["fd00::1"])])),
        ("v6.shop", service(per_cluster(), &[("a", &["fd00::2"])])),
    ]);
    assert_eq!(addresses(&plan, "db.data", Rtype::A), ips(&["10.0.0.1"]));
    assert_eq!(addresses(&plan, "db.data", Rtype::AAAA), ips(&["fd00::1"]));
    assert_eq!(addresses(&plan, "v6.shop", Rtype::AAAA), ips(&["fd00::2"]));
    for name in ["v6.data", "v6.shop"] {
        let reply = reply(&plan, &format!("{name}.svc.clusterset.local"), Rtype::A);
        assert_eq!((reply.rcode.as_str(), reply.answers.len(), reply.authority.len()), ("NOERROR", 0, 1));
    }
}

#[test]
fn l5_answers_follow_an_import_that_changes_its_addresses_or_its_type() {
    let exports: &[(&str, &[&str])] = &[("a", &["10.0.0.1"])];
    let plan = plan_of([("web.shop", service(per_cluster(), exports))]);
    assert_eq!(addresses(&plan, "web.shop", Rtype::A), ips(&["10.0.0.1"]));
    for ip in ["243.0.0.1", "243.0.0.2"] {
        let plan = changed(&plan, "web.shop", service(vip(&[ip]), exports));
        assert_eq!(addresses(&plan, "web.shop", Rtype::A), ips(&[ip]));
    }
    let plan = changed(&plan, "web.shop", service(ServiceKind::Headless, exports));
    assert_eq!(addresses(&plan, "10-0-0-1.a.web.shop", Rtype::A), ips(&["10.0.0.1"]));
}

#[test]
fn l8_all_addresses_of_a_repeated_hostname_are_answered() {
    let mut twins = addresses(&fleet(), "twin.west.db.data", Rtype::A);
    twins.sort();
    assert_eq!(twins, ips(&["10.2.0.2", "10.2.0.3"]));
}

#[test]
fn l11_negative_answers_can_be_cached_and_other_types_are_implemented() {
    for (name, qtype) in
        [("web.shop", Rtype::MX), ("web.shop", Rtype::AAAA), ("none.shop", Rtype::A), ("shop", Rtype::A)]
    {
        let reply = reply(&fleet(), &format!("{name}.svc.clusterset.local"), qtype);
        assert_ne!(reply.rcode, "NOTIMP");
        assert!(reply.authority[0].contains(" SOA ") && reply.authoritative, "{name} {qtype}");
    }
}

#[test]
fn row_9_unknown_prefix_of_any_length_gets_nxdomain_for_a_and_aaaa() {
    for prefix in ["x", "x.y", "a.b.c.d.e", "db-0.east.x", "x.db-0.east", "east.x"] {
        for qtype in [Rtype::A, Rtype::AAAA] {
            assert_eq!(reply(&fleet(), &format!("{prefix}.db.data.svc.clusterset.local"), qtype).rcode, "NXDOMAIN");
        }
    }
}

#[test]
fn row_11_name_of_a_cluster_does_not_bypass_the_weights() {
    for name in ["west.web.shop", "east.web.shop", "east.db.data", "south.db.data"] {
        assert_eq!(addresses(&fleet(), name, Rtype::A), ips(&[]));
    }
}

#[test]
fn k1_name_of_a_port_does_not_have_the_address_of_the_service() {
    for qtype in [Rtype::A, Rtype::AAAA, Rtype::ANY] {
        let reply = reply(&fleet(), "_http._tcp.web.shop.svc.clusterset.local", qtype);
        assert_eq!((reply.rcode.as_str(), reply.answers.len()), ("NXDOMAIN", 0));
    }
}

#[test]
fn k2_m4_soa_and_txt_queries_follow_the_existence_of_the_name() {
    let rcode = |name: &str, qtype| reply(&fleet(), &format!("{name}clusterset.local"), qtype).rcode;
    for qtype in [Rtype::SOA, Rtype::TXT] {
        assert_eq!(rcode("none.shop.svc.", qtype), "NXDOMAIN");
        for existing in ["", "svc.", "shop.svc.", "web.shop.svc.", "dns.", "ns.dns.", "dns-version."] {
            assert_eq!(rcode(existing, qtype), "NOERROR", "{existing} {qtype}");
        }
    }
}

#[test]
fn k3_m3_the_name_server_is_found_in_any_case_and_has_an_address() {
    for zone in ["clusterset.local", "ClusterSet.Local", "CLUSTERSET.LOCAL"] {
        let answers = reply(&fleet(), zone, Rtype::NS).answers;
        assert_eq!(answers, [format!("{zone} 5 NS ns.dns.{zone}.")]);
        let addresses = reply(&fleet(), &format!("Ns.dnS.{zone}"), Rtype::A).addresses();
        assert_eq!(addresses, ips(&["10.96.0.53"]));
    }
}

#[test]
fn k6_serial_changes_when_a_service_is_added_and_when_it_is_removed() {
    let serial = |plan: &Plan| {
        let answers = reply(plan, "clusterset.local", Rtype::SOA).answers;
        answers[0].split(' ').nth(5).unwrap().parse::<u32>().unwrap()
    };
    let plan = fleet();
    let added = plan.updated(&view(), [(key("new.shop"), Some(service(per_cluster(), &[])))], 1_900_000_000).unwrap();
    let removed = added.updated(&view(), [(key("new.shop"), None)], 1_900_000_001).unwrap();
    assert_eq!([&plan, &added, &removed].map(serial), [1_800_000_000, 1_900_000_000, 1_900_000_001]);
}

#[test]
fn k7_m7_no_name_exists_below_pod() {
    for name in ["pod", "shop.pod", "web.shop.pod", "10-0-0-1.shop.pod"] {
        assert_eq!(reply(&fleet(), &format!("{name}.clusterset.local"), Rtype::A).rcode, "NXDOMAIN");
    }
}

#[test]
fn k8_the_zone_is_not_transferred() {
    for transport in Transport::ALL {
        for qtype in [Rtype::AXFR, Rtype::IXFR] {
            let reply = ask(&responder(), Some(&fleet()), &Query::new("clusterset.local", qtype), transport);
            assert_eq!((reply.rcode.as_str(), reply.answers.len()), ("REFUSED", 0));
        }
    }
}

#[test]
fn k9_m6_a_cluster_id_of_two_labels_is_understood() {
    let plan = plan_of([(
        "db.data",
        service(
            ServiceKind::Headless,
            &[("east.eu", &["db-0/10.0.0.1"]), ("eu", &["east/10.0.0.2"]), ("b", &["east/10.0.0.3"])],
        ),
    )]);
    assert_eq!(addresses(&plan, "db-0.east.eu.db.data", Rtype::A), ips(&["10.0.0.1"]));
    assert_eq!(addresses(&plan, "east.eu.db.data", Rtype::A), ips(&["10.0.0.2"]), "an endpoint of eu, above east.eu");
    assert_eq!(reply(&plan, "x.eu.db.data.svc.clusterset.local", Rtype::A).rcode, "NXDOMAIN");
}

#[test]
fn m2_server_that_is_not_synced_answers_neither_nxdomain_nor_nodata() {
    let reply = ask(&responder(), None, &Query::new("db.data.svc.clusterset.local", Rtype::A), Transport::Udp);
    assert_eq!((reply.rcode.as_str(), reply.authority.len()), ("SERVFAIL", 0));
}

#[test]
fn loadbalance_weights_apply_to_a_name_in_any_case() {
    let clusters: &[(&str, &[&str])] = &[("a", &["10.0.0.1"]), ("b", &["10.0.0.2"])];
    let plan = plan_of([("web.shop", weighted(per_cluster(), clusters, &[("a", 1.0), ("b", 3.0)]))]);
    let responder = responder();
    for name in ["web.shop.svc.clusterset.local", "wEB.sHOP.sVC.cLUSTERSET.lOCAL"] {
        let drawn = (0..1_000).map(|_| ask(&responder, Some(&plan), &Query::new(name, Rtype::A), Transport::Udp));
        let a = drawn.filter(|reply| reply.answers[0] == format!("{name} 5 A 10.0.0.1")).count();
        assert!((747..=753).contains(&a), "{name}: {a}");
    }
}

#[test]
fn coredns_udp_size_in_the_reply_is_that_of_the_server() {
    for size in [0, 512, 1232, 4096, u16::MAX] {
        let query = Query { edns: Some(Edns::of(size)), ..Query::new("web.shop.svc.clusterset.local", Rtype::A) };
        let reply = ask(&responder(), Some(&fleet()), &query, Transport::Udp);
        assert_eq!(reply.edns, Some((1232, 0, false, 0)));
    }
}
