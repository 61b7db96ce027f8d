//! Ready pods of the exports of the local cluster, from the slices that Kubernetes keeps for its services.

use std::collections::BTreeSet;

use landfall_controller::change::{Change, ObjectEvent, Touched};
use landfall_controller::object::Kind;
use landfall_controller::pipeline::Pipeline;
use landfall_controller::targets::load_targets;
use landfall_core::name::ServiceKey;

use proptest::prelude::*;

use crate::support::{Feed, applied, deleted, import, policy, slice, synced};

/// Returns a slice as Kubernetes writes it. An endpoint is a pod, an address, and its readiness; without a pod, the
/// name is empty.
pub(crate) fn own(name: &str, service: &str, endpoints: &[(&str, &str, bool)]) -> String {
    let endpoint = |(pod, address, ready): &(&str, &str, bool)| {
        let target = match *pod {
            "" => "null".to_owned(),
            pod => format!("{{kind: Pod, name: {pod}, namespace: shop}}"),
        };
        format!("{{addresses: ['{address}'], conditions: {{ready: {ready}}}, targetRef: {target}}}")
    };
    let endpoints: Vec<String> = endpoints.iter().map(endpoint).collect();
    let family = if endpoints.concat().contains("fd00:") { "IPv6" } else { "IPv4" };
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}\n  namespace: shop\n  labels: \
         {{kubernetes.io/service-name: {service}, endpointslice.kubernetes.io/managed-by: \
         endpointslice-controller.k8s.io}}\naddressType: {family}\nendpoints: [{}]\nports: []\n",
        endpoints.join(", ")
    )
}

/// Returns a service that `east` and `west` export with one service IP each.
fn web(mode: &str) -> String {
    let policy = policy("shop", "web", "2026-01-01T00:00:00Z", &format!("{{loadBalancing: {mode}}}"));
    let slices = slice("shop", "web", "east", &["10.0.0.1"]) + &slice("shop", "web", "west", &["10.0.0.2"]);
    import("shop", "web", "ClusterSetIP", &["east", "west"]) + &policy + &slices
}

fn count(pipeline: &Pipeline, service: &str) -> Option<usize> {
    pipeline.stores().services.pods.count(&ServiceKey::new("shop", service).unwrap())
}

/// Returns the capacities of east and west, in requests per second.
fn capacities(pipeline: &Pipeline) -> Vec<f64> {
    let candidates = &pipeline.service("web.shop").rule.candidates;
    candidates.iter().map(|candidate| candidate.terms.unwrap().capacity_rps.round()).collect()
}

fn touches_web(touched: &Touched) -> bool {
    !touched.all && touched.services == [ServiceKey::new("shop", "web").unwrap()].into()
}

#[test]
fn ready_pods_are_counted_once_regardless_of_addresses_and_slices() {
    let four = own("web-v4", "web", &[("a", "10.1.0.1", true), ("b", "10.1.0.2", true), ("c", "10.1.0.3", false)]);
    let six = own("web-v6", "web", &[("b", "fd00::2", true), ("a", "fd00::1", true)]);
    let mut pipeline = synced("east", &(web("optimized") + &four + &six));
    assert_eq!(count(&pipeline, "web"), Some(2));
    pipeline.feed(applied(&own("web-more", "web", &[("d", "10.1.0.4", true), ("", "10.1.0.9", true)])));
    assert_eq!(count(&pipeline, "web"), Some(4), "an endpoint without a pod counts by its address");
    assert_eq!(count(&pipeline, "pay"), None, "it has no slices");
}

#[test]
fn capacity_of_the_local_export_comes_from_ready_pods_and_of_others_from_endpoints() {
    let pods = own("web-1", "web", &[("a", "10.1.0.1", true), ("b", "10.1.0.2", true), ("c", "10.1.0.3", true)]);
    let mut pipeline = synced("east", &web("optimized"));
    assert_eq!(capacities(&pipeline), [100.0, 100.0], "one address each");
    assert!(touches_web(&pipeline.feed(applied(&pods))));
    assert_eq!(capacities(&pipeline), [300.0, 100.0]);
    assert!(touches_web(&pipeline.feed(deleted(Kind::EndpointSlice, "shop", "web-1"))));
    assert_eq!(capacities(&pipeline), [100.0, 100.0]);
}

/// Returns the pods of each load target.
fn measured_pods(pipeline: &mut Pipeline) -> Vec<BTreeSet<Box<str>>> {
    pipeline.feed(vec![Change::Leads(true)]);
    let pods = load_targets(pipeline).into_values().map(|meter| meter.pods).collect();
    pipeline.feed(vec![Change::Leads(false)]);
    pods
}

