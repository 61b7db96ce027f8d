//! Tests that answers are counted per service and cluster, and that no change of the plan loses a count.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::export::Family;
use landfall_core::export::{Endpoint, Export};
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::plan::Plan;
use landfall_core::policy::{LocalPreference, Policy};
use landfall_core::snapshot::{NetworkView, RuleSource, Service, ServiceKind};

const PER_CLUSTER: ServiceKind = ServiceKind::ClusterSetIp { ips: Vec::new() };

fn id(cluster: &str) -> ClusterId {
    ClusterId::new(cluster).unwrap()
}

fn web() -> ServiceKey {
    ServiceKey::new("shop", "web").unwrap()
}

/// Returns a service with one endpoint per cluster, given by its last octet.
fn service(kind: ServiceKind, exports: &[(&str, u8)]) -> Arc<Service> {
    let export = |last: u8| Export { ready: vec![Endpoint::new([10, 0, 0, last].into(), None)].into() };
    let exports = exports.iter().map(|&(cluster, last)| (id(cluster), export(last))).collect();
    let policy = Policy { local_preference: Some(LocalPreference::Balance), ..Policy::default() };
    Arc::new(Service { kind, exports, rule_source: RuleSource::Policy(Arc::new(policy)) })
}

fn next(plan: &Plan, service: Option<Arc<Service>>) -> Plan {
    let view = NetworkView { local: id("east"), links_complete: false, links: BTreeMap::new() };
    plan.updated(&view, [(web(), service)], 1).unwrap()
}

fn answer(plan: &Plan, times: usize) {
    let planned = plan.get("web.shop").unwrap();
    for _ in 0..times {
        planned.answer_with_one(Family::Ipv4, planned.next_point()).unwrap();
    }
}

fn counts(plan: &Plan) -> Vec<(String, u64)> {
    let counts = plan.get("web.shop").unwrap().answered();
    counts.map(|(cluster, count)| (cluster.map(ToString::to_string).unwrap_or_default(), count)).collect()
}

fn expected(counts: &[(&str, u64)]) -> Vec<(String, u64)> {
    counts.iter().map(|&(cluster, count)| (cluster.to_owned(), count)).collect()
}

#[test]
fn counts_survive_changes_of_the_plan_and_a_cluster_that_is_gone_and_comes_back() {
    let both = || Some(service(PER_CLUSTER, &[("a", 1), ("b", 2)]));
    let first = next(&Plan::default(), both());
    answer(&first, 10);
    assert_eq!(counts(&first), expected(&[("", 0), ("a", 5), ("b", 5)]));

    let without_a = next(&first, Some(service(PER_CLUSTER, &[("b", 2)])));
    answer(&without_a, 10);
    assert_eq!(counts(&without_a), expected(&[("", 0), ("a", 5), ("b", 15)]));

    let with_c = next(&without_a, Some(service(PER_CLUSTER, &[("a", 1), ("c", 3)])));
    answer(&with_c, 10);
    let after = counts(&with_c);
    assert_eq!(after.iter().map(|(_, count)| count).sum::<u64>(), 30);
    assert!(after[1].1 >= 9 && after[2].1 == 15 && after[3].1 >= 4, "{after:?}");
}

#[test]
fn answer_from_the_previous_plan_is_counted_too() {
    let before = next(&Plan::default(), Some(service(PER_CLUSTER, &[("a", 1)])));
    let after = next(&before, Some(service(PER_CLUSTER, &[("b", 2)])));
    answer(&before, 3);
    assert_eq!(counts(&after), expected(&[("", 0), ("a", 3), ("b", 0)]));
}

#[test]
fn service_that_was_gone_starts_at_0() {
    let plan = next(&Plan::default(), Some(service(PER_CLUSTER, &[("a", 1)])));
    answer(&plan, 4);
    let gone = next(&plan, None);
    let back = next(&gone, Some(service(PER_CLUSTER, &[("a", 1)])));
    assert_eq!(counts(&back), expected(&[("", 0), ("a", 0)]));
}

#[test]
fn list_counts_for_the_cluster_of_its_first_address() {
    let plan = next(&Plan::default(), Some(service(ServiceKind::Headless, &[("a", 1), ("b", 2), ("c", 3)])));
    let planned = plan.get("web.shop").unwrap();
    let mut firsts = [0; 3];
    for limit in [1, 2, 3, 3, 9] {
        let list = planned.answer_in_weighted_order(Family::Ipv4, planned.next_point(), limit);
        let first = list[0].to_string().rsplit('.').next().unwrap().parse::<usize>().unwrap();
        firsts[first - 1] += 1;
    }
    assert!(planned.answer_in_weighted_order(Family::Ipv6, 0, 9).is_empty());
    assert!(planned.answer_in_weighted_order(Family::Ipv4, 0, 0).is_empty());
    assert_eq!(counts(&plan), expected(&[("", 0), ("a", firsts[0]), ("b", firsts[1]), ("c", firsts[2])]));
}

#[test]
fn draw_does_not_count_as_an_answer() {
    let plan = next(&Plan::default(), Some(service(PER_CLUSTER, &[("a", 1)])));
    let planned = plan.get("web.shop").unwrap();
    assert!(planned.draw(Family::Ipv4, 0).is_some());
    assert_eq!(planned.in_weighted_order(Family::Ipv4, 0, 9).len(), 1);
    assert_eq!(counts(&plan), expected(&[("", 0), ("a", 0)]));
}
