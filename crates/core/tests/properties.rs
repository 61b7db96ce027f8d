//! What must hold whatever the fleet looks like.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::optimize::objective::Objective;
use landfall_core::pick::{Draw, Sequence};
use landfall_core::plan::{Family, Plan, ServicePlan, plan};
use landfall_core::policy::{LocalPreference, MinShares, Mode, Policy, Row, Weight};
use landfall_core::resolve::{Share, TOTAL_WEIGHT};
use landfall_core::rule::Reason;
use landfall_core::snapshot::{Endpoint, Export, Guidance, Kind, Link, Service, Snapshot, View};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

const CLUSTERS: usize = 8;

fn cluster(i: usize) -> ClusterId {
    ClusterId::new(&format!("c{i}")).unwrap()
}

fn endpoint(cluster: usize, n: u8) -> Endpoint {
    Endpoint::new([10, u8::try_from(cluster).unwrap(), 0, n].into(), None)
}

/// Some weights that users write, and some that they should not.
fn weight() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => 0.01..1000.0,
        1 => Just(f64::MIN_POSITIVE),
        1 => Just(f64::MAX),
        1 => Just(-1.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
    ]
}

prop_compose! {
    fn row()(weights in btree_map(0..CLUSTERS, weight(), 0..=CLUSTERS), zero in proptest::option::weighted(0.3, 0..CLUSTERS)) -> Row {
        let mut weights: BTreeMap<_, _> =
            weights.into_iter().map(|(i, weight)| (cluster(i), Weight::from(weight))).collect();
        if let Some(zero) = zero {
            weights.insert(cluster(zero), Weight::Zero);
        }
        Row::new(None, weights).unwrap()
    }
}

prop_compose! {
    fn min_shares()(shares in btree_map(0..CLUSTERS, 0..=TOTAL_WEIGHT / 4, 0..=4)) -> MinShares {
        MinShares::new(shares.into_iter().map(|(i, share)| (cluster(i), share)).collect()).unwrap()
    }
}

prop_compose! {
    fn policy()(
        mode in prop::sample::select(&Mode::ALL),
        local_preference in prop::sample::select(vec![
            None, Some(LocalPreference::Prefer), Some(LocalPreference::Balance),
        ]),
        row in row(),
        min_shares in prop_oneof![Just(MinShares::default()), min_shares()],
    ) -> Policy {
        Policy { name: None, mode, local_preference, rows: vec![row], min_shares, objective: Objective::default() }
    }
}

prop_compose! {
    /// How many endpoints of each exporter are ready.
    fn exports()(ready in btree_map(0..CLUSTERS, 0_u8..3, 0..=CLUSTERS)) -> BTreeMap<ClusterId, Export> {
        let export = |i, ready| Export { ready: (0..ready).map(|n| endpoint(i, n + 1)).collect() };
        ready.into_iter().map(|(i, ready)| (cluster(i), export(i, ready))).collect()
    }
}

prop_compose! {
    fn view()(links in btree_map(0..CLUSTERS, any::<bool>(), 0..=CLUSTERS)) -> View {
        let link = |reachable| Link { reachable, rtt: None };
        View {
            local: cluster(0),
            measured: !links.is_empty(),
            links: links.into_iter().map(|(i, up)| (cluster(i), link(up))).collect(),
        }
    }
}

prop_compose! {
    fn service()(policy in policy(), exports in exports()) -> Service {
        let guidance = Guidance::Policy(Arc::new(policy));
        Service { kind: Kind::ClusterSetIp { ips: Vec::new() }, exports, guidance }
    }
}

fn planned(service: &Service, view: &View) -> ServicePlan {
    ServicePlan::new(Arc::new(service.clone()), view, None)
}

fn policy_of(service: &Service) -> &Policy {
    match &service.guidance {
        Guidance::Policy(policy) => policy,
        Guidance::Optimized(..) | Guidance::Published(_) => unreachable!("made from a policy"),
    }
}

