//! Properties of plans that hold for every fleet.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::collections::BTreeMap;
use std::sync::Arc;

use landfall_core::apportion::TOTAL_WEIGHT;
use landfall_core::export::Family;
use landfall_core::export::{Endpoint, Export};
use landfall_core::name::{ByCluster, ClusterId, ServiceKey};
use landfall_core::optimize::cost::UnitCost;
use landfall_core::optimize::facts::Exporter;
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::{CostMatrix, PlanningInput, Report, planning_input};
use landfall_core::pick::{Sequence, WeightedTable};
use landfall_core::plan::{Plan, ServicePlan, plan};
use landfall_core::policy::{LocalPreference, MinShares, Mode, Policy, Weight, WeightRow};
use landfall_core::resolve::Share;
use landfall_core::rule::{Fallback, NOMINAL_TOTAL, Reason, Rule};
use landfall_core::snapshot::{Continuation, Link, NetworkView, RuleSource, Service, ServiceKind, Snapshot};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

const CLUSTERS: usize = 8;

/// Seconds since 1970.
const NOW: u64 = 1_800_000_000;

fn cluster(i: usize) -> ClusterId {
    ClusterId::new(&format!("c{i}")).unwrap()
}

fn endpoint(cluster: usize, n: u8) -> Endpoint {
    Endpoint::new([10, u8::try_from(cluster).unwrap(), 0, n].into(), None)
}

/// Generates weights that users write, and some that are invalid.
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
    fn row()(weights in btree_map(0..CLUSTERS, weight(), 0..=CLUSTERS), zero in proptest::option::weighted(0.3, 0..CLUSTERS)) -> WeightRow {
        let mut weights: BTreeMap<_, _> =
            weights.into_iter().map(|(i, weight)| (cluster(i), Weight::from(weight))).collect();
        if let Some(zero) = zero {
            weights.insert(cluster(zero), Weight::Zero);
        }
        WeightRow::new(None, weights).unwrap()
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
    /// Generates exports with up to two ready endpoints each.
    fn exports()(ready in btree_map(0..CLUSTERS, 0_u8..3, 0..=CLUSTERS)) -> ByCluster<Export> {
        let export = |i, ready| Export { ready: (0..ready).map(|n| endpoint(i, n + 1)).collect() };
        ready.into_iter().map(|(i, ready)| (cluster(i), export(i, ready))).collect()
    }
}

prop_compose! {
    fn view()(links in btree_map(0..CLUSTERS, any::<bool>(), 0..=CLUSTERS)) -> NetworkView {
        let link = |reachable| Link { reachable, rtt: None };
        NetworkView {
            local: cluster(0),
            links_complete: !links.is_empty(),
            links: links.into_iter().map(|(i, up)| (cluster(i), link(up))).collect(),
        }
    }
}

prop_compose! {
    /// Generates reports: most are recent, and some lack a field.
    fn report()(
        age_rounds in prop_oneof![6 => Just(0), 1 => 0..15_u64],
        demand_rps in proptest::option::weighted(0.8, 0.0..2000.0),
        capacity_rps in proptest::option::weighted(0.8, prop_oneof![9 => 1.0..2000.0, 1 => Just(0.0)]),
        load_rps in proptest::option::weighted(0.5, 0.0..2000.0),
        residual_rps in prop_oneof![Just(0.0), -200.0..500.0],
        deviation in 0.0..0.3,
        service_ms in prop_oneof![Just(0.0), 0.1..50.0],
    ) -> Report {
        let at = NOW - age_rounds * 300;
        Report { at, demand_rps, capacity_rps, load_rps, residual_rps, deviation, service_ms, ..Report::default() }
    }
}

