//! Optimized mode: facts of all clusters in, a joint plan out.

use std::sync::Arc;

use crate::support::{Feed, NOW, applied, import, list, pipeline, policy, slice, synced};
use k8s_openapi::jiff::Timestamp;
use landfall_api::{SelectedCluster, ServiceSelection, ServiceSelectionStatus};
use landfall_controller::change::PeerEvent;
use landfall_controller::observe::perspective::RulesFrom;
use landfall_controller::pipeline::Pipeline;
use landfall_controller::publish::selection::{RoundInfo, selection_status};

const WEB: &str = "web.shop";
const ROUND: u64 = 300;

/// Returns a service with exports in `east`, `north` and `west`, one address each, and an optimized policy with
/// `settings`.
pub(crate) fn web(settings: &str) -> String {
    let policy = policy("shop", "web", "2026-01-01T00:00:00Z", &format!("{{loadBalancing: optimized{settings}}}"));
    let slices = [("east", "10.0.0.1"), ("north", "10.0.0.2"), ("west", "10.0.0.3")];
    let slices: String = slices.iter().map(|(cluster, address)| slice("shop", "web", cluster, &[address])).collect();
    import("shop", "web", "ClusterSetIP", &["east", "north", "west"]) + &policy + &slices
}

/// Returns the facts of a cluster, dated `at`.
pub(crate) fn facts(cluster: &str, at: u64, rest: &str) -> String {
    let at = Timestamp::from_second(at.try_into().unwrap()).unwrap();
    format!(
        "---\napiVersion: landfall.dev/v1alpha1\nkind: ClusterFacts\nmetadata: {{name: {cluster}, namespace: broker}}\n\
         spec: {{cluster: {cluster}, observedTime: \"{at}\", {rest}}}\n"
    )
}

pub(crate) fn service(numbers: &str) -> String {
    format!("services: [{{namespace: shop, name: web, {numbers}}}]")
}

/// Returns facts with demands and capacities in rps. From `east`, `north` is 10 ms away and `west` 30 ms.
fn reported(at: u64, east: (u32, u32), north: (u32, u32), west: (u32, u32)) -> String {
    let numbers = |(demand, capacity): (u32, u32)| service(&format!("demandRps: {demand}, capacityRps: {capacity}"));
    let links = "links: [{cluster: north, rttMs: 10}, {cluster: west, rttMs: 30}], ";
    facts("east", at, &(links.to_owned() + &numbers(east)))
        + &facts("north", at, &numbers(north))
        + &facts("west", at, &numbers(west))
}

/// Returns facts in which each cluster has capacity for its own demand, and for half of another cluster's.
fn with_free_capacity(at: u64) -> String {
    reported(at, (600, 1000), (600, 1000), (600, 1000))
}

pub(crate) fn gateway(at: u64, north: &str) -> String {
    let connection = |(cluster, last): (&str, &str)| {
        format!("  - {{status: connected, endpoint: {{cluster_id: {cluster}}}, latencyRTT: {{last: {last}}}}}\n")
    };
    let connections: String = [("north", north), ("west", "30ms")].into_iter().map(connection).collect();
    format!(
        "---\napiVersion: submariner.io/v1\nkind: Gateway\nmetadata: {{name: gw-1, namespace: submariner-operator, \
         annotations: {{update-timestamp: \"{at}\"}}}}\nstatus:\n  haStatus: active\n  connections:\n{connections}"
    )
}

fn weights(pipeline: &Pipeline) -> Vec<u32> {
    pipeline.service(WEB).shares.iter().map(|share| share.weight).collect()
}

/// Returns the reason of the fallback.
fn reason(pipeline: &Pipeline) -> Option<&'static str> {
    pipeline.service(WEB).rule.fallback.map(|fallback| fallback.as_str())
}

fn status(pipeline: &Pipeline) -> ServiceSelectionStatus {
    selection_status(pipeline.service(WEB), pipeline.view(), RoundInfo::default())
}

fn selected(pipeline: &Pipeline, cluster: &str) -> SelectedCluster {
    status(pipeline).clusters.into_iter().find(|selected| selected.cluster == cluster).unwrap()
}

fn near(number: Option<f64>, expected: f64) -> bool {
    number.is_some_and(|number| (number - expected).abs() < 1e-3)
}

