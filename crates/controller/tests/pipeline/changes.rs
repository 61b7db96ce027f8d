//! Which services a change affects, and that bad input does no harm.

use crate::support::{Feed, NOW, addresses, applied, deleted, import, list, pipeline, policy, slice, synced};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use landfall_controller::accept::fingerprint;
use landfall_controller::change::ObjectEvent;
use landfall_controller::manifest::{Document, documents};
use landfall_controller::object::{Kind, ObjectRef};
use landfall_controller::observe::perspective::RulesFrom;
use landfall_controller::publish::selection::{RoundInfo, selection_status};
use proptest::prelude::*;

fn web(ready: &[&str]) -> String {
    import("shop", "web", "ClusterSetIP", &["c2"]) + &slice("shop", "web", "c2", ready)
}

#[test]
fn first_plan_needs_complete_lists_of_all_kinds() {
    let mut pipeline = pipeline("c1", RulesFrom::Policies);
    let changes = list(&web(&["10.0.0.1"]));
    let last = changes.len() - 1;
    for (i, change) in changes.into_iter().enumerate() {
        assert!(pipeline.plan().is_none());
        pipeline.apply([change], NOW);
        assert_eq!(pipeline.plan().is_some(), i == last);
    }
}

#[test]
fn event_replans_only_the_services_that_it_names() {
    let other = import("shop", "db", "ClusterSetIP", &["c3"]);
    let mut pipeline = synced("c1", &(web(&["10.0.0.1"]) + &other));
    let before = pipeline.plan().unwrap().clone();
    pipeline.feed(applied(&slice("shop", "web", "c2", &["10.0.0.2"])));
    let after = pipeline.plan().unwrap();
    assert!(std::sync::Arc::ptr_eq(before.get("db.shop").unwrap(), after.get("db.shop").unwrap()));
    assert_eq!(addresses(after.get("web.shop").unwrap()), ["10.0.0.2"]);
}

#[test]
fn event_without_a_change_makes_no_new_plan() {
    let mut pipeline = synced("c1", &web(&["10.0.0.1"]));
    let before = pipeline.plan().unwrap().clone();
    pipeline.feed(applied(&web(&["10.0.0.1"])));
    pipeline.feed(list(&web(&["10.0.0.1"])));
    assert!(std::sync::Arc::ptr_eq(&before, pipeline.plan().unwrap()));
}

#[test]
fn object_missing_from_a_new_list_is_removed() {
    let mut pipeline = synced("c1", &(web(&["10.0.0.1"]) + &slice("shop", "web", "c3", &["10.0.0.3"])));
    assert_eq!(addresses(pipeline.service("web.shop")), ["10.0.0.1", "10.0.0.3"]);
    pipeline.feed(list(&web(&["10.0.0.1"])));
    assert_eq!(addresses(pipeline.service("web.shop")), ["10.0.0.1"]);
    pipeline.feed(list(""));
    assert!(pipeline.plan().unwrap().is_empty());
}

#[test]
fn objects_stay_while_a_list_is_under_way() {
    let mut pipeline = synced("c1", &web(&["10.0.0.1"]));
    pipeline.feed(vec![ObjectEvent::ListBegins(Kind::ServiceImport), ObjectEvent::ListBegins(Kind::EndpointSlice)]);
    assert_eq!(addresses(pipeline.service("web.shop")), ["10.0.0.1"]);
}

#[test]
fn deleted_import_is_no_service_even_if_its_slices_remain() {
    let mut pipeline = synced("c1", &web(&["10.0.0.1"]));
    pipeline.feed(deleted(Kind::ServiceImport, "shop", "web"));
    assert!(pipeline.plan().unwrap().is_empty());
    pipeline.feed(applied(&import("shop", "web", "ClusterSetIP", &["c2"])));
    assert_eq!(addresses(pipeline.service("web.shop")), ["10.0.0.1"]);
}

#[test]
fn slice_that_changes_its_service_leaves_the_previous_one() {
    let mut pipeline = synced("c1", &(web(&["10.0.0.1"]) + &import("shop", "api", "ClusterSetIP", &["c2"])));
    let moved = slice("shop", "api", "c2", &["10.0.0.1"]).replace("name: api-of-c2-x", "name: web-of-c2-x");
    pipeline.feed(applied(&moved));
    assert_eq!(addresses(pipeline.service("web.shop")), [""; 0]);
    assert_eq!(addresses(pipeline.service("api.shop")), ["10.0.0.1"]);
}