prop_compose! {
    /// Generates path costs by source and exporter; some pairs have no path.
    fn rtts()(rtts in vec(vec(proptest::option::weighted(0.9, 0.5..300.0), CLUSTERS), CLUSTERS)) -> CostMatrix {
        let path = |(j, rtt): (usize, Option<f64>)| Some((cluster(j), UnitCost { latency_ms: rtt?, price_ms: 0.0 }));
        let row = |row: Vec<Option<f64>>| Arc::new(row.into_iter().enumerate().filter_map(path).collect());
        rtts.into_iter().enumerate().map(|(i, rtts)| (cluster(i), row(rtts))).collect()
    }
}

/// Returns the input as the operator builds it: ready exporters are eligible, and the facts if all were ready are
/// included.
fn input(
    reports: &BTreeMap<ClusterId, Report>,
    costs: &CostMatrix,
    exports: &ByCluster<Export>,
    objective: &Objective,
) -> PlanningInput {
    let assumed_rps = |export: &Export| export.ready.len().max(1) as f64 * objective.capacity_rps_per_pod;
    let ready = |cluster: &ClusterId| exports.get(cluster).filter(|export| !export.ready.is_empty()).map(assumed_rps);
    let if_all_ready =
        || planning_input(reports, costs, |cluster| exports.get(cluster).map(assumed_rps), (objective, NOW)).facts;
    let some_not_ready = exports.values().any(|export| export.ready.is_empty());
    PlanningInput {
        if_all_ready: some_not_ready.then(if_all_ready),
        ..planning_input(reports, costs, ready, (objective, NOW))
    }
}

prop_compose! {
    fn service()(
        policy in policy(),
        exports in exports(),
        reports in btree_map(0..CLUSTERS, report(), 0..=CLUSTERS),
        costs in rtts(),
    ) -> Service {
        let rule_source = match policy.mode {
            Mode::Optimized => {
                let reports = reports.into_iter().map(|(i, report)| (cluster(i), report)).collect();
                let input = input(&reports, &costs, &exports, &policy.objective);
                RuleSource::Optimized(Arc::new(policy), Arc::new(input), Continuation::Previous(None))
            }
            Mode::RoundRobin | Mode::WeightedRoundRobin => RuleSource::Policy(Arc::new(policy)),
        };
        Service { kind: ServiceKind::ClusterSetIp { ips: Vec::new() }, exports, rule_source }
    }
}

fn planned(service: &Service, view: &NetworkView) -> ServicePlan {
    ServicePlan::new(Arc::new(service.clone()), view, None)
}

fn policy_of(service: &Service) -> &Policy {
    match service.rule_source.served() {
        RuleSource::Policy(policy) | RuleSource::Optimized(policy, ..) => policy,
        RuleSource::Published(_) | RuleSource::Shadowed { .. } => unreachable!("made from a policy"),
    }
}

/// Returns the minimum share of a cluster while it is eligible. In optimized mode a cluster that reports no capacity
/// gets none while another reports some.
fn min_share(service: &Service, cluster: &ClusterId) -> u32 {
    if let RuleSource::Optimized(_, input, _) = &service.rule_source {
        let exporters = &input.facts.exporters;
        let no_capacity = |exporter: &Exporter| exporter.capacity_rps <= 0.0;
        if exporters.get(cluster).is_some_and(no_capacity) && !exporters.values().all(no_capacity) {
            return 0;
        }
    }
    policy_of(service).min_shares.get(cluster)
}

/// Returns true if no plan could be computed, so that the previous weights stay.
fn kept(planned: &ServicePlan) -> bool {
    matches!(planned.rule.fallback, Some(Fallback::NoCapacity | Fallback::NoFacts | Fallback::Unsolved))
}

/// Returns a service whose plans ignore the previous rule, as in file mode.
fn afresh(service: Service) -> Service {
    let RuleSource::Optimized(policy, input, _) = service.rule_source else { return service };
    Service { rule_source: RuleSource::Optimized(policy, input, Continuation::Afresh), ..service }
}

