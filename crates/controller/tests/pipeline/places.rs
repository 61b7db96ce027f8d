//! Locations of clusters, prices of traffic between them, and their facts.

use std::sync::Arc;

use crate::support::{Feed, applied, deleted, import, list, policy, slice, synced};
use landfall_controller::accept::{Optimized, Preset};
use landfall_controller::change::{ObjectEvent, PeerEvent, Touched};
use landfall_controller::facts::ClusterFacts;
use landfall_controller::manifest::documents;
use landfall_controller::object::{Kind, ObjectRef};
use landfall_controller::pipeline::Pipeline;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::pricing::Location;

const OLD: &str = "2026-01-01T00:00:00Z";
const SHIPPED: &str = include_str!("../../../../charts/landfall/files/networkpricing-default.yaml");

fn node(name: &str, zone: &str, status: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{topology.kubernetes.io/zone: \
         {zone}}}}}\nspec: {{providerID: \"aws:///{zone}/i-{name}\", podCIDR: 10.1.0.0/24}}\nstatus: {{conditions: \
         [{{type: Ready, lastHeartbeatTime: \"{status}\"}}]}}\n"
    )
}

fn pricing(name: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: landfall.dev/v1alpha1\nkind: NetworkPricing\nmetadata: {{name: {name}}}\nspec: {{rules: \
         [{rules}]}}\n"
    )
}

/// Returns one of the objects with a cluster's facts.
fn facts(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: landfall.dev/v1alpha1\nkind: ClusterFacts\nmetadata: {{name: {name}, namespace: \
         broker}}\nspec: {{{spec}}}\n"
    )
}

/// Returns an optimized policy for all services, in the operator's namespace.
fn optimizing() -> String {
    policy("landfall-system", "optimizing", OLD, "{loadBalancing: optimized}")
}

fn id(cluster: &str) -> ClusterId {
    ClusterId::new(cluster).unwrap()
}

fn place(provider: &str, region: &str) -> Location {
    Location::new(Some(provider), Some(region), None)
}

fn facts_of<'a>(pipeline: &'a Pipeline, cluster: &str) -> &'a ClusterFacts {
    &pipeline.stores().facts.objects[cluster]
}

fn problem(pipeline: &Pipeline) -> String {
    let problems: Vec<String> = pipeline.stores().problems().map(ToString::to_string).collect();
    assert!(problems.len() <= 1, "{problems:?}");
    problems.concat()
}

#[test]
fn location_of_a_cluster_comes_from_its_nodes_and_replans_only_when_it_changes() {
    let nodes = node("a", "us-east-1a", "t0") + &node("b", "us-east-1b", "t0");
    let mut pipeline = synced("c1", &(optimizing() + &nodes));
    let here = place("aws", "us-east-1");
    assert_eq!(pipeline.stores().location.of_cluster(), Some(here));
    assert!(!pipeline.feed(applied(&node("a", "us-east-1a", "t1"))).all, "a heartbeat");
    assert!(!pipeline.feed(applied(&node("c", "us-east-1c", "t1"))).all, "one more node in the same region");
    assert!(!pipeline.feed(deleted(Kind::Node, "", "c")).all, "one node less");
    assert!(pipeline.feed(applied(&node("a", "us-east-1b", "t2"))).all, "another machine under the same name");
    assert_eq!(pipeline.stores().location.of_cluster().unwrap().zone.as_deref(), Some("us-east-1b"));
    assert!(!pipeline.feed(deleted(Kind::Node, "", "b")).all, "the other one is in the same zone");
    assert_eq!(pipeline.stores().location.of_nodes().count(), 1);
    assert!(pipeline.feed(deleted(Kind::Node, "", "a")).all, "the last one");
    assert!(pipeline.feed(applied(&nodes)).all);
    let gone = [ObjectEvent::ListBegins(Kind::Node), ObjectEvent::ListEnds(Kind::Node)];
    assert!(pipeline.feed(gone.into()).all);
    assert_eq!(pipeline.stores().location.of_cluster(), None, "nodes missing from a new list are removed");
}