#[test]
fn changed_pods_replan_only_an_optimized_import_with_other_ready_pods() {
    let untouched = |touched: Touched| assert_eq!(touched, Touched::default());
    let one = own("web-1", "web", &[("a", "10.1.0.1", true)]);
    let mut plain = synced("east", &web("round-robin"));
    untouched(plain.feed(applied(&one)));
    untouched(plain.feed(deleted(Kind::EndpointSlice, "shop", "web-1")));

    let mut pipeline = synced("east", &(web("optimized") + &one));
    untouched(pipeline.feed(applied(&own("pay-1", "pay", &[("a", "10.1.0.1", true)]))));
    untouched(pipeline.feed(applied(&own("web-1", "web", &[("b", "10.1.0.2", false), ("a", "10.1.0.1", true)]))));
    let swapped = own("web-1", "web", &[("b", "10.1.0.2", true), ("a", "10.1.0.1", false)]);
    assert!(touches_web(&pipeline.feed(applied(&swapped))), "another pod is measured");
    assert_eq!(measured_pods(&mut pipeline), [BTreeSet::from(["b".into()])]);
    untouched(pipeline.feed(applied(&own("web-2", "web", &[("b", "10.1.0.2", true)]))));
    untouched(pipeline.feed(deleted(Kind::EndpointSlice, "shop", "web-2")));
    assert!(touches_web(&pipeline.feed(applied(&own("web-1", "web", &[("b", "10.1.0.2", false)])))));
    assert_eq!(count(&pipeline, "web"), Some(0));
}

#[test]
fn slice_with_changed_labels_moves_to_the_other_service() {
    let of = |service: &str| own("web-of-east-x", service, &[("a", "10.1.0.1", true), ("b", "10.1.0.2", true)]);
    let mut pipeline = synced("east", &web("optimized"));
    assert_eq!(capacities(&pipeline), [100.0, 100.0]);
    pipeline.feed(applied(&of("web")));
    assert_eq!(
        (count(&pipeline, "web"), pipeline.shares("web.shop")[0].as_str()),
        (Some(2), "east 0 NoReadyEndpoints")
    );
    pipeline.feed(applied(&of("pay")));
    assert_eq!((count(&pipeline, "web"), count(&pipeline, "pay")), (None, Some(2)));
    pipeline.feed(applied(&slice("shop", "web", "east", &["10.0.0.1"])));
    assert_eq!((count(&pipeline, "web"), count(&pipeline, "pay")), (None, None));
    assert_ne!(pipeline.shares("web.shop")[0], "east 0 NoReadyEndpoints");
}

#[test]
fn slice_missing_from_a_new_list_is_removed_and_one_without_a_service_is_ignored() {
    let other = own("x-1", "Not_A_Name", &[("a", "10.1.0.1", true)]);
    let one = own("web-1", "web", &[("a", "10.1.0.1", true)]);
    let mut pipeline = synced("east", &(web("optimized") + &one + &other));
    assert_eq!((count(&pipeline, "web"), pipeline.stores().problems().count()), (Some(1), 0));
    pipeline.feed(vec![ObjectEvent::ListBegins(Kind::EndpointSlice), ObjectEvent::ListEnds(Kind::EndpointSlice)]);
    assert_eq!(count(&pipeline, "web"), None);
}

/// An event for a slice.
#[derive(Debug, Clone, Copy)]
enum Event {
    Deleted,
    /// Applied as a slice of a local service, with a range of pods.
    Own(&'static str, usize, usize),
    /// Applied as a slice of the clusterset.
    OfClusterset,
    /// Applied as a slice without a valid service.
    WithoutService,
}

const PODS: [(&str, &str, bool); 5] = [
    ("a", "10.1.0.1", true),
    ("b", "10.1.0.2", true),
    ("c", "10.1.0.3", false),
    ("d", "10.1.0.4", true),
    ("", "10.1.0.5", true),
];

fn event() -> impl Strategy<Value = Event> {
    let own = (prop_oneof![Just("web"), Just("pay")], 0..5_usize, 0..=5_usize);
    prop_oneof![
        1 => Just(Event::Deleted),
        3 => own.prop_map(|(service, first, end)| Event::Own(service, first.min(end), end)),
        1 => Just(Event::OfClusterset),
        1 => Just(Event::WithoutService),
    ]
}

/// Returns the manifest after an event. Returns `None` if the slice is deleted.
fn manifest(name: &str, event: Event) -> Option<String> {
    match event {
        Event::Deleted => None,
        Event::Own(service, first, end) => Some(own(name, service, &PODS[first..end])),
        Event::OfClusterset => Some(slice("shop", "web", "east", &["10.0.0.7"]).replace("web-of-east-x", name)),
        Event::WithoutService => Some(own(name, "Not_A_Name", &PODS)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn stores_depend_only_on_the_last_event_of_each_object(
        events in proptest::collection::vec((0..3_usize, event()), 1..20),
    ) {
        let names = ["x", "y", "z"];
        let mut pipeline = synced("east", &web("round-robin"));
        let mut left = [const { None }; 3];
        for (which, event) in events {
            left[which] = manifest(names[which], event);
            match &left[which] {
                Some(manifest) => pipeline.feed(applied(manifest)),
                None => pipeline.feed(deleted(Kind::EndpointSlice, "shop", names[which])),
            };
        }
        let fresh = synced("east", &(web("round-robin") + &left.into_iter().flatten().collect::<String>()));
        for service in ["web", "pay"] {
            prop_assert_eq!(count(&pipeline, service), count(&fresh, service));
        }
        prop_assert_eq!(&pipeline.stores().services.slices, &fresh.stores().services.slices);
    }
}