fn eligible(shares: &[Share]) -> Vec<&Share> {
    shares.iter().filter(|share| share.eligible).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn weights_add_up_to_1000_while_a_cluster_is_ready_and_to_0_otherwise(service in service(), view in view()) {
        let planned = planned(&service, &view);
        let sum: u32 = planned.shares.iter().map(|share| share.weight).sum();
        let any_ready = service.exports.values().any(|export| !export.ready.is_empty());
        prop_assert_eq!(sum, if any_ready { TOTAL_WEIGHT } else { 0 });
    }

    #[test]
    fn two_views_are_equal_if_and_only_if_they_reach_the_same_clusters(
        before in view(), after in view(), complete in any::<[bool; 2]>(),
    ) {
        let before = NetworkView { links_complete: complete[0], ..before };
        let after = NetworkView { links_complete: complete[1], ..after };
        // The last cluster is in neither view, like an exporter without a link.
        let same = (0..=CLUSTERS).all(|i| before.reaches(&cluster(i)) == after.reaches(&cluster(i)));
        prop_assert_eq!(before.reaches_same_clusters(&after), same);
        let unlisted = NetworkView { links: BTreeMap::new(), ..after.clone() };
        let filled = (1..CLUSTERS).map(|i| (cluster(i), Link { reachable: !after.links_complete, rtt: None })).collect();
        prop_assert!(unlisted.reaches_same_clusters(&NetworkView { links: filled, ..after }), "listed as it counted before");
    }

    #[test]
    fn ineligible_cluster_gets_no_share(service in service(), view in view()) {
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
        for share in eligible(&planned(&service, &view).shares) {
            prop_assert!(share.weight >= min_share(&service, &share.cluster), "{share:?}");
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
                .map(|share| min_share(&service, &share.cluster))
                .sum();
            prop_assert_eq!(chosen.weight, TOTAL_WEIGHT - floors);
        }
    }

    /// Holds in weighted mode alone: the optimized mode has no weights, and its plan depends on the eligible clusters.
    #[test]
    fn two_weights_keep_their_ratio_whichever_other_clusters_are_eligible(
        a in 1.0..20.0, b in 1.0..20.0, others in vec(1.0..20.0, 0..4), down in vec(any::<bool>(), 4),
    ) {
        let weights: Vec<f64> = [a, b].into_iter().chain(others).collect();
        let row = weights.iter().enumerate().map(|(i, &weight)| (cluster(i), Weight::from(weight))).collect();
        let policy = Policy {
            mode: Mode::WeightedRoundRobin,
            local_preference: Some(LocalPreference::Balance),
            rows: vec![WeightRow::new(None, row).unwrap()],
            ..Policy::default()
        };
        let ready = |i: usize| i < 2 || !down[i - 2];
        let export = |i| Export { ready: ready(i).then(|| endpoint(i, 1)).into_iter().collect() };
        let service = Service {
            kind: ServiceKind::Headless,
            exports: (0..weights.len()).map(|i| (cluster(i), export(i))).collect(),
            rule_source: RuleSource::Policy(Arc::new(policy)),
        };
        let shares = planned(&service, &view_of(9)).shares;
        // p_0 / p_1 = w_1 / w_0, but for the rounding of each to one part of 1000.
        let (p_a, p_b) = (f64::from(shares[0].weight), f64::from(shares[1].weight));
        prop_assert!((p_a * a - p_b * b).abs() <= a + b, "{p_a} : {p_b} for {a} : {b}");
    }

    /// In optimized mode this holds while the facts are the same, which is until the operator publishes the next rule.
    #[test]
    fn published_rule_resolves_to_the_same_shares(service in service(), now in view(), then in view()) {
        let first = planned(&service, &then);
        let published = Service { rule_source: RuleSource::Published(Arc::clone(&first.rule)), ..service.clone() };
        let weights = |shares: &[Share]| shares.iter().map(|share| (share.weight, share.eligible)).collect::<Vec<_>>();
        prop_assert_eq!(weights(&planned(&published, &now).shares), weights(&planned(&service, &now).shares));
    }

    #[test]
    fn draws_return_only_entries_with_a_weight(weights in vec(0_u32..100, 1..10), points in vec(any::<u64>(), 20)) {
        if let Some(table) = WeightedTable::new(weights.iter().copied()) {
            prop_assert!(points.into_iter().all(|point| weights[table.draw(point).index] > 0));
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
            let service = service.map(afresh).map(Arc::new);
            match &service {
                Some(service) => services.insert(key(i), Arc::clone(service)),
                None => services.remove(&key(i)),
            };
            stepwise = stepwise.updated(&view, [(key(i), service)], 1).unwrap_or(stepwise);
        }
        let at_once = plan(&Snapshot { view, services }, &Plan::default(), 1);
        prop_assert_eq!(stepwise.keys(), at_once.keys());
        for ((_, a), (_, b)) in stepwise.services().zip(at_once.services()) {
            // A rule that is kept depends on the steps.
            prop_assert!(a == b || (a.service == b.service && kept(a) && kept(b)), "{:?} {:?}", a.rule, b.rule);
        }
        prop_assert_eq!(stepwise.has_namespace("shop"), at_once.has_namespace("shop"));
    }

    #[test]
    fn rule_kept_by_hysteresis_is_close_to_the_new_one(
        before in service(), factors in vec(0.98..1.02, CLUSTERS), view in view(),
    ) {
        let mut after = before.clone();
        if let RuleSource::Optimized(_, input, _) = &mut after.rule_source {
            let sources = Arc::make_mut(&mut Arc::make_mut(input).facts.sources).iter_mut().map(|(_, source)| source);
            sources.zip(factors).for_each(|(source, factor)| source.demand_rps *= factor);
        }
        let (first, anew) = (planned(&before, &view), planned(&after, &view));
        let next = ServicePlan::new(Arc::new(after), &view, Some(&first));
        let priorities = |rule: &Rule| -> Vec<(u8, u32)> {
            rule.candidates.iter().map(|candidate| (candidate.priority, candidate.nominal)).collect()
        };
        let (first, next, anew, kept) = (priorities(&first.rule), priorities(&next.rule), priorities(&anew.rule), kept(&anew));
        prop_assert!(next == anew || next == first);
        if next != anew && !kept {
            let at_first = |&(priority, nominal): &(u8, u32)| if priority == 0 { nominal } else { 0 };
            let moved: u32 = next.iter().zip(&anew).map(|(next, anew)| at_first(next).abs_diff(at_first(anew))).sum();
            prop_assert!(f64::from(moved) < 0.02 * f64::from(NOMINAL_TOTAL), "{moved}");
        }
    }

    #[test]
    fn unchanged_services_are_shared_and_an_update_without_a_change_is_no_plan(service in service(), view in view()) {
        let service = Arc::new(service);
        let both = [(key(0), Some(Arc::clone(&service))), (key(1), Some(Arc::clone(&service)))];
        let first = Plan::default().updated(&view, both.clone(), 1).unwrap();
        prop_assert!(first.updated(&view, both, 2).is_none());
        let second = first.updated(&view, [(key(0), None)], 2).unwrap();
        prop_assert!(Arc::ptr_eq(first.get("s1.shop").unwrap(), second.get("s1.shop").unwrap()));
        prop_assert_eq!((second.len(), second.changed()), (1, 2));
    }
}