#[test]
fn locations_prices_and_facts_replan_nothing_until_a_service_is_optimized() {
    let untouched = |touched: Touched| assert_eq!(touched, Touched::default());
    let web = import("shop", "web", "ClusterSetIP", &["c1", "c2"]);
    let slices = slice("shop", "web", "c1", &["10.0.0.1"]) + &slice("shop", "web", "c2", &["10.0.0.2"]);
    let mut pipeline = synced("c1", &(web + &slices));
    untouched(pipeline.feed(applied(&node("a", "us-east-1a", "t0"))));
    untouched(pipeline.feed(applied(&node("b", "eu-west-1a", "t0"))));
    untouched(pipeline.feed(deleted(Kind::Node, "", "b")));
    untouched(pipeline.feed(applied(&(pricing("ours", "{usdPerGb: 0.05}") + &pricing("not-ours", "{usdPerGb: 1}")))));
    untouched(pipeline.feed(deleted(Kind::NetworkPricing, "", "not-ours")));
    let numbers = |capacity: u32| format!("services: [{{namespace: shop, name: web, capacityRps: {capacity}}}]");
    let east = "location: {provider: gcp, region: us-east1}";
    let reported = facts("c2-0", &format!("cluster: c2, {east}, {}", numbers(70)))
        + &facts("c1-0", &format!("cluster: c1, {}", numbers(50)))
        + &facts("c3-0", "cluster: c3");
    untouched(pipeline.feed(applied(&reported)));
    untouched(pipeline.feed(deleted(Kind::ClusterFacts, "broker", "c3-0")));
    let peer =
        synced("c2", &facts("c2-0", &format!("cluster: c2, generation: 1, {east}, {}", numbers(90)))).own_facts();
    let touched = pipeline.feed(vec![PeerEvent::Reported(Arc::new(peer))]);
    assert_eq!(touched, Touched { peers: [id("c2")].into(), ..Touched::default() });

    assert!(pipeline.feed(applied(&optimizing())).all);
    let terms: Vec<_> = pipeline.service("web.shop").rule.candidates.iter().map(|known| known.terms.unwrap()).collect();
    let capacities = [terms[0].capacity_rps, terms[1].capacity_rps];
    assert!((capacities[0] - 50.0).abs() < 1e-9 && (capacities[1] - 90.0).abs() < 1e-9, "{capacities:?}");
    // 1 kB there and 10 kB back, a million times, at 0.05 USD per GB.
    assert!((terms[1].usd_per_million.unwrap() - 0.55).abs() < 1e-9, "{terms:?}");

    // Without the policy, these inputs are not needed any more.
    assert!(pipeline.feed(deleted(Kind::SelectionPolicy, "landfall-system", "optimizing")).all);
    untouched(pipeline.feed(applied(&pricing("ours", "{usdPerGb: 0.06}"))));
}

#[test]
fn rules_of_users_precede_the_shipped_rules() {
    let price = |pipeline: &Pipeline| {
        let price =
            pipeline.stores().location.pricing().usd_per_gb(&place("aws", "us-east-1"), &place("gcp", "us-east1"));
        price.map(|price| (price.usd_per_gb, price.rule))
    };
    let mut pipeline = synced("c1", &optimizing());
    assert_eq!(price(&pipeline), None);
    for (name, rules, expected) in [
        ("default", "{usdPerGb: 0.09}", (0.09, 0)),
        ("line", "{from: {provider: AWS}, relation: Internet, usdPerGb: 0.02}", (0.02, 0)),
        ("a-first", "{to: {continent: europe}, usdPerGb: 1}", (0.02, 1)),
    ] {
        assert!(pipeline.feed(applied(&pricing(name, rules))).all, "{name}");
        assert_eq!(price(&pipeline), Some(expected), "{name}");
    }
    assert!(!pipeline.feed(applied(&pricing("default", "{usdPerGb: 0.09}"))).all, "nothing new");
    pipeline.feed(deleted(Kind::NetworkPricing, "", "line"));
    assert_eq!(price(&pipeline), Some((0.09, 1)));
}

