//! Id and location of the local cluster, as read at the start.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response};
use kube::Client;
use kube::client::Body;
use landfall_operator::kubernetes::connect::ConnectError;
use landfall_operator::kubernetes::identity::{cluster_id, location};
use serde_json::{Value, json};

const SUBMARINERS: &str = "/apis/submariner.io/v1alpha1/namespaces/submariner-operator/submariners";
const BETA_ID: &str = "/apis/about.k8s.io/v1beta1/clusterproperties/cluster.clusterset.k8s.io";
const ALPHA_ID: &str = "/apis/about.k8s.io/v1alpha1/clusterproperties/cluster.clusterset.k8s.io";
const BETA_LOCATION: &str = "/apis/about.k8s.io/v1beta1/clusterproperties/location.landfall.dev";

/// Returns a client of an API server with these objects by path. All other paths get the status `otherwise`.
fn server(objects: &[(&str, Value)], otherwise: u16) -> Client {
    let objects: Vec<(String, Value)> = objects.iter().map(|(path, body)| ((*path).to_owned(), body.clone())).collect();
    let service = tower::service_fn(move |request: Request<Body>| {
        let found = objects.iter().find(|(path, _)| path == request.uri().path()).map(|(_, body)| (200, body.clone()));
        let status = json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "no", "code": otherwise});
        let (code, body) = found.unwrap_or((otherwise, status));
        let response = Response::builder().status(code).body(Full::new(Bytes::from(body.to_string()))).unwrap();
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    Client::new(service, "default")
}

fn submariners(cluster_id: &str) -> Value {
    let submariner = json!({"metadata": {"name": "submariner"}, "spec": {"clusterID": cluster_id}});
    json!({"kind": "SubmarinerList", "apiVersion": "submariner.io/v1alpha1", "metadata": {}, "items": [submariner]})
}

fn property(version: &str, name: &str, value: &str) -> Value {
    let api_version = format!("about.k8s.io/{version}");
    json!({"apiVersion": api_version, "kind": "ClusterProperty", "metadata": {"name": name}, "spec": {"value": value}})
}

async fn id(objects: &[(&str, Value)], otherwise: u16) -> Result<String, ConnectError> {
    cluster_id(&server(objects, otherwise), "submariner-operator").await.map(|id| id.to_string())
}

#[tokio::test(start_paused = true)]
async fn id_is_the_one_of_submariner_otherwise_the_one_of_the_property() {
    let beta = || (BETA_ID, property("v1beta1", "cluster.clusterset.k8s.io", "west"));
    let alpha = || (ALPHA_ID, property("v1alpha1", "cluster.clusterset.k8s.io", "north"));
    assert_eq!(id(&[(SUBMARINERS, submariners("east")), beta()], 404).await.unwrap(), "east");
    assert_eq!(id(&[(SUBMARINERS, submariners("")), beta()], 404).await.unwrap(), "west", "not filled in yet");
    assert_eq!(id(&[beta(), alpha()], 404).await.unwrap(), "west", "Submariner is not installed");
    assert_eq!(id(&[alpha()], 404).await.unwrap(), "north");
}

#[tokio::test(start_paused = true)]
async fn missing_id_is_an_error_that_says_what_to_do() {
    let unnamed = (SUBMARINERS, submariners(""));
    for (objects, otherwise) in [(vec![], 404), (vec![unnamed.clone()], 403)] {
        let message = id(&objects, otherwise).await.unwrap_err().to_string();
        assert!(message.contains("--cluster-id") && message.contains("cluster.clusterset.k8s.io"), "{message}");
    }
    let no_label = (BETA_ID, property("v1beta1", "cluster.clusterset.k8s.io", "Not A Label"));
    assert!(matches!(id(&[unnamed, no_label], 404).await, Err(ConnectError::NoClusterId { .. })));
}

#[tokio::test(start_paused = true)]
async fn location_is_the_one_of_the_property_and_an_invalid_one_is_left_out() {
    let cluster = |value: &str| server(&[(BETA_LOCATION, property("v1beta1", "location.landfall.dev", value))], 404);
    let found = location(&cluster("aws/eu-west-1")).await.unwrap().unwrap();
    assert_eq!((found.provider.as_deref(), found.region.as_deref()), (Some("aws"), Some("eu-west-1")));
    for without in [cluster(""), cluster("aws/eu west 1"), server(&[], 404), server(&[], 403)] {
        assert_eq!(location(&without).await.unwrap(), None);
    }
}