fn eligible(shares: &[Share]) -> Vec<&Share> {
    shares.iter().filter(|share| share.eligible).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn weights_add_up_to_1000_while_anybody_is_ready_and_to_0_otherwise(service in service(), view in view()) {
        let planned = planned(&service, &view);
        let sum: u32 = planned.shares.iter().map(|share| share.weight).sum();
        let anybody = service.exports.values().any(|export| !export.ready.is_empty());
        prop_assert_eq!(sum, if anybody { TOTAL_WEIGHT } else { 0 });
    }

    #[test]
    fn nobody_who_is_not_eligible_gets_a_share(service in service(), view in view()) {
        let planned = planned(&service, &view);
        for share in &planned.shares {
            let ready = !service.exports[&share.cluster].ready.is_empty();
            prop_assert!(share.eligible || share.weight == 0);
            prop_assert!(ready || !share.eligible);
        }
        // Reachability is soft: it never empties a service.
        let reachable = planned.shares.iter().any(|share| share.eligible && view.reaches(&share.cluster));
        let unreachable = planned.shares.iter().any(|share| share.eligible && !view.reaches(&share.cluster));
        prop_assert!(!(reachable && unreachable));
    }

    #[test]
    fn every_min_share_holds_while_its_cluster_is_eligible(service in service(), view in view()) {
        let policy = policy_of(&service);
        for share in eligible(&planned(&service, &view).shares) {
            prop_assert!(share.weight >= policy.min_shares.get(&share.cluster), "{share:?}");
        }
    }

    #[test]
    fn a_zero_weight_takes_all_that_min_shares_leave(service in service(), view in view()) {
        let policy = policy_of(&service);
        let planned = planned(&service, &view);
        let eligible = eligible(&planned.shares);
        let local = eligible.iter().find(|share| share.reason == Reason::Local);
        let zero = eligible.iter().find(|share| {
            policy.mode == Mode::WeightedRoundRobin
                && policy.rows[0].weight(&share.cluster) == Some(Weight::Zero)
        });
        if let Some(chosen) = local.or(zero) {
            let floors: u32 = eligible
                .iter()
                .filter(|share| share.cluster != chosen.cluster)
                .map(|share| policy.min_shares.get(&share.cluster))
                .sum();
            prop_assert_eq!(chosen.weight, TOTAL_WEIGHT - floors);
        }
    }

    #[test]
    fn two_weights_keep_their_ratio_whoever_else_is_eligible(
        a in 1.0..20.0, b in 1.0..20.0, others in vec(1.0..20.0, 0..4), down in vec(any::<bool>(), 4),
    ) {
        let weights: Vec<f64> = [a, b].into_iter().chain(others).collect();
        let row = weights.iter().enumerate().map(|(i, &weight)| (cluster(i), Weight::from(weight))).collect();
        let policy = Policy {
            mode: Mode::WeightedRoundRobin,
            local_preference: Some(LocalPreference::Balance),
            rows: vec![Row::new(None, row).unwrap()],
            ..Policy::default()
        };
        let ready = |i: usize| i < 2 || !down[i - 2];
        let export = |i| Export { ready: if ready(i) { vec![endpoint(i, 1)] } else { Vec::new() } };
        let service = Service {
            kind: Kind::Headless,
            exports: (0..weights.len()).map(|i| (cluster(i), export(i))).collect(),
            guidance: Guidance::Policy(Arc::new(policy)),
        };
        let shares = planned(&service, &view_of(9)).shares;
        // p_0 / p_1 = w_1 / w_0, but for the rounding of each to one part of 1000.
        let (p_a, p_b) = (f64::from(shares[0].weight), f64::from(shares[1].weight));
        prop_assert!((p_a * a - p_b * b).abs() <= a + b, "{p_a} : {p_b} for {a} : {b}");
    }

    #[test]
    fn what_was_published_resolves_to_the_same_shares(service in service(), now in view(), then in view()) {
        let first = planned(&service, &then);
        let published = Service { guidance: Guidance::Published(Arc::clone(&first.rule)), ..service.clone() };
        let weights = |shares: &[Share]| shares.iter().map(|share| (share.weight, share.eligible)).collect::<Vec<_>>();
        prop_assert_eq!(weights(&planned(&published, &now).shares), weights(&planned(&service, &now).shares));
    }

    #[test]
    fn draws_hit_only_those_with_a_weight(weights in vec(0_u32..100, 1..10), points in vec(any::<u64>(), 20)) {
        if let Some(draw) = Draw::new(weights.iter().copied()) {
            prop_assert!(points.into_iter().all(|point| weights[draw.hit(point).index] > 0));
        }
    }

    #[test]
    fn the_weighted_order_has_every_ready_address_of_an_eligible_cluster_once(
        service in service(), view in view(), point in any::<u64>(), limit in 0_usize..30,
    ) {
        let planned = planned(&service, &view);
        let all: usize = eligible(&planned.shares).iter().map(|share| service.exports[&share.cluster].ready.len()).sum();
        let order = planned.in_weighted_order(Family::Ipv4, point, limit);
        prop_assert_eq!(order.len(), all.min(limit));
        let distinct: std::collections::BTreeSet<_> = order.iter().collect();
        prop_assert_eq!(distinct.len(), order.len());
        if let (Some(first), Some(drawn)) = (order.first(), planned.draw(Family::Ipv4, point)) {
            let weight = |address| planned.shares.iter().find(|share| {
                service.exports[&share.cluster].ready.iter().any(|ready| ready.address == address)
            }).unwrap().weight;
            prop_assert!(weight(*first) > 0 && weight(drawn) > 0);
        }
    }
}

