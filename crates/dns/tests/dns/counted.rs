//! Counts of answers per service and cluster.

use std::sync::Arc;

use domain::base::iana::Rtype;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::plan::{Plan, ServicePlan};
use landfall_dns::Transport;

use crate::support::{
    Query, ask, fleet, key, per_cluster, plan_of, reply, reply_to, responder, service, view, weighted,
};

/// Returns all counts as `service cluster count`, with `-` for answers that name no cluster.
fn counted(plan: &Plan) -> Vec<String> {
    let of_one = |(key, planned): (&ServiceKey, &Arc<ServicePlan>)| -> Vec<String> {
        let counts = planned.answered().filter(|(_, count)| *count > 0);
        counts.map(|(cluster, count)| format!("{key} {} {count}", cluster.map_or("-", ClusterId::as_str))).collect()
    };
    plan.services().flat_map(of_one).collect()
}

fn svc(name: &str) -> String {
    format!("{name}.svc.clusterset.local")
}

#[test]
fn address_counts_for_its_cluster_and_clusterset_ips_for_no_cluster() {
    let plan = fleet();
    for (name, qtype) in [
        ("web.shop", Rtype::A),
        ("web.shop", Rtype::A),
        ("dual.shop", Rtype::A),
        ("dual.shop", Rtype::AAAA),
        ("vip.shop", Rtype::A),
        ("vip.shop", Rtype::AAAA),
        ("idle-vip.shop", Rtype::A),
        // No cluster is reachable; an address is given all the same.
        ("far.shop", Rtype::A),
    ] {
        assert!(!reply(&plan, &svc(name), qtype).answers.is_empty(), "{name}");
    }
    let expected = ["shop/dual east 2", "shop/far south 1", "shop/idle-vip - 1", "shop/vip - 2", "shop/web east 2"];
    assert_eq!(counted(&plan), expected);
}

#[test]
fn list_of_endpoints_counts_once_for_the_cluster_of_its_first_endpoint() {
    let plan = fleet();
    let query = Query::new(&svc("v4.data"), Rtype::A);
    for transport in Transport::ALL {
        ask(&responder(), Some(&plan), &query, transport);
    }
    assert_eq!(counted(&plan), ["data/v4 west 2"]);
    let by_cluster = |plan: &Plan| plan.get("db.data").unwrap().answered().map(|(_, count)| count).sum::<u64>();
    reply(&plan, &svc("db.data"), Rtype::A);
    assert_eq!(by_cluster(&plan), 1);
}

#[test]
fn counts_match_the_addresses_that_clients_got() {
    let exports: [(&str, &[&str]); 2] = [("a", &["10.0.0.1"]), ("b", &["10.0.0.2"])];
    let plan = plan_of([("web.shop", weighted(per_cluster(), &exports, &[("a", 1.0), ("b", 3.0)]))]);
    let mut got = [0; 2];
    for _ in 0..400 {
        let first = reply(&plan, &svc("web.shop"), Rtype::A).addresses()[0];
        got[usize::from(first.to_string() == "10.0.0.2")] += 1;
    }
    assert_eq!(counted(&plan), [format!("shop/web a {}", got[0]), format!("shop/web b {}", got[1])]);
}

#[test]
fn reply_without_an_address_of_a_service_is_not_counted() {
    let plan = fleet();
    let uncounted = [
        ("web.shop", Rtype::AAAA),
        ("web.shop", Rtype::TXT),
        ("web.shop", Rtype::ANY),
        ("web.shop", Rtype::AXFR),
        ("vip4.shop", Rtype::AAAA),
        ("vip.shop", Rtype::ANY),
        ("idle.shop", Rtype::A),
        ("empty.data", Rtype::A),
        ("v4.data", Rtype::AAAA),
        ("db.data", Rtype::SRV),
        ("db-0.east.db.data", Rtype::A),
        ("10-5-0-1.west.v4.data", Rtype::A),
        ("none.shop", Rtype::A),
        ("shop", Rtype::A),
    ];
    for (name, qtype) in uncounted {
        reply(&plan, &svc(name), qtype);
    }
    for name in ["clusterset.local", "ns.dns.clusterset.local", "web.shop.svc.elsewhere"] {
        reply(&plan, name, Rtype::A);
    }
    // A packet without a question, and one that is itself a reply.
    let mut query = Query::new(&svc("web.shop"), Rtype::A).octets();
    reply_to(&responder(), Some(&plan), &query[..7], Transport::Udp);
    query[2] |= 0x80;
    reply_to(&responder(), Some(&plan), &query, Transport::Udp);
    assert_eq!(counted(&plan), [""; 0]);
}

#[test]
fn counts_continue_when_endpoints_change() {
    let before = plan_of([("web.shop", service(per_cluster(), &[("west", &["10.0.0.1"])]))]);
    reply(&before, &svc("web.shop"), Rtype::A);
    let more = service(per_cluster(), &[("west", &["10.0.0.1", "10.0.0.2"])]);
    let after = before.updated(&view(), [(key("web.shop"), Some(more))], 2).unwrap();
    reply(&after, &svc("web.shop"), Rtype::A);
    assert_eq!(counted(&after), ["shop/web west 2"]);
}