#[test]
fn cluster_with_slices_is_an_exporter_even_if_the_status_lacks_it() {
    let pipeline =
        synced("c1", &(import("shop", "web", "ClusterSetIP", &[]) + &slice("shop", "web", "c2", &["10.0.0.1"])));
    assert_eq!(pipeline.shares("web.shop"), ["c2 1000 Equal"]);
}

#[test]
fn replica_serves_the_published_selection_and_normalizes_by_health() {
    let policy = policy(
        "shop",
        "web",
        "2026-01-01T00:00:00Z",
        "{loadBalancing: weighted-round-robin, weights: [{source: c1, clusters: {c2: 1, c3: 3}}]}",
    );
    let objects = web(&["10.0.0.1"]) + &slice("shop", "web", "c3", &["10.0.0.3"]);
    let operator = synced("c1", &(objects.clone() + &policy));
    let status = selection_status(operator.service("web.shop"), operator.view(), RoundInfo::default());
    let mut published = landfall_api::ServiceSelection::new("web", Default::default());
    published.metadata.namespace = Some("shop".to_owned());
    published.status = Some(status);
    let published = format!("---\n{}", serde_json::to_string(&published).unwrap());

    let mut replica = pipeline("c1", RulesFrom::Selections);
    replica.apply(list(&objects), NOW);
    assert_eq!(replica.shares("web.shop"), ["c2 500 Equal", "c3 500 Equal"], "nothing is published yet");
    replica.feed(applied(&published));
    assert_eq!(replica.shares("web.shop"), ["c2 750 Weighted", "c3 250 Weighted"]);
    replica.feed(applied(&slice("shop", "web", "c2", &[])));
    assert_eq!(replica.shares("web.shop"), ["c2 0 NoReadyEndpoints", "c3 1000 Weighted"]);
    replica.feed(applied(&slice("shop", "web", "c4", &["10.0.0.4"])));
    replica.feed(applied(&slice("shop", "web", "c3", &[])));
    let shares = replica.shares("web.shop");
    assert_eq!(shares[2], "c4 1000 Equal", "a new exporter answers if no other can: {shares:?}");
}

#[test]
fn times_and_round_trip_times_alone_do_not_cause_a_write() {
    let operator = synced("c1", &web(&["10.0.0.1"]));
    let status = selection_status(operator.service("web.shop"), operator.view(), RoundInfo::default());
    let mut later = status.clone();
    later.observed_time = Some(Time(Timestamp::MAX));
    later.clusters[0].rtt_ms = Some(12.5);
    assert_eq!(fingerprint(&status), fingerprint(&later));
    later.clusters[0].weight -= 1;
    assert_ne!(fingerprint(&status), fingerprint(&later));
}

#[test]
fn endpoint_slice_port_without_a_number_is_ignored() {
    let slice = slice("shop", "web", "c2", &["10.0.0.1"]);
    let headless = import("shop", "web", "Headless", &["c2"]);
    for ports in
        ["ports: [{}]", "ports: [{name: http}]", "ports: null", "ports: [{name: null, port: null, protocol: null}]"]
    {
        let pipeline = synced("c1", &(headless.clone() + &slice.replace("ports: []", ports)));
        assert_eq!(addresses(pipeline.service("web.shop")), ["10.0.0.1"]);
    }
}

#[test]
fn null_and_absent_fields_are_empty() {
    let import = "---\napiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata: {name: web, namespace: shop, labels: null, annotations: null}\nspec: {type: ClusterSetIP, ips: null}\nstatus: null\n";
    let slice = |rest: &str| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s, namespace: shop, labels: {{multicluster.kubernetes.io/service-name: web, multicluster.kubernetes.io/source-cluster: c2}}}}\naddressType: IPv4\n{rest}\n"
        )
    };
    for rest in
        ["", "endpoints: null", "endpoints: [{}]", "endpoints: [{addresses: null, conditions: null, hostname: null}]"]
    {
        let pipeline = synced("c1", &(import.to_owned() + &slice(rest)));
        assert_eq!(pipeline.shares("web.shop"), ["c2 0 NoReadyEndpoints"], "{rest}");
    }
    let ready =
        synced("c1", &(import.to_owned() + &slice("endpoints: [{addresses: [10.0.0.1], conditions: {ready: null}}]")));
    assert_eq!(ready.shares("web.shop"), ["c2 1000 Equal"], "without a readiness, it is ready");
}