#[test]
fn failed_export_is_replanned_at_once_and_a_recovered_one_returns() {
    let mut pipeline = synced("east", &(web("") + &with_free_capacity(NOW)));
    assert_eq!(pipeline.shares(WEB), ["east 1000 Optimized", "north 0 Standby", "west 0 Standby"]);
    pipeline.feed(applied(&slice("shop", "web", "east", &[])));
    let shares = pipeline.shares(WEB);
    assert_eq!(shares[0], "east 0 NoReadyEndpoints");
    // East has 600 rps and no exporter. North, the nearer one, has 400 rps of free capacity beside its own demand.
    let after = weights(&pipeline);
    assert!((450..600).contains(&after[1]) && after[2] > 400, "north alone lacks the capacity: {shares:?}");
    pipeline.feed(applied(&slice("shop", "web", "east", &["10.0.0.1"])));
    assert_eq!(weights(&pipeline), [1000, 0, 0]);
}

#[test]
fn replica_fails_over_in_order_without_the_operator() {
    let operator = synced("east", &(web("") + &with_free_capacity(NOW)));
    let mut published = ServiceSelection::new("web", Default::default());
    published.metadata.namespace = Some("shop".to_owned());
    published.status = Some(status(&operator));
    let published = format!("---\n{}", serde_json::to_string(&published).unwrap());

    let mut replica = pipeline("east", RulesFrom::Selections);
    replica.apply(list(&(web("") + &published)), NOW);
    assert_eq!(weights(&replica), [1000, 0, 0]);
    for (failed, next) in [("east", [0, 1000, 0]), ("north", [0, 0, 1000])] {
        replica.feed(applied(&slice("shop", "web", failed, &[])));
        assert_eq!(weights(&replica), next, "{failed} failed, the nearest remaining one answers");
    }
    replica.feed(applied(&slice("shop", "web", "east", &["10.0.0.1"])));
    assert_eq!(weights(&replica), [1000, 0, 0], "the first one again");
}

#[test]
fn facts_from_the_peer_override_its_object() {
    let peer = |manifests: &str| PeerEvent::Reported(Arc::new(synced("north", manifests).own_facts()));
    let overloaded = reported(NOW, (1500, 1000), (0, 0), (0, 1000));
    let mut pipeline = synced("east", &(web("") + &overloaded));
    assert_eq!(pipeline.shares(WEB)[1], "north 0 NoCapacity");
    let grown = facts("north", NOW, &service("demandRps: 0, capacityRps: 2000"));
    assert!(pipeline.feed(vec![peer(&grown)]).all);
    let with_north = weights(&pipeline);
    assert!(with_north[1] > 300, "{with_north:?}");
    assert!(!pipeline.feed(vec![peer(&grown)]).all, "the same report again");
    pipeline.feed(applied(&facts("north", NOW + 1, &service("capacityRps: 0"))));
    assert_eq!(weights(&pipeline), with_north, "the object is older than the report of the peer");
}

#[test]
fn silent_cluster_gets_capacity_by_ready_endpoints_and_a_long_round_trip() {
    let two_pods = slice("shop", "web", "west", &["10.0.0.3", "10.0.0.4"]);
    let own = facts("east", NOW, &service("demandRps: 900, capacityRps: 1000, loadRps: 900"));
    let pipeline = synced("east", &(web(", optimized: {capacityRpsPerPod: 40}") + &two_pods + &own));
    assert_eq!(reason(&pipeline), None, "the known demand explains the load");
    for (cluster, capacity, latency) in [("east", 1000.0, 0.5), ("north", 40.0, 100.0), ("west", 80.0, 100.0)] {
        let selected = selected(&pipeline, cluster);
        assert!(near(selected.capacity_rps, capacity) && near(selected.latency_ms, latency), "{selected:?}");
        assert!(near(selected.price_ms, 0.0), "an unknown price is 0: {selected:?}");
    }
    assert!(weights(&pipeline)[0] > 900, "{:?}", weights(&pipeline));
}

