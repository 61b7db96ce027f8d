//! Runs queries of policies on a user's own Prometheus, or another server with its HTTP API (Thanos, Mimir,
//! VictoriaMetrics).

use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::http::Uri;
use hyper::{Request, StatusCode};
use kube::client::Body;
use landfall_core::name::ServiceKey;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use tokio::time::timeout;

use crate::error_chain::chain;

/// Limit for one query. A server that needs longer for one number is overloaded, and a round must not wait for it.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit of the size of an answer. One number takes a few hundred bytes; larger answers are read to name the missing
/// aggregation.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Reason why a query has no result.
#[derive(Debug, Error)]
pub enum PrometheusError {
    #[error(
        "{url} is not the URL of a Prometheus ({why}); expected http:// or https://, a host, and optionally a path"
    )]
    Url { url: String, why: String },
    #[error("cannot set up a client for {url}: {why}")]
    Client { url: String, why: String },
    #[error("no answer within {} s", QUERY_TIMEOUT.as_secs())]
    Timeout,
    #[error("cannot reach Prometheus: {0}")]
    Unreachable(String),
    #[error("the answer has more than {MAX_ANSWER_BYTES} bytes, where one number is expected; aggregate it: sum(...)")]
    TooLarge,
    #[error("status {0} and not an answer of Prometheus; the URL may need another path")]
    NoPrometheus(StatusCode),
    #[error("the query fails: {0}")]
    Query(String),
    #[error("the result is a {0}, where one number is expected")]
    ResultType(String),
    #[error("{0} samples, where one is expected; aggregate it: sum(...)")]
    Several(usize),
    #[error("the value is {0}, where a number of at least 0 is expected")]
    Value(String),
}

/// A client of one Prometheus.
#[derive(Clone)]
pub struct Prometheus {
    client: kube::Client,
}

impl Prometheus {
    /// Creates a client. Does not connect yet, but must be called in a runtime. A certificate is accepted if the system
    /// knows its authority, or the file named by SSL_CERT_FILE has it.
    pub fn new(url: &str) -> Result<Self, PrometheusError> {
        let uri = base(url)?;
        let plain = uri.scheme_str() == Some("http");
        // The client library of the API server is an HTTP client too, and already a dependency.
        let mut config = kube::Config::new(uri);
        config.default_retry = false;
        if plain {
            // Otherwise creating the client would fail on systems without certificates.
            config.root_cert = Some(Vec::new());
        }
        let client = kube::Client::try_from(config)
            .map_err(|error| PrometheusError::Client { url: url.to_owned(), why: chain(&error) })?;
        Ok(Self { client })
    }

    /// Returns the value of an instant query. Returns `None` if no series matches, for example before an export has
    /// traffic.
    pub async fn query(&self, query: &str) -> Result<Option<f64>, PrometheusError> {
        let (status, body) =
            timeout(QUERY_TIMEOUT, self.request(query)).await.map_err(|_| PrometheusError::Timeout)??;
        number(status, &body)
    }

    async fn request(&self, query: &str) -> Result<(StatusCode, Vec<u8>), PrometheusError> {
        let unreachable = |error: &dyn std::error::Error| PrometheusError::Unreachable(chain(error));
        let path = format!("/api/v1/query?query={}", percent_encoded(query));
        let request = Request::get(path).body(Body::empty()).map_err(|error| unreachable(&error))?;
        let response = self.client.send(request).await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => PrometheusError::TooLarge,
            None => unreachable(&*error),
        })?;
        Ok((status, body.to_bytes().to_vec()))
    }
}

/// Replaces `$namespace` and `$service` in a query. Both values are DNS labels, which need no quoting in the strings
/// and regular expressions of PromQL.
pub fn of_service(query: &str, key: &ServiceKey) -> String {
    query.replace("$namespace", key.namespace()).replace("$service", key.name())
}

/// Parses the URL of a Prometheus.
fn base(url: &str) -> Result<Uri, PrometheusError> {
    let refused = |why: &str| PrometheusError::Url { url: url.to_owned(), why: why.to_owned() };
    let uri: Uri = url.parse().map_err(|error: hyper::http::uri::InvalidUri| refused(&error.to_string()))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(refused("its scheme is neither http nor https"));
    }
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    if authority.contains('@') {
        // Other users of the host can read the arguments of a process, so a password there is refused, and not
        // repeated.
        return Err(PrometheusError::Url { url: "the given text".to_owned(), why: "it has a password".to_owned() });
    }
    let name = uri.host().unwrap_or_default();
    if authority.len() > name.len() && uri.port_u16().is_none() {
        return Err(refused("its port is not a number"));
    }
    if uri.query().is_some() { Err(refused("it has a query")) } else { Ok(uri) }
}