#[test]
fn invalid_price_keeps_all_previous_rules_of_its_object() {
    let mut pipeline = synced("c1", &pricing("ours", "{usdPerGb: 0.05}"));
    for (rules, message) in [
        ("{usdPerGb: 0.01}, {usdPerGb: -1}", "spec.rules[1].usdPerGb: -1 is not a number from 0 to 100"),
        ("{usdPerGb: .nan}", "spec.rules[0].usdPerGb: NaN is not a number from 0 to 100"),
        (
            "{from: {region: \" \"}, usdPerGb: 1}",
            "spec.rules[0].from.region: \" \" is not a name; leave the field out to match any name",
        ),
    ] {
        pipeline.feed(applied(&pricing("ours", rules)));
        assert_eq!(problem(&pipeline), format!("NetworkPricing ours: {message}"));
        assert_eq!(pipeline.stores().location.pricing().rules().len(), 1);
    }
}

#[test]
fn shipped_prices_equal_the_price_lists() {
    assert!(documents(SHIPPED).iter().all(|document| document.unknown.is_empty()));
    let pipeline = synced("c1", SHIPPED);
    assert_eq!(problem(&pipeline), "");
    let table = pipeline.stores().location.pricing();
    let same_zone = Location::new(Some("aws"), Some("eu-west-1"), Some("eu-west-1a"));
    let other_zone = Location::new(Some("aws"), Some("eu-west-1"), Some("eu-west-1b"));
    let nowhere = Location::default();
    let cases = [
        (same_zone.clone(), same_zone.clone(), Some(0.0)),
        (same_zone, other_zone, Some(0.02)),
        (place("aws", "us-east-1"), place("aws", "us-east-2"), Some(0.01)),
        (place("aws", "us-east-1"), place("aws", "sa-east-1"), Some(0.02)),
        (place("aws", "sa-east-1"), place("aws", "us-east-1"), Some(0.138)),
        (place("aws", "ap-southeast-2"), place("aws", "ap-southeast-4"), Some(0.098)),
        (place("aws", "eu-west-1"), place("gcp", "europe-west1"), Some(0.09)),
        (place("aws", "ap-south-1"), nowhere.clone(), Some(0.1093)),
        (place("gcp", "us-east1"), place("gcp", "us-west1"), Some(0.02)),
        (place("gcp", "us-east1"), place("gcp", "europe-west1"), Some(0.05)),
        (place("gcp", "us-east1"), place("gcp", "southamerica-east1"), Some(0.14)),
        (place("gcp", "me-west1"), place("gcp", "asia-east1"), Some(0.11)),
        (place("gcp", "us-east1"), place("aws", "ap-southeast-2"), Some(0.19)),
        (place("azure", "westeurope"), place("azure", "westeurope"), Some(0.0)),
        (place("azure", "westeurope"), place("azure", "northeurope"), Some(0.02)),
        (place("azure", "westeurope"), place("azure", "eastus"), Some(0.05)),
        (place("azure", "brazilsouth"), place("aws", "sa-east-1"), Some(0.181)),
        (place("hetzner", "fsn1"), place("hetzner", "hel1"), Some(0.0)),
        (place("hetzner", "fsn1"), place("hetzner", "ash"), Some(0.0012)),
        (place("digitalocean", "nyc1"), place("digitalocean", "nyc3"), Some(0.01)),
        (place("linode", "us-east"), place("aws", "us-east-1"), Some(0.005)),
        (place("openstack", "berlin"), place("aws", "eu-central-1"), None),
        (nowhere, place("aws", "eu-central-1"), None),
    ];
    for (from, to, expected) in cases {
        assert_eq!(table.usd_per_gb(&from, &to).map(|price| price.usd_per_gb), expected, "{from:?} {to:?}");
    }
}