fn key(i: usize) -> ServiceKey {
    ServiceKey::new("shop", &format!("s{i}")).unwrap()
}

proptest! {
    #[test]
    fn planning_step_by_step_arrives_where_planning_everything_does(
        steps in vec((0..4_usize, proptest::option::of(service())), 0..20), view in view(),
    ) {
        let mut services: BTreeMap<ServiceKey, Arc<Service>> = BTreeMap::new();
        let mut stepwise = Plan::default();
        for (i, service) in steps {
            let service = service.map(Arc::new);
            match &service {
                Some(service) => services.insert(key(i), Arc::clone(service)),
                None => services.remove(&key(i)),
            };
            stepwise = stepwise.updated(&view, [(key(i), service)], 1).unwrap_or(stepwise);
        }
        let at_once = plan(&Snapshot { view, services }, &Plan::default(), 1);
        prop_assert_eq!(stepwise.keys(), at_once.keys());
        prop_assert!(stepwise.services().zip(at_once.services()).all(|((_, a), (_, b))| a == b));
        prop_assert_eq!(stepwise.has_namespace("shop"), at_once.has_namespace("shop"));
    }

    #[test]
    fn what_did_not_change_is_shared_and_a_plan_without_a_change_is_no_plan(service in service(), view in view()) {
        let service = Arc::new(service);
        let both = [(key(0), Some(Arc::clone(&service))), (key(1), Some(Arc::clone(&service)))];
        let first = Plan::default().updated(&view, both.clone(), 1).unwrap();
        prop_assert!(first.updated(&view, both, 2).is_none());
        let second = first.updated(&view, [(key(0), None)], 2).unwrap();
        prop_assert!(Arc::ptr_eq(first.get("s1.shop").unwrap(), second.get("s1.shop").unwrap()));
        prop_assert_eq!((second.len(), second.changed()), (1, 2));
    }
}

/// Pearson's χ² of what was drawn against the weights.
fn chi_square(counts: &BTreeMap<ClusterId, u32>, shares: &[Share], draws: u32) -> f64 {
    shares
        .iter()
        .filter(|share| share.weight > 0)
        .map(|share| {
            let expected = f64::from(share.weight) / f64::from(TOTAL_WEIGHT) * f64::from(draws);
            let got = f64::from(counts.get(&share.cluster).copied().unwrap_or(0));
            (got - expected).powi(2) / expected
        })
        .sum()
}

/// What a χ² of 4 degrees of freedom exceeds once in 1000 times, if the draws were random. Ours are more even than that.
const CRITICAL: f64 = 18.47;

