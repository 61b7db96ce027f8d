//! Events of a watch on an API server that serves some kinds and not others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response};
use kube::Client;
use kube::client::Body;
use landfall_controller::change::ObjectEvent;
use landfall_controller::object::{Kind, Object};
use landfall_operator::kubernetes::watch::{Scope, watch};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Attempts after which a denial is final.
const MANY: u32 = 60;

/// An API server, as a function from a path and the number of the request to a status and a body. `None`: no answer, as
/// to a watch without events.
type Server = fn(&str, u32) -> Option<(u16, Value)>;

struct Watched {
    changes: mpsc::Receiver<ObjectEvent>,
    requests: Arc<AtomicU32>,
    _tasks: JoinSet<()>,
}

impl Watched {
    fn start(kind: Kind, server: Server) -> Self {
        Self::start_in(Scope::All, kind, server)
    }

    fn start_in(scope: Scope, kind: Kind, server: Server) -> Self {
        let requests = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&requests);
        let service = tower::service_fn(move |request: Request<Body>| {
            let number = counter.fetch_add(1, Ordering::Relaxed);
            let answer = server(&request.uri().to_string(), number);
            async move {
                let Some((status, body)) = answer else { return std::future::pending().await };
                let response = Response::builder().status(status).body(Full::new(Bytes::from(body.to_string())));
                Ok::<_, std::convert::Infallible>(response.unwrap())
            }
        });
        let (sender, changes) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        tasks.spawn(watch(Client::new(service, "default"), kind, scope, sender, || {}));
        Self { changes, requests, _tasks: tasks }
    }

    async fn next(&mut self) -> String {
        match self.changes.recv().await.unwrap() {
            ObjectEvent::ListBegins(kind) => format!("{kind}: list"),
            ObjectEvent::ListEnds(kind) => format!("{kind}: complete"),
            ObjectEvent::Interrupted(kind, _) => format!("{kind}: interrupted"),
            ObjectEvent::Apply { object: Object::Node(node), .. } => format!("node {}", node.metadata.name),
            other @ (ObjectEvent::Apply { .. } | ObjectEvent::Delete(..) | ObjectEvent::Malformed(_)) => {
                panic!("{other:?}")
            }
        }
    }

    /// Returns the events up to the end of a list.
    async fn until_complete(&mut self) -> Vec<String> {
        let mut changes = Vec::new();
        while !changes.last().is_some_and(|last: &String| last.ends_with("complete")) {
            changes.push(self.next().await);
        }
        changes
    }
}

fn resources(group_version: &str, plural: &str, kind: &str) -> Option<(u16, Value)> {
    let resource =
        json!({"name": plural, "singularName": "", "namespaced": false, "kind": kind, "verbs": ["list", "watch"]});
    let list = json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": [resource]});
    Some((200, list))
}

fn refused(code: u16, reason: &str) -> Option<(u16, Value)> {
    Some((code, json!({"kind": "Status", "status": "Failure", "message": reason, "reason": reason, "code": code})))
}

#[tokio::test(start_paused = true)]
async fn nodes_are_watched_in_the_core_group() {
    let mut watched = Watched::start(Kind::Node, |path, _| match path {
        "/api/v1" => resources("v1", "nodes", "Node"),
        path if path.starts_with("/api/v1/nodes?") && path.contains("watch=") => None,
        path if path.starts_with("/api/v1/nodes?") => {
            let item = json!({"metadata": {"name": "a"}, "spec": {"providerID": "aws:///us-east-1a/i-0"}});
            Some((200, json!({"kind": "NodeList", "metadata": {"resourceVersion": "7"}, "items": [item]})))
        }
        other => panic!("unexpected request for {other}"),
    });
    assert_eq!(watched.until_complete().await, ["Node: list", "node a", "Node: complete"]);
}

