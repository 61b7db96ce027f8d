//! Shares of the answers, compared with the published weights.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;

use domain::base::iana::Rtype;
use landfall_core::name::ClusterId;
use landfall_core::plan::{Plan, ServicePlan};
use landfall_core::snapshot::{Link, NetworkView, Service, ServiceKind, Snapshot};
use landfall_dns::answer::{Answer, AnswerLimit, answer};
use landfall_dns::question::Question;
use landfall_dns::{Responder, Transport};
use proptest::prelude::*;
use tokio::sync::watch;

use crate::support::{Edns, Query, ask, export, id, key, per_cluster, plan_of, responder, stateful, view, weighted};

const WEB: &str = "web.shop.svc.clusterset.local";
const ANSWERS: u32 = 100_000;

/// Three clusters with one address each.
const EXPORTS: [(&str, &[&str]); 3] = [("a", &["10.0.0.1"]), ("b", &["10.0.0.2"]), ("c", &["10.0.0.3"])];

fn by_last_octet([.., last]: [u8; 4]) -> &'static str {
    EXPORTS[usize::from(last) - 1].0
}

type Counts = BTreeMap<ClusterId, u32>;

/// Asks `times` times and counts the cluster of the first address in each reply. `cluster` maps the octets of an
/// address to its cluster.
fn count(
    times: u32,
    query: &Query,
    responder: &Responder,
    plan: &Plan,
    cluster: fn([u8; 4]) -> &'static str,
) -> Counts {
    // The first address follows the header, the question and the start of the first record.
    let (octets, first) = (query.octets(), 12 + query.question().len() + 12);
    let mut reply = Vec::new();
    let mut counts = Counts::new();
    for _ in 0..times {
        responder.reply(Some(plan), &octets, Transport::Udp, &mut reply);
        *counts.entry(id(cluster(reply[first..][..4].try_into().unwrap()))).or_default() += 1;
    }
    counts
}

/// Returns Pearson's chi-squared statistic of the counts against the published weights. With random draws it would be
/// about the number of clusters; the sequence stays far below.
fn chi_squared(counts: &Counts, service: &ServicePlan) -> f64 {
    let answers = f64::from(counts.values().sum::<u32>());
    let term = |share: &landfall_core::resolve::Share| {
        let counted = f64::from(counts.get(&share.cluster).copied().unwrap_or(0));
        let expected = f64::from(share.weight) / 1000.0 * answers;
        assert!(expected > 0.0 || counted == 0.0, "{} has no weight and {counted} answers", share.cluster);
        if expected > 0.0 { (counted - expected).powi(2) / expected } else { 0.0 }
    };
    service.shares.iter().map(term).sum()
}

#[test]
fn answers_of_each_mode_have_the_published_weights() {
    let weights: [&[(&str, f64)]; 5] = [
        &[("a", 1.0), ("b", 1.0), ("c", 1.0)],
        &[("a", 10.0), ("b", 5.0), ("c", 3.0)],
        &[("a", 0.0), ("b", 5.0), ("c", 3.0)],
        &[("a", 1000.0), ("b", 1.0)],
        &[],
    ];
    for weights in weights {
        let plan = plan_of([("web.shop", weighted(per_cluster(), &EXPORTS, weights))]);
        let counts = count(ANSWERS, &Query::new(WEB, Rtype::A), &responder(), &plan, by_last_octet);
        let chi_squared = chi_squared(&counts, plan.get("web.shop").unwrap());
        assert!(chi_squared < 0.1, "{weights:?}: {chi_squared} {counts:?}");
    }
}