fn five_clusters(policy: Policy) -> Service {
    Service {
        kind: Kind::ClusterSetIp { ips: Vec::new() },
        exports: (1..=5).map(|i| (cluster(i), Export { ready: vec![endpoint(i, 1)] })).collect(),
        guidance: Guidance::Policy(Arc::new(policy)),
    }
}

fn skewed() -> Policy {
    let weights = [(1, 1.0), (2, 2.0), (3, 7.0), (4, 30.0), (5, 100.0)];
    let row = weights.map(|(i, weight)| (cluster(i), Weight::from(weight))).into_iter().collect();
    Policy { mode: Mode::WeightedRoundRobin, rows: vec![Row::new(None, row).unwrap()], ..Policy::default() }
}

fn view_of(local: usize) -> View {
    View { local: cluster(local), measured: false, links: BTreeMap::new() }
}

fn count(planned: &ServicePlan, draws: u32, offset: u64) -> BTreeMap<ClusterId, u32> {
    let mut counts = BTreeMap::new();
    for _ in 0..draws {
        let drawn = planned.draw(Family::Ipv4, planned.next_point().wrapping_add(offset)).unwrap();
        let hit = |export: &Export| export.ready.iter().any(|ready| ready.address == drawn);
        let (cluster, _) = planned.service.exports.iter().find(|(_, export)| hit(export)).unwrap();
        *counts.entry(cluster.clone()).or_default() += 1;
    }
    counts
}

#[test]
fn a_hundred_thousand_answers_follow_the_published_weights_in_every_mode() {
    let policies = [Policy::default(), skewed(), Policy { mode: Mode::Optimized, ..Policy::default() }];
    for policy in policies {
        let planned = planned(&five_clusters(policy), &view_of(9));
        let chi_square = chi_square(&count(&planned, 100_000, 0), &planned.shares, 100_000);
        assert!(chi_square < CRITICAL, "{:?}: {chi_square}", planned.rule.mode);
    }
}

#[test]
fn several_replicas_together_follow_the_weights_too() {
    let service = five_clusters(skewed());
    let mut together = BTreeMap::new();
    let mut shares = Vec::new();
    for offset in [0, 0x1234_5678_9ABC_DEF0, u64::MAX / 3] {
        let planned = planned(&service, &view_of(9));
        for (cluster, counted) in count(&planned, 100_000 / 3, offset) {
            *together.entry(cluster).or_default() += counted;
        }
        shares = planned.shares;
    }
    let chi_square = chi_square(&together, &shares, 99_999);
    assert!(chi_square < CRITICAL, "{chi_square}");
}

#[test]
fn weights_that_change_in_the_middle_are_followed_from_there_on() {
    let view = view_of(9);
    let before = planned(&five_clusters(Policy::default()), &view);
    let chi = chi_square(&count(&before, 50_000, 7), &before.shares, 50_000);
    assert!(chi < CRITICAL, "{chi}");
    let after = ServicePlan::new(Arc::new(five_clusters(skewed())), &view, Some(&before));
    let chi = chi_square(&count(&after, 50_000, 7), &after.shares, 50_000);
    assert!(chi < CRITICAL, "{chi}");
}

#[test]
fn answers_never_name_a_cluster_that_is_not_eligible_and_are_never_empty_while_one_is_ready() {
    let mut service = five_clusters(skewed());
    for i in 2..=5 {
        service.exports.insert(cluster(i), Export::default());
    }
    let planned = planned(&service, &view_of(9));
    let counts = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| count(&planned, 125_000, 0))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(counts.iter().all(|counts| counts.keys().eq([&cluster(1)])));
}

#[test]
fn a_sequence_goes_on_when_the_plan_changes() {
    let sequence = Sequence::default();
    assert_ne!(sequence.next_point(), sequence.next_point());
    let view = view_of(9);
    let before = planned(&five_clusters(Policy::default()), &view);
    let point = before.next_point();
    let after = ServicePlan::new(Arc::new(five_clusters(skewed())), &view, Some(&before));
    assert_ne!(after.next_point(), point);
}
