//! What is asked of a Prometheus and of an API server, and what becomes of what they say.

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

/// A web server on loopback that says the same to everybody. `None`: it says nothing.
struct Web {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Web {
    async fn start(answer: Option<(u16, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, answer.clone(), Arc::clone(&log)));
            }
        });
        Self { url, asked, _tasks: tasks }
    }

    async fn says(status: u16, body: &str) -> Result<Option<f64>, PrometheusError> {
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
    // A client that goes away is no failure.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

fn vector(samples: &str) -> String {
    format!(r#"{{"status": "success", "data": {{"resultType": "vector", "result": [{samples}]}}}}"#)
}

#[tokio::test]
async fn a_query_is_asked_below_the_path_of_the_url_and_arrives_as_it_was_written() {
    let body = vector(r#"{"metric": {}, "value": [1.5, "12.5"]}"#);
    let web = Web::start(Some((200, body))).await;
    for path in ["", "/", "/prometheus", "/prometheus/"] {
        let prometheus = Prometheus::new(&format!("{}{path}", web.url)).unwrap();
        assert_eq!(prometheus.query(r#"sum(rate(x{a="b"}[1m])) + 1"#).await.unwrap(), Some(12.5));
    }
    let asked = web.asked.lock().unwrap().clone();
    let query = "/api/v1/query?query=sum%28rate%28x%7Ba%3D%22b%22%7D%5B1m%5D%29%29%20%2B%201";
    assert_eq!(asked, ["", "", "/prometheus", "/prometheus"].map(|path| format!("{path}{query}")));
}

#[tokio::test]
async fn who_is_no_prometheus_or_has_no_number_is_told_apart() {
    assert_eq!(Web::says(200, &vector("")).await.unwrap(), None);
    let bad = r#"{"status": "error", "errorType": "bad_data", "error": "unknown function"}"#;
    assert!(matches!(Web::says(400, bad).await, Err(PrometheusError::Query(why)) if why == "unknown function"));
    let redirected = Web::says(302, "").await;
    assert!(matches!(redirected, Err(PrometheusError::NoPrometheus(status)) if status == 302), "{redirected:?}");
    let endless = Web::says(200, &vector(&" ".repeat(2 << 20))).await;
    assert!(matches!(endless, Err(PrometheusError::TooLarge)), "{endless:?}");
    // Nobody listens where somebody just did.
    let web = Web::start(None).await;
    let url = web.url.clone();
    drop(web);
    let gone = Prometheus::new(&url).unwrap().query("up").await;
    assert!(matches!(gone, Err(PrometheusError::Unreachable(_) | PrometheusError::Timeout)), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let web = Web::start(None).await;
    let silent = Prometheus::new(&web.url).unwrap().query("up").await;
    assert!(matches!(silent, Err(PrometheusError::Timeout)), "{silent:?}");
}

/// An API server, from a path to a status and a body.
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

/// All pods ask for one core, and come in two pages.
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
        other => panic!("asked for {other}"),
    }
}

#[tokio::test]
async fn the_cpu_of_pods_is_read_from_all_pages_of_a_namespace() {
    let usage = usage(&api_server(pods), "shop", NOW).await.unwrap();
    let near = |number: Option<f64>, expected: f64| (number.unwrap() - expected).abs() < 1e-9;
    assert!(near(usage.utilisation(["a"]), 0.25) && near(usage.utilisation(["a", "b", "c", "d"]), 0.5), "{usage:?}");
    assert_eq!(usage.utilisation(["b", "d"]), None, "not measured yet");
}

#[tokio::test]
async fn without_a_metrics_server_nothing_is_known_and_nothing_wrong() {
    for server in [|_: &str| refused(404), |_: &str| refused(403)] {
        assert_eq!(usage(&api_server(server), "shop", NOW).await.unwrap().utilisation(["a"]), None);
    }
    let no_pods: fn(&str) -> (u16, Value) = |path| if path.starts_with("/api/") { refused(403) } else { pods(path) };
    assert_eq!(usage(&api_server(no_pods), "shop", NOW).await.unwrap().utilisation(["a"]), None);
    assert!(usage(&api_server(|_| refused(500)), "shop", NOW).await.is_err());
}

/// What an API server says of one that was there a moment ago, and what it says after it noticed.
#[tokio::test]
async fn a_metrics_server_that_is_gone_is_one_failure_however_it_is_put() {
    for server in [
        |_: &str| (503, json!("error trying to reach service: dial tcp 10.96.4.2:443: connect: connection refused")),
        |_: &str| (503, json!("service unavailable")),
    ] {
        let why = usage(&api_server(server), "shop", NOW).await.unwrap_err().to_string();
        assert_eq!(why, "a metrics-server is registered and does not answer");
    }
    let gone: fn(&str) -> (u16, Value) = |path| if path.starts_with("/api/") { refused(503) } else { pods(path) };
    let why = usage(&api_server(gone), "shop", NOW).await.unwrap_err().to_string();
    assert!(!why.contains("metrics-server"), "it is the API server itself: {why}");
}