/// Percent-encodes all bytes that RFC 3986 does not call unreserved.
fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Answer {
    Success { data: Data },
    Error { error: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

/// Reads an answer as one number. Returns `None` for an empty result.
fn number(status: StatusCode, body: &[u8]) -> Result<Option<f64>, PrometheusError> {
    let data = match serde_json::from_slice(body) {
        Ok(Answer::Success { data }) => data,
        Ok(Answer::Error { error }) => return Err(PrometheusError::Query(error)),
        Err(_) => return Err(PrometheusError::NoPrometheus(status)),
    };
    match (data.result_type.as_str(), data.result.as_array().map(Vec::as_slice)) {
        ("scalar", Some(_)) => value(&data.result).map(Some),
        ("vector", Some([])) => Ok(None),
        ("vector", Some([sample])) => value(&sample["value"]).map(Some),
        ("vector", Some(samples)) => Err(PrometheusError::Several(samples.len())),
        _ => Err(PrometheusError::ResultType(data.result_type)),
    }
}

/// Reads the value of a sample such as `[1700000000.5, "12.5"]`, where the first element is the time.
fn value(sample: &Value) -> Result<f64, PrometheusError> {
    let text = sample[1].as_str().ok_or_else(|| PrometheusError::ResultType("histogram".to_owned()))?;
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| PrometheusError::Value(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(body: &str) -> Result<Option<f64>, String> {
        number(StatusCode::OK, body.as_bytes()).map_err(|error| error.to_string())
    }

    fn vector(samples: &str) -> String {
        format!(r#"{{"status": "success", "data": {{"resultType": "vector", "result": [{samples}]}}}}"#)
    }

    #[test]
    fn one_sample_is_a_number_and_no_sample_is_none() {
        let scalar = r#"{"status": "success", "data": {"resultType": "scalar", "result": [1435781451.781, "1.5"]}}"#;
        assert_eq!(result(scalar), Ok(Some(1.5)));
        assert_eq!(result(&vector(r#"{"metric": {"pod": "a"}, "value": [1435781451.781, "1e+06"]}"#)), Ok(Some(1e6)));
        assert_eq!(result(&vector(r#"{"metric": {}, "value": [1435781451, "0"]}"#)), Ok(Some(0.0)));
        assert_eq!(result(&vector("")), Ok(None));
    }

    #[test]
    fn result_that_is_not_one_number_of_at_least_zero_is_refused_with_a_remedy() {
        let sample = r#"{"metric": {}, "value": [1, "2"]}"#;
        let several = result(&vector(&[sample; 3].join(", "))).unwrap_err();
        assert!(several.starts_with("3 samples") && several.contains("sum("), "{several}");
        for value in ["NaN", "+Inf", "-Inf", "-1", "many", ""] {
            let sample = format!(r#"{{"metric": {{}}, "value": [1, "{value}"]}}"#);
            assert!(result(&vector(&sample)).unwrap_err().starts_with(&format!("the value is {value},")), "{value}");
        }
        let matrix = r#"{"status": "success", "data": {"resultType": "matrix", "result": []}}"#;
        assert!(result(matrix).unwrap_err().contains("is a matrix"));
        let text = r#"{"status": "success", "data": {"resultType": "string", "result": [1, "2"]}}"#;
        assert!(result(text).unwrap_err().contains("is a string"));
        let histogram = r#"{"metric": {}, "histogram": [1, {"count": "2", "sum": "3", "buckets": []}]}"#;
        assert!(result(&vector(histogram)).unwrap_err().contains("is a histogram"));
    }

    #[test]
    fn failed_query_has_the_message_of_prometheus() {
        let error = r#"{"status": "error", "errorType": "bad_data", "error": "parse error: unclosed parenthesis"}"#;
        assert!(result(error).unwrap_err().ends_with("parse error: unclosed parenthesis"));
        for other in ["", "<html>", "{}", r#"{"status": "success"}"#, r#"{"status": "success", "data": {}}"#] {
            assert!(result(other).unwrap_err().contains("another path"), "{other}");
        }
    }

    #[test]
    fn service_is_inserted_into_the_query_and_the_query_encoded_for_the_url() {
        let key = ServiceKey::new("shop", "web-1").unwrap();
        let query = of_service(r#"sum(rate(requests{ns="$namespace", svc=~"$service"}[1m]))"#, &key);
        assert_eq!(query, r#"sum(rate(requests{ns="shop", svc=~"web-1"}[1m]))"#);
        assert_eq!(percent_encoded("a{b=\"ü\"} + 1&c"), "a%7Bb%3D%22%C3%BC%22%7D%20%2B%201%26c");
    }

    #[test]
    fn url_has_a_scheme_and_a_host_and_neither_a_query_nor_a_password() {
        for url in ["http://prometheus.monitoring:9090", "https://p.example/prometheus/", "http://127.0.0.1:1/a/b"] {
            assert!(base(url).is_ok(), "{url}");
        }
        for url in ["", "prometheus:9090", "/prometheus", "ftp://p", "http://p/?a=b", "http://", "http://p:x"] {
            assert!(matches!(base(url), Err(PrometheusError::Url { .. })), "{url}");
        }
        let with_password = base("http://me:secret@p/").unwrap_err().to_string();
        assert!(with_password.contains("password") && !with_password.contains("secret"), "{with_password}");
    }
}
