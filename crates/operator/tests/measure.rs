//! Requests to a Prometheus and to an API server for measurements, and the handling of their answers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use landfall_operator::measure::pod_metrics::usage;
use landfall_operator::measure::prometheus::{Prometheus, PrometheusError};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const NOW: u64 = 1_800_000_000;

/// A web server on loopback that gives every request the same answer.
struct Web {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Web {
    /// Starts the server with a status and a body. `None`: it does not answer.
    async fn start(answer: Option<(u16, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, answer.clone(), Arc::clone(&log)));
            }
        });
        Self { url, requests, _tasks: tasks }
    }

    /// Queries a server with this answer.
    async fn query(status: u16, body: &str) -> Result<Option<f64>, PrometheusError> {
        let web = Self::start(Some((status, body.to_owned()))).await;
        Prometheus::new(&web.url).unwrap().query("up").await
    }
}

async fn serve(stream: TcpStream, answer: Option<(u16, String)>, log: Arc<Mutex<Vec<String>>>) {
    let service = service_fn(move |request: Request<Incoming>| {
        log.lock().unwrap().push(request.uri().to_string());
        let answer = answer.clone();
        async move {
            let Some((status, body)) = answer else { return std::future::pending().await };
            let response = Response::builder().status(status).body(Full::new(Bytes::from(body)));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    // A client that closes the connection is no failure.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

fn vector(samples: &str) -> String {
    format!(r#"{{"status": "success", "data": {{"resultType": "vector", "result": [{samples}]}}}}"#)
}

#[tokio::test]
async fn query_is_sent_below_the_path_of_the_url_and_arrives_unchanged() {
    let body = vector(r#"{"metric": {}, "value": [1.5, "12.5"]}"#);
    let web = Web::start(Some((200, body))).await;
    for path in ["", "/", "/prometheus", "/prometheus/"] {
        let prometheus = Prometheus::new(&format!("{}{path}", web.url)).unwrap();
        assert_eq!(prometheus.query(r#"sum(rate(x{a="b"}[1m])) + 1"#).await.unwrap(), Some(12.5));
    }
    let requests = web.requests.lock().unwrap().clone();
    let query = "/api/v1/query?query=sum%28rate%28x%7Ba%3D%22b%22%7D%5B1m%5D%29%29%20%2B%201";
    assert_eq!(requests, ["", "", "/prometheus", "/prometheus"].map(|path| format!("{path}{query}")));
}

#[tokio::test]
async fn empty_results_failed_queries_and_other_servers_are_distinguished() {
    assert_eq!(Web::query(200, &vector("")).await.unwrap(), None);
    let bad = r#"{"status": "error", "errorType": "bad_data", "error": "unknown function"}"#;
    assert!(matches!(Web::query(400, bad).await, Err(PrometheusError::Query(why)) if why == "unknown function"));
    let redirected = Web::query(302, "").await;
    assert!(matches!(redirected, Err(PrometheusError::NoPrometheus(status)) if status == 302), "{redirected:?}");
    let endless = Web::query(200, &vector(&" ".repeat(2 << 20))).await;
    assert!(matches!(endless, Err(PrometheusError::TooLarge)), "{endless:?}");
    // The server is gone and its port refuses connections.
    let web = Web::start(None).await;
    let url = web.url.clone();
    drop(web);
    let gone = Prometheus::new(&url).unwrap().query("up").await;
    assert!(matches!(gone, Err(PrometheusError::Unreachable(_) | PrometheusError::Timeout)), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn query_without_an_answer_times_out() {
    let web = Web::start(None).await;
    let result = Prometheus::new(&web.url).unwrap().query("up").await;
    assert!(matches!(result, Err(PrometheusError::Timeout)), "{result:?}");
}

/// Returns a client of an API server, given as a function from a path to a status and a body.
fn api_server(server: fn(&str) -> (u16, Value)) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (status, body) = server(&request.uri().to_string());
        let response = Response::builder().status(status).body(Full::new(Bytes::from(body.to_string()))).unwrap();
        async move { Ok::<_, Infallible>(response) }
    });
    Client::new(service, "default")
}

fn refused(code: u16) -> (u16, Value) {
    (code, json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "no", "code": code}))
}

/// API server with pods that each request one core, in two pages.
fn pods(path: &str) -> (u16, Value) {
    let page = |names: [&str; 2], token: &str| {
        let container = json!({"name": "web", "resources": {"requests": {"cpu": "1"}}});
        let pod = |name| json!({"metadata": {"name": name}, "spec": {"containers": [container]}, "status": {}});
        (200, json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"continue": token}, "items": names.map(pod)}))
    };
    match path {
        "/api/v1/namespaces/shop/pods?limit=500" => page(["a", "b"], "next"),
        "/api/v1/namespaces/shop/pods?limit=500&continue=next" => page(["c", "d"], ""),
        "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods" => {
            let used = |(name, cpu): (&str, &str)| {
                let containers = json!([{"name": "web", "usage": {"cpu": cpu, "memory": "9Mi"}}]);
                json!({"metadata": {"name": name}, "timestamp": "2027-01-15T08:00:00Z", "window": "15s", "containers": containers})
            };
            let items = [("a", "250m"), ("c", "750000000n")].map(used);
            (
                200,
                json!({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items}),
            )
        }
        other => panic!("unexpected request for {other}"),
    }
}

#[tokio::test]
async fn cpu_of_pods_is_read_from_all_pages_of_a_namespace() {
    let usage = usage(&api_server(pods), "shop", NOW).await.unwrap();
    let near = |number: Option<f64>, expected: f64| (number.unwrap() - expected).abs() < 1e-9;
    assert!(near(usage.utilization(["a"]), 0.25) && near(usage.utilization(["a", "b", "c", "d"]), 0.5), "{usage:?}");
    assert_eq!(usage.utilization(["b", "d"]), None, "not measured yet");
}

#[tokio::test]
async fn missing_metrics_server_means_no_usage_and_no_error() {
    for server in [|_: &str| refused(404), |_: &str| refused(403)] {
        assert_eq!(usage(&api_server(server), "shop", NOW).await.unwrap().utilization(["a"]), None);
    }
    let no_pods: fn(&str) -> (u16, Value) = |path| if path.starts_with("/api/") { refused(403) } else { pods(path) };
    assert_eq!(usage(&api_server(no_pods), "shop", NOW).await.unwrap().utilization(["a"]), None);
    assert!(usage(&api_server(|_| refused(500)), "shop", NOW).await.is_err());
}

/// The messages are those of an API server before and after it notices that the metrics-server is gone.
#[tokio::test]
async fn stopped_metrics_server_is_the_same_error_for_every_message_of_the_api_server() {
    for server in [
        |_: &str| (503, json!("error trying to reach service: dial tcp 10.96.4.2:443: connect: connection refused")),
        |_: &str| (503, json!("service unavailable")),
    ] {
        let why = usage(&api_server(server), "shop", NOW).await.unwrap_err().to_string();
        assert_eq!(why, "a metrics-server is registered and does not answer");
    }
    let gone: fn(&str) -> (u16, Value) = |path| if path.starts_with("/api/") { refused(503) } else { pods(path) };
    let why = usage(&api_server(gone), "shop", NOW).await.unwrap_err().to_string();
    assert!(!why.contains("metrics-server"), "the API server itself fails: {why}");
}