#[test]
fn unusable_addresses_are_left_out_and_reported() {
    for wrong in
        ["127.0.0.1", "0.0.0.0", "169.254.1.1", "224.0.0.1", "255.255.255.255", "fd00::1", "example.org", "10.0.0", ""]
    {
        let pipeline = synced("c1", &web(&["10.0.0.1", &format!("\"{wrong}\"")]));
        assert_eq!(addresses(pipeline.service("web.shop")), ["10.0.0.1"], "{wrong}");
        let problem = pipeline.stores().problems().next().unwrap().to_string();
        assert!(problem.contains(&format!("endpoints: {wrong:?} is not an address of type \"IPv4\"")), "{problem}");
    }
}

#[test]
fn ten_thousand_endpoints_of_one_service_are_accepted() {
    let all: Vec<String> = (0..10_000).map(|i| format!("10.1.{}.{}", i / 250, i % 250 + 1)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let pipeline = synced("c1", &web(&all));
    assert_eq!(addresses(pipeline.service("web.shop")).len(), 10_000);
}

#[test]
fn refused_object_is_reported_once_and_its_previous_version_stays() {
    let mut pipeline = synced("c1", &web(&["10.0.0.1"]));
    let wrong = slice("shop", "web", "c2", &["10.0.0.2"]).replace("source-cluster: c2", "source-cluster: C_2");
    let touched = pipeline.feed(applied(&wrong));
    let problem = touched.problems[0].to_string();
    assert!(
        problem
            .starts_with("EndpointSlice shop/web-of-c2-x: metadata.labels[multicluster.kubernetes.io/source-cluster]"),
        "{problem}"
    );
    assert_eq!(addresses(pipeline.service("web.shop")), ["10.0.0.1"], "the previous version");
    assert!(pipeline.feed(applied(&wrong)).problems.is_empty(), "reported once");
    pipeline.feed(applied(&slice("shop", "web", "c2", &["10.0.0.2"])));
    assert_eq!(pipeline.stores().problems().count(), 0);
    assert_eq!(addresses(pipeline.service("web.shop")), ["10.0.0.2"]);
}

#[test]
fn problem_of_a_deleted_object_is_removed() {
    let mut pipeline = synced("c1", &web(&["10.0.0.1"]).replace("ClusterSetIP", "Sideways"));
    assert_eq!(pipeline.stores().problems().count(), 1);
    pipeline.feed(vec![ObjectEvent::Delete(Kind::ServiceImport, ObjectRef::new("shop", "web"))]);
    assert_eq!(pipeline.stores().problems().count(), 0);
}

#[test]
fn malformed_document_is_reported_with_its_line_and_the_others_are_read() {
    let wrong_mode = policy("shop", "web", "2026-01-01T00:00:00Z", "\n  loadBalancing: fastest");
    let text = format!(
        "{}---\nkind: [\n{wrong_mode}---\napiVersion: v1\nkind: Secret\ndata: {{a: [}}\n{}",
        web(&["10.0.0.1"]),
        web(&["10.0.0.1"])
    );
    let found = documents(&text);
    let problem = |found: &Document| found.read.as_ref().err().map(|e| (found.line + e.line, e.what.clone()));
    let problems: Vec<(usize, String)> = found.iter().filter_map(problem).collect();
    assert_eq!(problems.len(), 2, "other kinds are not read: {problems:?}");
    assert_eq!(found.len(), 6);
    let expected = "SelectionPolicy shop/web: spec.loadBalancing: unknown variant `fastest`, expected one of round-robin, \
                    weighted-round-robin, optimized";
    assert_eq!(problems[1].1, expected);
    assert_eq!(text.lines().nth(problems[1].0 - 1).map(str::trim), Some("loadBalancing: fastest"));
}

#[test]
fn json_and_lists_are_read_like_yaml() {
    let documents_of =
        |text: &str| documents(text).into_iter().map(|document| document.read.unwrap()).collect::<Vec<_>>();
    let yaml = documents_of(&web(&["10.0.0.1"]));
    let items: Vec<&str> = vec![
        r#"{"apiVersion":"multicluster.x-k8s.io/v1beta1","kind":"ServiceImport","metadata":{"name":"web","namespace":"shop"},"spec":{"type":"ClusterSetIP","ports":[]},"status":{"clusters":[{"cluster":"c2"}]}}"#,
        r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"web-of-c2-x","namespace":"shop","labels":{"multicluster.kubernetes.io/service-name":"web","multicluster.kubernetes.io/source-cluster":"c2"}},"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true}}],"ports":[]}"#,
    ];
    assert_eq!(documents_of(&items.join("\n")), yaml);
    let list = format!(r#"{{"apiVersion":"v1","kind":"List","items":[{}]}}"#, items.join(","));
    assert_eq!(documents_of(&list), yaml);
    assert_eq!(documents_of(&format!("# a comment\n---\n{list}\n...\n")), yaml);
    let indented: String = web(&["10.0.0.1"])
        .trim_start_matches("---\n")
        .split("---\n")
        .map(|item| {
            item.lines()
                .enumerate()
                .map(|(i, line)| format!("{}{line}\n", if i == 0 { "- " } else { "  " }))
                .collect::<String>()
        })
        .collect();
    assert_eq!(documents_of(&format!("apiVersion: v1\nkind: List\nitems:\n{indented}")), yaml);
}

/// Any value in place of another one.
fn junk() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "[ -~]{0,12}".prop_map(Into::into),
        Just(serde_json::json!([])),
        Just(serde_json::json!({})),
        Just(serde_json::json!([null, "a"])),
    ]
}