#[test]
fn round_trip_time_is_symmetric() {
    let from = |cluster: &str, rtt: u32| {
        let peer = if cluster == "east" { "north" } else { "east" };
        facts(cluster, NOW, &format!("links: [{{cluster: {peer}, rttMs: {rtt}}}]"))
    };
    let latency = |facts: &str| selected(&synced("east", &(web("") + facts)), "north").latency_ms;
    assert!(near(latency(&from("north", 7)), 7.0), "as the other end measured it");
    assert!(near(latency(&(from("north", 7) + &from("east", 9))), 9.0), "as the source measured it");
}

#[test]
fn every_share_is_published_with_its_cost_terms() {
    let east =
        "links: [{cluster: north, rttMs: 50, jitterMs: 4, loss: 0.01}], egress: [{cluster: north, usdPerGb: 0.02}], ";
    let north = "egress: [{cluster: east, usdPerGb: 0.09}], ";
    let numbers = "demandRps: 500, capacityRps: 1000, serviceTimeMs: 20";
    let all = facts("east", NOW, &(east.to_owned() + &service(numbers)))
        + &facts("north", NOW, &(north.to_owned() + &service(numbers)))
        + &facts("west", NOW, &service("demandRps: 0, capacityRps: 0"));
    let pipeline = synced("east", &(web("") + &all));
    let north = selected(&pipeline, "north");
    // 50 + 4 + 0.01/0.99 · 200 ms; (0.02 · 1 kB + 0.09 · 10 kB) of a million requests; at 0.01 USD per ms.
    assert!(
        near(north.latency_ms, 56.02) && near(north.usd_per_million, 0.92) && near(north.price_ms, 92.0),
        "{north:?}"
    );
    // Each is served locally: ρ = 1/2 and k = 1 ms, so the next request costs all requests 1/(1 − ρ)² − 1 = 3 ms.
    assert!(near(north.congestion_ms, 3.0) && near(north.utilization, 0.5), "{north:?}");
    assert!(near(north.capacity_rps, 1000.0));
    assert_eq!(
        (north.weight, north.reason.as_str(), north.priority, north.nominal_weight),
        (0, "Standby", 1, 1_000_000)
    );
    let west = selected(&pipeline, "west");
    assert_eq!((west.reason.as_str(), west.nominal_weight, west.capacity_rps), ("NoCapacity", 0, None));
    let whole = status(&pipeline);
    assert_eq!((whole.mode.as_str(), whole.reason, whole.policy.as_deref()), ("optimized", None, Some("shop/web")));
}

#[test]
fn unplanned_load_moves_planned_load_away() {
    let east = |residual: u32| {
        let numbers = format!("demandRps: 600, capacityRps: 1000, residualRps: {residual}");
        facts(
            "east",
            NOW,
            &("links: [{cluster: north, rttMs: 10}, {cluster: west, rttMs: 30}], ".to_owned() + &service(&numbers)),
        )
    };
    let mut pipeline = synced("east", &(web("") + &with_free_capacity(NOW) + &east(0)));
    assert_eq!(weights(&pipeline), [1000, 0, 0]);
    pipeline.feed(applied(&east(500)));
    let pushed = weights(&pipeline);
    assert!(pushed[0] < 800 && pushed[1] > 200, "{pushed:?}");
    assert!(selected(&pipeline, "east").utilization.unwrap() > 0.8, "it includes the unplanned load");
}

#[test]
fn clusters_fall_back_if_demands_do_not_explain_loads_or_settings_differ() {
    let loaded = |demand: u32, rest: &str| {
        let numbers = format!("demandRps: {demand}, capacityRps: 1000, loadRps: 500{rest}");
        let of = |cluster| facts(cluster, NOW, &service(&numbers));
        web("") + &of("east") + &of("north") + &of("west")
    };
    for (manifests, expected) in [
        (loaded(500, ""), None),
        (loaded(250, ""), None),
        (loaded(249, ""), Some("DemandsUnexplained")),
        (loaded(500, ", parameterHash: abc"), Some("DemandsUnexplained")),
    ] {
        let pipeline = synced("east", &manifests);
        assert_eq!((status(&pipeline).mode.as_str(), reason(&pipeline)), ("optimized", expected));
        assert_eq!(weights(&pipeline).iter().sum::<u32>(), 1000);
    }
}