#[test]
fn facts_of_a_cluster_are_accepted() {
    let spec = "cluster: east, generation: 7, observedTime: \"2026-11-21T10:00:00Z\", parameterHash: 00c0ffee, \
                location: {provider: AWS, region: us-east-1}, \
                links: [{cluster: west, rttMs: 70.5, jitterMs: 2, loss: 0.01, reachable: true}, {cluster: north}], \
                egress: [{cluster: west, usdPerGb: 0.02}], \
                services: [{namespace: shop, name: web, demandRps: 100, measuredDemandRps: 90, capacityRps: \"400\", \
                loadRps: 120, residualRps: -4.5, deviation: 0.1, serviceTimeMs: 12, trendRps: -3}, \
                {namespace: shop, name: api, parameterHash: b}]";
    let pipeline = synced("c1", &facts("east-0", spec));
    assert_eq!(problem(&pipeline), "");
    let east = facts_of(&pipeline, "east");
    assert_eq!((east.generation, east.observed, east.parameter_hash), (7, Some(1_795_255_200), Some(0x00c0_ffee)));
    assert_eq!(east.location, place("aws", "us-east-1"), "and the continent that follows");
    let west = east.links[&id("west")];
    assert_eq!(
        (west.rtt_ms, west.jitter_ms, west.loss, west.reachable),
        (Some(70.5), Some(2.0), Some(0.01), Some(true))
    );
    assert_eq!(east.links[&id("north")], Default::default());
    assert_eq!(east.egress_usd_per_gb.get(&id("west")), Some(&0.02));
    let web = east.services[&ServiceKey::new("shop", "web").unwrap()];
    assert_eq!((web.at, web.demand_rps, web.measured_demand_rps), (1_795_255_200, Some(100.0), Some(90.0)));
    assert_eq!((web.capacity_rps, web.load_rps, web.residual_rps), (Some(400.0), Some(120.0), -4.5));
    assert_eq!((web.trend_rps, web.deviation, web.service_ms), (-3.0, 0.1, 12.0));
    let api = east.services[&ServiceKey::new("shop", "api").unwrap()];
    assert_eq!((web.parameter_hash, api.parameter_hash), (Some(0x00c0_ffee), Some(0xb)));
}

#[test]
fn invalid_value_in_facts_is_reported_and_the_rest_is_accepted() {
    let rest = "observedTime: \"2026-11-21T10:00:00Z\", egress: [{cluster: west, usdPerGb: 0.02}]";
    for (wrong, message) in [
        (
            "links: [{cluster: west, rttMs: -5}]",
            "spec.links[0].rttMs: -5 is not a number from 0 to 60000; it is left out",
        ),
        ("links: [{cluster: west, loss: many}]", "spec.links[0].loss: NaN is not a number from 0 to 1; it is left out"),
        ("links: [{cluster: west, loss: [1]}]", "spec.links[0].loss: NaN is not a number from 0 to 1; it is left out"),
        ("links: [{cluster: We_st}]", "spec.links[0].cluster: cluster id \"We_st\" is not one or two DNS labels"),
        (
            "services: [{namespace: shop, name: web, capacityRps: 1e300}]",
            "spec.services[0].capacityRps: 1000000000000000",
        ),
        (
            "services: [{namespace: shop, name: web, demandRps: .inf}]",
            "spec.services[0].demandRps: inf is not a number",
        ),
        ("services: [{namespace: shop, name: We_b}]", "spec.services[0]: service \"We_b\" is not a DNS label"),
        (
            "services: [{namespace: shop, name: web, parameterHash: z}]",
            "spec.services[0].parameterHash: \"z\" is not a number of 1 to 16 hexadecimal digits",
        ),
        ("parameterHash: nonsense", "spec.parameterHash: \"nonsense\" is not a number of 1 to 16 hexadecimal digits"),
        ("location: {continent: atlantis}", "spec.location.continent: \"atlantis\" is not a known continent"),
    ] {
        let mut pipeline = synced("c1", &optimizing());
        let touched = pipeline.feed(applied(&facts("east-0", &format!("cluster: east, {wrong}, {rest}"))));
        assert!(touched.all);
        assert!(
            problem(&pipeline).starts_with(&format!("ClusterFacts broker/east-0: {message}")),
            "{}",
            problem(&pipeline)
        );
        assert_eq!(facts_of(&pipeline, "east").egress_usd_per_gb.get(&id("west")), Some(&0.02), "{wrong}");
    }
}

#[test]
fn entries_beyond_the_limit_are_left_out() {
    let links: Vec<String> = (0..300).map(|i| format!("{{cluster: c{i}}}")).collect();
    let pipeline = synced("c1", &facts("east-0", &format!("cluster: east, links: [{}]", links.join(", "))));
    assert_eq!(facts_of(&pipeline, "east").links.len(), 256);
    let message = "ClusterFacts broker/east-0: spec.links: more than 256 entries; the rest is left out";
    assert_eq!(problem(&pipeline), message);
}