/// Collects all places in a value, as JSON pointers.
fn places(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    if let Some(map) = value.as_object() {
        map.iter().for_each(|(key, value)| places(value, &format!("{at}/{}", key.replace('/', "~1")), found));
    }
    if let Some(items) = value.as_array() {
        items.iter().enumerate().for_each(|(i, value)| places(value, &format!("{at}/{i}"), found));
    }
}

fn originals() -> Vec<serde_json::Value> {
    let policy = policy(
        "shop",
        "web",
        "2026-01-01T00:00:00Z",
        "{loadBalancing: weighted-round-robin, localPreference: Prefer, minShares: {c2: 5%}, targetRefs: [{name: web}], weights: [{source: c1, clusters: {c2: 1}}]}",
    );
    let optimizer = "apiVersion: v1\nkind: Node\nmetadata: {name: a, labels: {topology.kubernetes.io/zone: z}}\nspec: \
                     {providerID: \"aws:///us-east-1a/i-0\"}\n---\napiVersion: landfall.dev/v1alpha1\nkind: \
                     NetworkPricing\nmetadata: {name: default}\nspec: {rules: [{from: {provider: aws}, relation: \
                     SameZone, usdPerGb: 0}]}\n---\napiVersion: landfall.dev/v1alpha1\nkind: ClusterFacts\nmetadata: \
                     {name: c2, namespace: shop}\nspec: {cluster: c2, links: [{cluster: c1, rttMs: 3}], services: \
                     [{namespace: shop, name: web, capacityRps: 9}]}\n";
    let texts = include_str!("newer.yaml").to_owned() + "---\n" + &policy + "---\n" + optimizer;
    texts
        .split("---\n")
        .filter(|text| text.contains("kind:"))
        .map(|text| serde_saphyr::from_str(text).unwrap())
        .collect()
}

proptest! {
    #[test]
    fn damaged_object_does_no_harm(
        which in 0..64_usize, place in any::<prop::sample::Index>(), junk in junk(),
    ) {
        let originals = originals();
        let mut damaged = originals[which % originals.len()].clone();
        let mut found = Vec::new();
        places(&damaged, "", &mut found);
        let place: &String = place.get(&found);
        *damaged.pointer_mut(place).unwrap() = junk;

        let mut pipeline = synced("c1", &web(&["10.0.0.1"]));
        for document in documents(&damaged.to_string()) {
            if let Ok(object) = document.read {
                pipeline.feed(vec![ObjectEvent::Apply { object, origin: None }]);
            }
        }
        prop_assert!(pipeline.plan().unwrap().get("web.shop").is_some());
        for (_, planned) in pipeline.plan().unwrap().services() {
            let sum: u32 = planned.shares.iter().map(|share| share.weight).sum();
            prop_assert!(sum == 0 || sum == 1000);
        }
    }
}