#[tokio::test(start_paused = true)]
async fn optional_kind_has_no_objects_until_it_is_installed() {
    let mut watched = Watched::start(Kind::NetworkPricing, |path, number| match path {
        "/apis/landfall.dev/v1alpha1" if number < 3 => refused(404, "NotFound"),
        "/apis/landfall.dev/v1alpha1" => resources("landfall.dev/v1alpha1", "networkpricings", "NetworkPricing"),
        path if path.contains("watch=") => None,
        _ => Some((200, json!({"kind": "NetworkPricingList", "metadata": {"resourceVersion": "7"}, "items": []}))),
    });
    for _ in 0..3 {
        assert_eq!(watched.until_complete().await, ["NetworkPricing: list", "NetworkPricing: complete"]);
        assert_eq!(watched.next().await, "NetworkPricing: interrupted");
    }
    assert_eq!(watched.until_complete().await, ["NetworkPricing: list", "NetworkPricing: complete"]);
}

#[tokio::test(start_paused = true)]
async fn denial_of_an_optional_kind_is_final_only_after_many_attempts() {
    let mut watched = Watched::start(Kind::Node, |path, _| match path {
        "/api/v1" => resources("v1", "nodes", "Node"),
        _ => refused(403, "Forbidden"),
    });
    let changes = watched.until_complete().await;
    let requests = watched.requests.load(Ordering::Relaxed);
    assert!(requests >= 2 * MANY, "it was final after {requests} requests");
    assert!(changes.iter().filter(|change| change.ends_with("interrupted")).count() >= MANY as usize - 1);
}

#[tokio::test(start_paused = true)]
async fn missing_required_kind_never_has_a_complete_list() {
    let mut watched = Watched::start(Kind::SelectionPolicy, |_, _| refused(404, "NotFound"));
    for _ in 0..3 * MANY {
        assert_eq!(watched.next().await, "SelectionPolicy: interrupted");
    }
}

#[tokio::test(start_paused = true)]
async fn server_error_is_not_an_empty_list() {
    let mut watched = Watched::start(Kind::Node, |path, _| match path {
        "/api/v1" => resources("v1", "nodes", "Node"),
        _ => refused(500, "InternalError"),
    });
    for _ in 0..3 * MANY {
        let change = watched.next().await;
        assert!(change.ends_with("list") || change.ends_with("interrupted"), "{change}");
    }
}

#[tokio::test(start_paused = true)]
async fn scope_clusterset_selects_its_slices_and_scope_all_selects_every_slice() {
    let complete = ["EndpointSlice: list", "EndpointSlice: complete"];
    let mut all = Watched::start_in(Scope::All, Kind::EndpointSlice, |path, _| slices(path, false));
    assert_eq!(all.until_complete().await, complete);
    let mut clusterset = Watched::start_in(Scope::Clusterset, Kind::EndpointSlice, |path, _| slices(path, true));
    assert_eq!(clusterset.until_complete().await, complete);
}

#[tokio::test(start_paused = true)]
async fn cluster_facts_of_users_are_watched_in_our_own_namespace_alone() {
    let scope = Scope::All.of(Kind::ClusterFacts, "ours");
    let mut watched = Watched::start_in(scope, Kind::ClusterFacts, |path, _| match path {
        "/apis/landfall.dev/v1alpha1" => resources("landfall.dev/v1alpha1", "clusterfacts", "ClusterFacts"),
        path if !path.starts_with("/apis/landfall.dev/v1alpha1/namespaces/ours/clusterfacts?") => {
            panic!("unexpected request for {path}")
        }
        path if path.contains("watch=") => None,
        _ => Some((200, json!({"kind": "ClusterFactsList", "metadata": {"resourceVersion": "7"}, "items": []}))),
    });
    assert_eq!(watched.until_complete().await, ["ClusterFacts: list", "ClusterFacts: complete"]);
    assert_eq!(Scope::All.of(Kind::Node, "ours"), Scope::All);
}

/// API server with EndpointSlices. Panics unless a request has the label selector of the clusterset exactly if
/// `selected`.
fn slices(path: &str, selected: bool) -> Option<(u16, Value)> {
    match path {
        "/apis/discovery.k8s.io/v1" => resources("discovery.k8s.io/v1", "endpointslices", "EndpointSlice"),
        path if path.contains("labelSelector=multicluster.kubernetes.io%2Fservice-name") != selected => {
            panic!("unexpected request for {path}")
        }
        path if path.contains("watch=") => None,
        _ => Some((200, json!({"kind": "EndpointSliceList", "metadata": {"resourceVersion": "7"}, "items": []}))),
    }
}