#[test]
fn facts_of_several_objects_are_merged_and_the_newest_wins() {
    let part = |name: &str, minute: u32, service: &str, rtt: u32| {
        let spec = format!(
            "cluster: east, generation: {minute}, observedTime: \"2026-11-21T10:{minute:02}:00Z\", links: [{{cluster: \
             west, rttMs: {rtt}}}], services: [{{namespace: shop, name: {service}, demandRps: {rtt}}}]"
        );
        facts(name, &spec)
    };
    let services = |pipeline: &Pipeline| -> Vec<(String, f64)> {
        let services = &facts_of(pipeline, "east").services;
        services.iter().map(|(key, report)| (key.to_string(), report.demand_rps.unwrap())).collect()
    };
    let parts = part("east-0", 5, "web", 70) + &part("east-1", 4, "api", 60);
    let mut pipeline = synced("c1", &(optimizing() + &parts));
    let east = facts_of(&pipeline, "east");
    assert_eq!((east.generation, east.links[&id("west")].rtt_ms), (5, Some(70.0)), "the newest wins, in any order");
    assert_eq!(services(&pipeline), [("shop/api".to_owned(), 60.0), ("shop/web".to_owned(), 70.0)]);

    assert!(!pipeline.feed(applied(&part("east-1", 4, "api", 60))).all, "no change");
    assert!(pipeline.feed(applied(&part("east-1", 6, "web", 80))).all);
    assert_eq!(services(&pipeline), [("shop/web".to_owned(), 80.0)], "it is in both");
    pipeline.feed(deleted(Kind::ClusterFacts, "broker", "east-1"));
    assert_eq!(services(&pipeline), [("shop/web".to_owned(), 70.0)]);

    pipeline.feed(applied(&facts("east-0", "cluster: west")));
    let known: Vec<&str> = pipeline.stores().facts.objects.keys().map(ClusterId::as_str).collect();
    assert_eq!(known, ["west"], "an object that changes its cluster leaves the previous one");
    pipeline.feed(list(""));
    assert!(pipeline.stores().facts.objects.is_empty());
}

fn optimized(pipeline: &Pipeline) -> Option<Optimized> {
    pipeline.stores().settings.policies[&ObjectRef::new("bank", "pay")].optimized
}

#[test]
fn optimizer_settings_are_accepted_with_the_optimized_or_an_inherited_mode() {
    let accepted = |spec: &str| optimized(&synced("c1", &policy("bank", "pay", OLD, spec)));
    assert_eq!(accepted("{loadBalancing: optimized}"), None);
    let cost = Optimized { params: Some(Preset::Cost), ..Optimized::default() };
    assert_eq!(accepted("{optimizedLoadBalancingParams: cost}"), Some(cost));
    let all = "{loadBalancing: optimized, optimized: {usdPerMsPerMillionRequests: 0.05, targetUtilization: 0.8, \
               requestBytes: 500, responseBytes: 0, capacityRpsPerPod: 0.5, roundTripsPerRequest: 2.5, epsilonMs: 1, \
               roundSeconds: 60, burstiness: 2, requestsPerAnswer: 8}}";
    let expected = Optimized {
        rate: Some(0.05),
        params: None,
        target_utilization: Some(0.8),
        request_bytes: Some(500.0),
        response_bytes: Some(0.0),
        capacity_rps_per_pod: Some(0.5),
        round_trips: Some(2.5),
        epsilon_ms: Some(1.0),
        round_seconds: Some(60.0),
        burstiness: Some(2.0),
        requests_per_answer: Some(8.0),
    };
    assert_eq!(accepted(all), Some(expected));
}