/// Returns Pearson's χ² of the draws against the weights.
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

/// Value that a χ² of 4 degrees of freedom exceeds once in 1000 times if draws are random. Draws along the sequence are
/// more even.
const CRITICAL: f64 = 18.47;

fn five_clusters(policy: Policy) -> Service {
    let exports: ByCluster<_> = (1..=5).map(|i| (cluster(i), Export { ready: [endpoint(i, 1)].into() })).collect();
    let rule_source = match policy.mode {
        Mode::Optimized => {
            let input = overflowing(&exports, &policy.objective);
            RuleSource::Optimized(Arc::new(policy), Arc::new(input), Continuation::Previous(None))
        }
        Mode::RoundRobin | Mode::WeightedRoundRobin => RuleSource::Policy(Arc::new(policy)),
    };
    Service { kind: ServiceKind::ClusterSetIp { ips: Vec::new() }, exports, rule_source }
}

/// Returns an input in which cluster 9 has more demand than the four nearest clusters have capacity.
fn overflowing(exports: &ByCluster<Export>, objective: &Objective) -> PlanningInput {
    let report = |demand_rps, capacity_rps| Report {
        demand_rps: Some(demand_rps),
        capacity_rps: Some(capacity_rps),
        ..Report::default()
    };
    let exporters = (1..=5_u8).map(|i| (cluster(i.into()), report(0.0, 100.0 * f64::from(i))));
    let reports = exporters.chain([(cluster(9), report(1100.0, 0.0))]).collect();
    let path = |i: u8| (cluster(i.into()), UnitCost { latency_ms: 10.0 * f64::from(i), price_ms: 0.0 });
    let costs = (1..=9).map(|i| (cluster(i), Arc::new((1..=5).map(path).collect()))).collect();
    input(&reports, &costs, exports, objective)
}