#[test]
fn several_replicas_together_have_the_published_weights() {
    let zones = || vec![landfall_dns::Zone::default()];
    let ttl = std::time::Duration::from_secs(5);
    // Each replica has its own plan and offset, and gets a different percentage of the queries.
    let replicas: Vec<(Plan, Responder, u32)> = [(0x1234_5678_9ABC_DEF0, 50), (0xFEDC_BA98_7654_3210, 30), (7, 20)]
        .into_iter()
        .map(|(offset, part)| {
            let service = weighted(per_cluster(), &EXPORTS, &[("a", 10.0), ("b", 5.0), ("c", 3.0)]);
            (plan_of([("web.shop", service)]), Responder::new(zones(), ttl, Vec::new(), offset), part)
        })
        .collect();
    let mut counts = Counts::new();
    for i in 0..ANSWERS {
        let (first, second) = (replicas[0].2, replicas[0].2 + replicas[1].2);
        let at = usize::from(i % 100 >= first) + usize::from(i % 100 >= second);
        let (plan, responder, _) = &replicas[at];
        for (cluster, count) in count(1, &Query::new(WEB, Rtype::A), responder, plan, by_last_octet) {
            *counts.entry(cluster).or_default() += count;
        }
    }
    let chi_squared = chi_squared(&counts, replicas[0].0.get("web.shop").unwrap());
    assert!(chi_squared < 0.2, "{chi_squared} {counts:?}");
}

#[test]
fn answers_follow_changed_weights_from_the_next_answer_on() {
    let before = weighted(per_cluster(), &EXPORTS, &[("a", 1.0), ("b", 9.0)]);
    let after = weighted(per_cluster(), &EXPORTS, &[("a", 9.0), ("b", 1.0), ("c", 1.0)]);
    let mut plan = plan_of([("web.shop", before)]);
    for change in [None, Some(after)] {
        if let Some(service) = change {
            plan = plan.updated(&view(), [(key("web.shop"), Some(service))], 2).unwrap();
        }
        let counts = count(ANSWERS / 2, &Query::new(WEB, Rtype::A), &responder(), &plan, by_last_octet);
        let chi_squared = chi_squared(&counts, plan.get("web.shop").unwrap());
        assert!(chi_squared < 0.1, "{chi_squared} {counts:?}");
    }
}

#[test]
fn first_endpoint_of_a_headless_service_follows_the_weights_even_in_a_sample() {
    let headless = weighted(ServiceKind::Headless, &EXPORTS, &[("a", 10.0), ("b", 5.0), ("c", 300.0)]);
    let plan = plan_of([("db.data", headless)]);
    let name = "db.data.svc.clusterset.local";
    let counts = count(ANSWERS, &Query::new(name, Rtype::A), &responder(), &plan, by_last_octet);
    let all = chi_squared(&counts, plan.get("db.data").unwrap());
    assert!(all < 0.1, "{all} {counts:?}");

    let service = Service {
        rule_source: plan.get("db.data").unwrap().service.rule_source.clone(),
        ..Arc::unwrap_or_clone(stateful(&["a", "b", "c"], 200))
    };
    let plan = plan_of([("db.data", Arc::new(service))]);
    let query = Query { edns: Some(Edns::of(1232)), ..Query::new(name, Rtype::A) };
    let counts = count(20_000, &query, &responder(), &plan, |[_, second, ..]| ["a", "b", "c"][usize::from(second)]);
    let part = chi_squared(&counts, plan.get("db.data").unwrap());
    assert!(part < 0.5, "{part} {counts:?}");
}

#[test]
fn the_endpoints_of_one_cluster_share_its_answers_equally() {
    let plan = plan_of([
        ("db.data", stateful(&["a"], 100)),
        ("web.shop", {
            let all = stateful(&["a"], 100);
            Arc::new(Service { kind: per_cluster(), ..Service::clone(&all) })
        }),
    ]);
    let mut counts: BTreeMap<IpAddr, u32> = BTreeMap::new();
    for _ in 0..10_000 {
        let reply = ask(&responder(), Some(&plan), &Query::new(WEB, Rtype::A), Transport::Udp);
        *counts.entry(reply.addresses()[0]).or_default() += 1;
    }
    assert_eq!(counts.len(), 100);
    assert!(counts.values().all(|count| (90..=110).contains(count)), "{counts:?}");
}

