//! Finds the DNS replicas of this cluster, and reads their counts of answers.

use landfall_controller::answers::report;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::StreamExt;
use futures::future::{Either, select};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::Client;
use kube::api::{Api, ListParams};
use landfall_api::labels::LOCAL_SERVICE_NAME;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use landfall_controller::answers::report::{AnswersReport, AnswersReportError, MAX_REPORT_BYTES};

/// Limit for reading one replica.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// Limit of replicas that are read at once. With pages of 8 MiB each, they take 64 MiB.
const MAX_CONCURRENT_READS: usize = 8;
/// Admin port of a DNS replica.
const ADMIN_PORT: u16 = 8081;

/// Reason why the counts of a replica could not be read.
#[derive(Debug, Error)]
pub enum CollectError {
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("did not answer within {} s", READ_TIMEOUT.as_secs())]
    Silent,
    #[error("does not speak HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("answered {0}; it is not a DNS replica, or of another version")]
    Status(StatusCode),
    #[error("its report {0}")]
    Report(#[from] AnswersReportError),
}

/// Reads all replicas. Returns one result for each, in the same order.
pub async fn collect(replicas: &[SocketAddr]) -> Vec<(SocketAddr, Result<AnswersReport, CollectError>)> {
    let read = |&replica: &SocketAddr| async move {
        let report = timeout(READ_TIMEOUT, fetch(replica)).await.unwrap_or(Err(CollectError::Silent));
        (replica, report)
    };
    futures::stream::iter(replicas.iter().map(read)).buffered(MAX_CONCURRENT_READS).collect().await
}

async fn fetch(replica: SocketAddr) -> Result<AnswersReport, CollectError> {
    let stream = TcpStream::connect(replica).await.map_err(CollectError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = hyper::Uri::from_static("/answers");
    let host = replica.to_string().try_into().expect("an address is made of digits, dots and colons");
    request.headers_mut().insert(HOST, host);
    let exchange = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(CollectError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_REPORT_BYTES).collect().await.map_err(body_error)?;
        Ok(report::read(&body.to_bytes(), replica.ip())?)
    };
    // The connection makes progress only while it is polled. It can end before the whole answer was read from it.
    match select(std::pin::pin!(exchange), std::pin::pin!(connection)).await {
        Either::Left((report, _)) => report,
        Either::Right((_, exchange)) => exchange.await,
    }
}

fn body_error(error: Box<dyn std::error::Error + Send + Sync>) -> CollectError {
    if error.is::<LengthLimitError>() {
        return AnswersReportError::TooLong.into();
    }
    match error.downcast::<hyper::Error>() {
        Ok(error) => (*error).into(),
        Err(other) => CollectError::Connect(io::Error::other(other)),
    }
}

/// Returns the admin ports of the ready replicas, from the EndpointSlices of their Service. A replica with an address
/// of each family is returned once.
pub async fn replicas(client: &Client, (namespace, service): (&str, &str)) -> kube::Result<Vec<SocketAddr>> {
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), namespace);
    let of_service = ListParams::default().labels(&format!("{LOCAL_SERVICE_NAME}={service}"));
    Ok(ready(&slices.list(&of_service).await?.items))
}