#[test]
fn settings_out_of_range_are_refused_and_the_previous_ones_stay() {
    let right = "{optimized: {targetUtilization: 0.8}}";
    for (wrong, message) in [
        (
            "{optimized: {targetUtilization: 1.5}}",
            "spec.optimized.targetUtilization: 1.5 is not a number from 0.1 to 0.99",
        ),
        (
            "{optimized: {usdPerMsPerMillionRequests: 0}}",
            "spec.optimized.usdPerMsPerMillionRequests: 0 is not a number above 0, at most 1000",
        ),
        ("{optimized: {roundSeconds: 5}}", "spec.optimized.roundSeconds: 5 is not a number from 30 to 1200"),
        (
            "{loadBalancing: round-robin, optimized: {burstiness: 2}}",
            "spec.loadBalancing: \"round-robin\" is not optimized, which spec.optimized needs",
        ),
        (
            "{loadBalancing: round-robin, optimizedLoadBalancingParams: cost}",
            "spec.loadBalancing: \"round-robin\" is not optimized, which spec.optimizedLoadBalancingParams needs",
        ),
        (
            "{optimizedLoadBalancingParams: cost, optimized: {usdPerMsPerMillionRequests: 1}}",
            "spec.optimizedLoadBalancingParams and spec.optimized.usdPerMsPerMillionRequests exclude each other; set only \
             one of them",
        ),
    ] {
        let mut pipeline = synced("c1", &policy("bank", "pay", OLD, right));
        pipeline.feed(applied(&policy("bank", "pay", OLD, wrong)));
        assert_eq!(problem(&pipeline), format!("SelectionPolicy bank/pay: {message}"));
        assert_eq!(optimized(&pipeline).unwrap().target_utilization, Some(0.8));
    }
}

#[test]
fn changed_setting_replans_all_services() {
    let mut pipeline = synced("c1", &policy("bank", "pay", OLD, "{optimized: {epsilonMs: 1}}"));
    assert!(!pipeline.feed(applied(&policy("bank", "pay", OLD, "{optimized: {epsilonMs: 1}}"))).all);
    assert!(pipeline.feed(applied(&policy("bank", "pay", OLD, "{optimized: {epsilonMs: 2}}"))).all);
    let submariner = |params: &str| {
        let meta = "metadata: {name: submariner, namespace: submariner-operator}";
        format!(
            "apiVersion: submariner.io/v1alpha1\nkind: Submariner\n{meta}\nspec: {{optimizedLoadBalancingParams: {params}}}\n"
        )
    };
    pipeline.feed(applied(&submariner("cost")));
    let kept = &pipeline.stores().settings.submariners[&ObjectRef::new("submariner-operator", "submariner")];
    assert_eq!(kept.params, Some(Preset::Cost));
    assert!(pipeline.feed(applied(&submariner("mixed"))).all);
}

#[test]
fn unknown_field_in_a_file_is_reported_and_the_rest_is_used() {
    let spec =
        "{loadBalancing: weighted-round-robin, wieghts: [], weights: [{source: c1, clusters: {c2: 1}, note: a}]}";
    let yaml = policy("bank", "pay", OLD, spec);
    let value: serde_json::Value = serde_saphyr::from_str(yaml.trim_start_matches("---\n")).unwrap();
    let list = format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{value}]}}"#);
    for text in [yaml, value.to_string(), list] {
        let found = documents(&text);
        assert!(found[0].read.is_ok());
        let mut unknown = found[0].unknown.clone();
        unknown.sort_unstable();
        let expected = ["spec.weights[0].note", "spec.wieghts"]
            .map(|field| format!("SelectionPolicy bank/pay: {field}: there is no such field"));
        assert_eq!(unknown, expected);
    }
    let found = documents(&facts("east-0", "cluster: east, services: [{namespace: shop, name: web, demandRsp: 1}]"));
    let expected = ["ClusterFacts broker/east-0: spec.services[0].demandRsp: there is no such field"];
    assert_eq!(found[0].unknown, expected);
    let misspelt = "apiVersion: landfall.dev/v1alpha1\nkind: NetworkPricing\nmetadata: {name: ours}\n\
                    spec: {rules: [{to: {provder: aws}, usdPerGb: 0.02}]}\n";
    let refused = documents(misspelt).remove(0).read.unwrap_err();
    assert!(refused.what.starts_with("spec.rules[0].to.provder: there is no such field"), "{}", refused.what);
    let found = documents(&node("a", "us-east-1a", "t0"));
    assert!(found[0].unknown.is_empty(), "most fields of a node are not read");
}