#[test]
fn jitter_of_round_trip_times_makes_no_plan() {
    let incomplete = facts("east", NOW, &service("demandRps: 900, capacityRps: 1000"));
    let mut pipeline = synced("east", &(web("") + &incomplete + &gateway(NOW, "40ms")));
    let mut planned = Arc::clone(pipeline.plan().unwrap());
    let mut heartbeat = NOW;
    let mut plans_of = |last: &str, times: usize| {
        let mut plans = 0;
        for _ in 0..times {
            heartbeat += 5;
            pipeline.feed(applied(&gateway(heartbeat, last)));
            let now = pipeline.plan().unwrap();
            plans += usize::from(!Arc::ptr_eq(now, &planned));
            planned = Arc::clone(now);
        }
        plans
    };
    for noise in ["43.9ms", "36.1ms", "40ms", "43ms", "38ms", "41ms", "36ms", "43ms", "40ms"] {
        assert_eq!(plans_of(noise, 1), 0, "{noise}");
    }
    let spike = plans_of("200ms", 1) + plans_of("40ms", 10);
    assert!(spike <= 2, "up, as far as the filter permits, and back: {spike}");
    assert!((1..=8).contains(&plans_of("80ms", 30)), "a longer path is learnt in a few steps");
    assert_eq!(plans_of("80ms", 30), 0);
}

#[test]
fn unchanged_inputs_make_no_plan_even_if_facts_are_unknown() {
    let gateway = gateway(NOW, "10ms");
    for facts in [String::new(), facts("north", NOW, &service("capacityRps: 500")), with_free_capacity(NOW)] {
        let manifests = web("") + &facts + &gateway;
        let mut pipeline = synced("east", &manifests);
        let before = Arc::clone(pipeline.plan().unwrap());
        pipeline.apply(list(&manifests), NOW + 10);
        assert!(Arc::ptr_eq(&before, pipeline.plan().unwrap()), "{facts}");
    }
}

#[test]
fn weight_of_facts_declines_from_six_rounds_to_none_at_twelve() {
    let capacity = |rounds: u64| {
        let later = NOW + rounds * ROUND;
        let fresh = |cluster: &str| facts(cluster, later, &service("demandRps: 600, capacityRps: 1000"));
        let mut pipeline = synced("east", &(web("") + &with_free_capacity(NOW)));
        pipeline.apply(applied(&(fresh("east") + &fresh("north"))), later);
        let west = selected(&pipeline, "west");
        (west.capacity_rps, west.reason)
    };
    for (rounds, expected) in [(0, 1000.0), (6, 1000.0), (9, 750.0), (11, 583.333)] {
        let (found, reason) = capacity(rounds);
        assert!(near(found, expected) && reason == "Standby", "{rounds} rounds: {found:?} {reason}");
    }
    assert_eq!(capacity(12), (None, "NoCapacity".to_owned()));
}

#[test]
fn weights_stay_with_a_fallback_reason_when_all_facts_are_too_old() {
    let mut pipeline = synced("east", &(web("") + &reported(NOW, (1500, 1000), (100, 1000), (100, 1000))));
    let before = weights(&pipeline);
    assert!(before[0] < 700 && before[1] > 300, "{before:?}");
    // Time alone does not cause a plan, so north gets a second address.
    let more = applied(&slice("shop", "web", "north", &["10.0.0.2", "10.0.0.5"]));
    pipeline.apply(more, NOW + 12 * ROUND);
    assert_eq!((weights(&pipeline), reason(&pipeline)), (before.clone(), Some("NoFacts")));
    assert_eq!(status(&pipeline).mode, "optimized");
    pipeline.apply(applied(&slice("shop", "web", "east", &[])), NOW + 12 * ROUND + 1);
    assert_eq!(weights(&pipeline)[0], 0, "health still applies");
    pipeline.apply(applied(&slice("shop", "web", "east", &["10.0.0.1"])), NOW + 12 * ROUND + 2);
    assert_eq!(weights(&pipeline), before, "the previous weights are still known");
    pipeline.apply(applied(&with_free_capacity(NOW + 13 * ROUND)), NOW + 13 * ROUND);
    assert_eq!((weights(&pipeline), reason(&pipeline)), (vec![1000, 0, 0], None), "all clusters report again");
}