fn ready(slices: &[EndpointSlice]) -> Vec<SocketAddr> {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let is_ready = |endpoint: &&Endpoint| endpoint.conditions.as_ref().is_none_or(|c| c.ready != Some(false));
    let mut by_pod: BTreeMap<String, IpAddr> = BTreeMap::new();
    for endpoint in endpoints.filter(is_ready) {
        // All addresses of an endpoint are of one pod. A name is not an address.
        let Some(address) = endpoint.addresses.iter().find_map(|address| address.parse::<IpAddr>().ok()) else {
            continue;
        };
        let pod = endpoint.target_ref.as_ref().and_then(|pod| pod.name.clone());
        let known = by_pod.entry(pod.unwrap_or_else(|| address.to_string())).or_insert(address);
        *known = address.min(*known);
    }
    by_pod.into_values().map(|address| SocketAddr::new(address, ADMIN_PORT)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus_client::registry::Registry;
    use serde_json::json;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;
    use crate::admin::{self, Admin};

    /// Starts an admin port with this report of answers. `None`: it has none.
    async fn start(tasks: &mut JoinSet<()>, answers: Option<String>) -> SocketAddr {
        let listener = admin::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = answers.map(|answers| Box::new(move || answers.clone()) as Box<_>);
        let admin = Admin { registry: Registry::default(), missing: Box::new(Vec::new), answers };
        tasks.spawn(admin::serve(listener, Arc::new(admin)));
        address
    }

    async fn error(replica: SocketAddr) -> String {
        collect(&[replica]).await.pop().unwrap().1.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn replicas_are_read_by_http_with_one_result_each() {
        let mut tasks = JoinSet::new();
        let report = r#"{"boot":"1","probe":["0.0.0.0:8053"],"answers":{"shop/web":{"east":3}}}"#;
        let well = start(&mut tasks, Some(report.to_owned())).await;
        let other = start(&mut tasks, None).await;
        let collected = collect(&[well, other]).await;
        let (from, report) = &collected[0];
        assert_eq!(
            (from, report.as_ref().unwrap()),
            (
                &well,
                &report::read(
                    br#"{"boot":"1","probe":["127.0.0.1:8053"],"answers":{"shop/web":{"east":3}}}"#,
                    well.ip(),
                )
                .unwrap()
            )
        );
        assert!(matches!(&collected[1], (from, Err(CollectError::Status(StatusCode::NOT_FOUND))) if *from == other));
    }

    #[tokio::test]
    async fn report_of_megabytes_is_read_and_one_that_is_too_long_is_not() {
        let mut tasks = JoinSet::new();
        let padded = |length: usize| format!(r#"{{"boot":"1","answers":{{}}}}{}"#, " ".repeat(length - 25));
        let large = start(&mut tasks, Some(padded(MAX_REPORT_BYTES))).await;
        let too_large = start(&mut tasks, Some(padded(MAX_REPORT_BYTES + 1))).await;
        assert!(collect(&[large]).await[0].1.is_ok());
        assert_eq!(error(too_large).await, "its report is longer than 8 MiB");
    }

    #[tokio::test(start_paused = true)]
    async fn silent_replica_and_one_with_another_protocol_are_errors_within_the_limit() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert_eq!(error(silent.local_addr().unwrap()).await, "did not answer within 2 s");
        let gone = silent.local_addr().unwrap();
        drop(silent);
        assert!(error(gone).await.starts_with("cannot connect"));

        let gibberish = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = gibberish.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut stream, _) = gibberish.accept().await.unwrap();
            stream.write_all(b"SSH-2.0-OpenSSH\r\n\r\n").await.unwrap();
            std::future::pending::<()>().await;
        });
        assert!(error(address).await.starts_with("does not speak HTTP"));
    }

    #[test]
    fn ready_replicas_are_found_once_each() {
        let endpoint = |pod: &str, address: &str, ready: Option<bool>| json!({ "addresses": [address], "conditions": { "ready": ready }, "targetRef": { "name": pod } });
        let slice = |family: &str, endpoints: Vec<serde_json::Value>| -> EndpointSlice {
            serde_json::from_value(json!({ "addressType": family, "metadata": {}, "endpoints": endpoints })).unwrap()
        };
        let slices = [
            slice("IPv6", vec![endpoint("a", "fd00::1", Some(true)), endpoint("c", "fd00::3", None)]),
            slice("IPv4", vec![endpoint("a", "10.0.0.1", Some(true)), endpoint("b", "10.0.0.2", Some(false))]),
            slice("FQDN", vec![endpoint("d", "dns.example", Some(true))]),
            serde_json::from_value(json!({ "addressType": "IPv4", "metadata": {}, "endpoints": null })).unwrap(),
        ];
        let expected: [SocketAddr; 2] = ["10.0.0.1:8081".parse().unwrap(), "[fd00::3]:8081".parse().unwrap()];
        assert_eq!(ready(&slices), expected);
    }
}