fn optimized() -> Policy {
    Policy { mode: Mode::Optimized, ..Policy::default() }
}

fn skewed() -> Policy {
    let weights = [(1, 1.0), (2, 2.0), (3, 7.0), (4, 30.0), (5, 100.0)];
    let row = weights.map(|(i, weight)| (cluster(i), Weight::from(weight))).into_iter().collect();
    Policy { mode: Mode::WeightedRoundRobin, rows: vec![WeightRow::new(None, row).unwrap()], ..Policy::default() }
}

fn view_of(local: usize) -> NetworkView {
    NetworkView { local: cluster(local), links_complete: false, links: BTreeMap::new() }
}

fn count(planned: &ServicePlan, draws: u32, offset: u64) -> BTreeMap<ClusterId, u32> {
    let mut counts = BTreeMap::new();
    for _ in 0..draws {
        let drawn = planned.draw(Family::Ipv4, planned.next_point().wrapping_add(offset)).unwrap();
        let has_drawn = |export: &Export| export.ready.iter().any(|ready| ready.address == drawn);
        let (cluster, _) = planned.service.exports.iter().find(|(_, export)| has_drawn(export)).unwrap();
        *counts.entry(cluster.clone()).or_default() += 1;
    }
    counts
}

#[test]
fn a_hundred_thousand_answers_follow_the_published_weights_in_every_mode() {
    for policy in [Policy::default(), skewed(), optimized()] {
        let mode = policy.mode;
        let planned = planned(&five_clusters(policy), &view_of(9));
        let all_have_some = planned.shares.iter().all(|share| share.weight > 0);
        assert!(planned.rule.mode == mode && planned.rule.fallback.is_none() && all_have_some, "{:?}", planned.shares);
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
fn changed_weights_are_followed_from_the_change_on() {
    let view = view_of(9);
    let before = planned(&five_clusters(Policy::default()), &view);
    let chi = chi_square(&count(&before, 50_000, 7), &before.shares, 50_000);
    assert!(chi < CRITICAL, "{chi}");
    let after = ServicePlan::new(Arc::new(five_clusters(skewed())), &view, Some(&before));
    let chi = chi_square(&count(&after, 50_000, 7), &after.shares, 50_000);
    assert!(chi < CRITICAL, "{chi}");
    let optimized = ServicePlan::new(Arc::new(five_clusters(optimized())), &view, Some(&after));
    assert_ne!(optimized.shares, after.shares);
    let chi = chi_square(&count(&optimized, 50_000, 7), &optimized.shares, 50_000);
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
fn sequence_continues_when_the_plan_changes() {
    let sequence = Sequence::default();
    assert_ne!(sequence.next_point(), sequence.next_point());
    let view = view_of(9);
    let before = planned(&five_clusters(Policy::default()), &view);
    let point = before.next_point();
    let after = ServicePlan::new(Arc::new(five_clusters(skewed())), &view, Some(&before));
    assert_ne!(after.next_point(), point);
}