/// Regression test for a data race of Lighthouse (L1), which writes to its state under a read lock.
#[test]
fn a_million_answers_to_many_threads_are_never_empty_while_one_of_five_is_ready() {
    let clusters = ["a", "b", "c", "d", "e"];
    let only = |ready: usize| {
        let exports = clusters.iter().enumerate().map(|(i, cluster)| {
            (id(cluster), if i == ready { export(&["10.0.0.1", "10.0.0.2"]) } else { export(&[]) })
        });
        let rule_source = weighted(per_cluster(), &[], &clusters.map(|cluster| (cluster, 1.0))).rule_source.clone();
        Arc::new(Service { kind: per_cluster(), exports: exports.collect(), rule_source })
    };
    let (publish, plans) = watch::channel(plan_of([("web.shop", only(0))]));
    let asking = |plans: watch::Receiver<Plan>| {
        move || {
            for _ in 0..125_000 {
                let plan = plans.borrow().clone();
                let question = Question::Service("web.shop");
                let answer =
                    answer(Some(&plan), question, Rtype::A, AnswerLimit { ipv4: 1, ipv6: 1 }, ServicePlan::next_point);
                assert!(matches!(answer, Answer::Drawn(_)), "{answer:?}");
            }
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(asking(plans.clone()))).collect();
        let mut ready = 0;
        while threads.iter().any(|thread| !thread.is_finished()) {
            ready = (ready + 1) % clusters.len();
            publish.send_if_modified(|plan| {
                let next = plan.updated(&view(), [(key("web.shop"), Some(only(ready)))], 1);
                next.map(|next| *plan = next).is_some()
            });
        }
    });
}

prop_compose! {
    /// The network, and a service with a number of ready endpoints in each cluster.
    fn fleets()(
        headless: bool,
        ready in prop::collection::vec((0..4_u8, 0..3_u8, any::<bool>(), 0.0..10.0), 1..6),
    ) -> (NetworkView, Arc<Service>) {
        let names = ["a", "b", "c", "d", "e"];
        let clusters = || names.iter().zip(&ready);
        let links = clusters().map(|(name, &(.., reachable, _))| (id(name), Link { reachable, rtt: None }));
        let view = NetworkView { local: id("east"), links_complete: true, links: links.collect() };
        let exports = clusters().enumerate().map(|(i, (name, (ipv4, ipv6, ..)))| {
            let ipv4 = (0..*ipv4).map(|n| format!("10.{i}.0.{n}"));
            let ipv6 = (0..*ipv6).map(|n| format!("fd00:{i}::{n}"));
            let all: Vec<String> = ipv4.chain(ipv6).collect();
            (id(name), export(&all.iter().map(String::as_str).collect::<Vec<_>>()))
        });
        let exports = exports.collect();
        // No weight is 0: a row with two zero weights is invalid.
        let weights: Vec<_> = clusters().map(|(name, &(.., weight))| (*name, weight + 0.001)).collect();
        let kind = if headless { ServiceKind::Headless } else { per_cluster() };
        let rule_source = weighted(kind.clone(), &[], &weights).rule_source.clone();
        (view, Arc::new(Service { kind, exports, rule_source }))
    }
}

proptest! {
    #[test]
    fn answers_name_only_eligible_clusters_and_are_empty_only_if_there_is_none((view, service) in fleets()) {
        let services = [(key("web.shop"), service)].into();
        let plan = landfall_core::plan::plan(&Snapshot { view, services }, &Plan::default(), 1);
        let planned = plan.get("web.shop").unwrap();
        for qtype in [Rtype::A, Rtype::AAAA] {
            let eligible: Vec<IpAddr> = planned
                .shares
                .iter()
                .filter(|share| share.eligible)
                .flat_map(|share| planned.service.exports[&share.cluster].ready.iter())
                .map(|endpoint| endpoint.address)
                .filter(|address| address.is_ipv4() == (qtype == Rtype::A))
                .collect();
            for _ in 0..50 {
                let reply = ask(&responder(), Some(&plan), &Query::new(WEB, qtype), Transport::Udp);
                let addresses = reply.addresses();
                prop_assert!(addresses.iter().all(|address| eligible.contains(address)), "{:?}", addresses);
                let headless = planned.service.kind == ServiceKind::Headless;
                let complete = if headless { eligible.len() } else { eligible.len().min(1) };
                // If a cluster has no address of the family, the others take its share.
                prop_assert_eq!(addresses.len(), complete);
            }
        }
    }
}
