//! How many pods answer for the exports of the local cluster, by the slices that Kubernetes keeps of its own services.

use std::collections::BTreeSet;

use landfall_controller::change::ObjectEvent;
use landfall_controller::change::{Change, Touched};
use landfall_controller::object::Kind;
use landfall_controller::pipeline::Pipeline;
use landfall_controller::targets::meters;
use landfall_core::name::ServiceKey;

use proptest::prelude::*;

use crate::support::{Feed, applied, deleted, import, policy, slice, synced};

/// A slice as Kubernetes writes it. Endpoints are a pod, an address and whether it is ready; an empty pod: none is named.
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

/// Exported by `east` and `west` behind one service IP each.
fn web(mode: &str) -> String {
    let policy = policy("shop", "web", "2026-01-01T00:00:00Z", &format!("{{loadBalancing: {mode}}}"));
    let slices = slice("shop", "web", "east", &["10.0.0.1"]) + &slice("shop", "web", "west", &["10.0.0.2"]);
    import("shop", "web", "ClusterSetIP", &["east", "west"]) + &policy + &slices
}

fn count(pipeline: &Pipeline, service: &str) -> Option<usize> {
    pipeline.stores().services.pods.count(&ServiceKey::new("shop", service).unwrap())
}

/// Of east and west, in requests per second.
fn capacities(pipeline: &Pipeline) -> Vec<f64> {
    let candidates = &pipeline.service("web.shop").rule.candidates;
    candidates.iter().map(|candidate| candidate.terms.unwrap().capacity_rps.round()).collect()
}

fn touches_web(touched: &Touched) -> bool {
    !touched.all && touched.services == [ServiceKey::new("shop", "web").unwrap()].into()
}

#[test]
fn ready_pods_are_counted_once_however_many_addresses_and_slices_they_have() {
    let four = own("web-v4", "web", &[("a", "10.1.0.1", true), ("b", "10.1.0.2", true), ("c", "10.1.0.3", false)]);
    let six = own("web-v6", "web", &[("b", "fd00::2", true), ("a", "fd00::1", true)]);
    let mut pipeline = synced("east", &(web("optimized") + &four + &six));
    assert_eq!(count(&pipeline, "web"), Some(2));
    pipeline.feed(applied(&own("web-more", "web", &[("d", "10.1.0.4", true), ("", "10.1.0.9", true)])));
    assert_eq!(count(&pipeline, "web"), Some(4), "what is no pod counts by its address");
    assert_eq!(count(&pipeline, "pay"), None, "nothing is known of it");
}

#[test]
fn the_local_export_bears_what_its_ready_pods_do_and_another_what_is_seen_of_it() {
    let pods = own("web-1", "web", &[("a", "10.1.0.1", true), ("b", "10.1.0.2", true), ("c", "10.1.0.3", true)]);
    let mut pipeline = synced("east", &web("optimized"));
    assert_eq!(capacities(&pipeline), [100.0, 100.0], "one address each");
    assert!(touches_web(&pipeline.feed(applied(&pods))));
    assert_eq!(capacities(&pipeline), [300.0, 100.0]);
    assert!(touches_web(&pipeline.feed(deleted(Kind::EndpointSlice, "shop", "web-1"))));
    assert_eq!(capacities(&pipeline), [100.0, 100.0]);
}

/// The pods that are to be metered, export by export.
fn metered(pipeline: &mut Pipeline) -> Vec<BTreeSet<Box<str>>> {
    pipeline.feed(vec![Change::Leads(true)]);
    let pods = meters(pipeline).into_values().map(|meter| meter.pods).collect();
    pipeline.feed(vec![Change::Leads(false)]);
    pods
}

#[test]
fn pods_touch_nothing_but_an_optimised_import_of_which_others_are_ready() {
    let untouched = |touched: Touched| assert_eq!(touched, Touched::default());
    let one = own("web-1", "web", &[("a", "10.1.0.1", true)]);
    let mut plain = synced("east", &web("round-robin"));
    untouched(plain.feed(applied(&one)));
    untouched(plain.feed(deleted(Kind::EndpointSlice, "shop", "web-1")));

    let mut pipeline = synced("east", &(web("optimized") + &one));
    untouched(pipeline.feed(applied(&own("pay-1", "pay", &[("a", "10.1.0.1", true)]))));
    untouched(pipeline.feed(applied(&own("web-1", "web", &[("b", "10.1.0.2", false), ("a", "10.1.0.1", true)]))));
    let swapped = own("web-1", "web", &[("b", "10.1.0.2", true), ("a", "10.1.0.1", false)]);
    assert!(touches_web(&pipeline.feed(applied(&swapped))), "another one is to be metered");
    assert_eq!(metered(&mut pipeline), [BTreeSet::from(["b".into()])]);
    untouched(pipeline.feed(applied(&own("web-2", "web", &[("b", "10.1.0.2", true)]))));
    untouched(pipeline.feed(deleted(Kind::EndpointSlice, "shop", "web-2")));
    assert!(touches_web(&pipeline.feed(applied(&own("web-1", "web", &[("b", "10.1.0.2", false)])))));
    assert_eq!(count(&pipeline, "web"), Some(0));
}

#[test]
fn a_slice_whose_labels_change_is_where_they_say_and_nowhere_else() {
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
fn a_slice_that_is_not_in_a_new_list_is_gone_and_one_of_no_service_is_no_problem() {
    let nobodys = own("x-1", "Not_A_Name", &[("a", "10.1.0.1", true)]);
    let one = own("web-1", "web", &[("a", "10.1.0.1", true)]);
    let mut pipeline = synced("east", &(web("optimized") + &one + &nobodys));
    assert_eq!((count(&pipeline, "web"), pipeline.stores().problems().count()), (Some(1), 0));
    pipeline.feed(vec![ObjectEvent::ListBegins(Kind::EndpointSlice), ObjectEvent::ListEnds(Kind::EndpointSlice)]);
    assert_eq!(count(&pipeline, "web"), None);
}

/// What happens to a slice.
#[derive(Debug, Clone, Copy)]
enum Event {
    Deleted,
    /// Of a service of the cluster, with pods from the first up to the second.
    Own(&'static str, usize, usize),
    OfClusterset,
    OfNobody,
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
        1 => Just(Event::OfNobody),
    ]
}

/// `None`: it is deleted.
fn manifest(name: &str, event: Event) -> Option<String> {
    match event {
        Event::Deleted => None,
        Event::Own(service, first, end) => Some(own(name, service, &PODS[first..end])),
        Event::OfClusterset => Some(slice("shop", "web", "east", &["10.0.0.7"]).replace("web-of-east-x", name)),
        Event::OfNobody => Some(own(name, "Not_A_Name", &PODS)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn after_any_events_the_stores_are_as_if_only_the_last_ones_had_been(
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
