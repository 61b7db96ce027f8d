//! How busy pods are, where nobody configured a better measure: the CPU that they use, by `metrics.k8s.io`, as a part of what
//! they asked for. It is what a HorizontalPodAutoscaler would go by.

use std::collections::BTreeMap;

use hyper::Request;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use landfall_api::Meta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A metrics-server measures every 15 s. What is older than this is of pods that are gone, or of a server that is stuck.
const MOST_AGE: u64 = 180;
/// Pods are large, and of each but a few bytes are read.
const PAGE: u32 = 500;

/// Why nothing is known of the pods of a namespace that should be.
#[derive(Debug, Error)]
pub enum UsageError {
    /// An API server finds other words for it from moment to moment, and from one connection to the next.
    #[error("a metrics-server is registered and does not answer")]
    Gone,
    #[error("the API server cannot be asked for pods and what they use")]
    ApiServer(#[from] kube::Error),
}

/// The CPU of the pods of a namespace.
#[derive(Debug, Default)]
pub struct Usage {
    pods: BTreeMap<String, Cpu>,
}

/// In cores, of those containers that ask for any.
#[derive(Debug, Clone, Copy, Default)]
struct Cpu {
    used: f64,
    requested: f64,
}

impl Usage {
    /// Of these pods together: 1 when they use what they asked for, and more if they may. `None`: none of them asks for any, or
    /// nobody measured it lately.
    pub fn utilisation<'a>(&self, pods: impl IntoIterator<Item = &'a str>) -> Option<f64> {
        let measured = pods.into_iter().filter_map(|pod| self.pods.get(pod));
        let (used, requested) =
            measured.fold((0.0, 0.0), |(used, requested), cpu| (used + cpu.used, requested + cpu.requested));
        (requested > 0.0).then(|| used / requested)
    }
}

/// `now` is in seconds since 1970. Where metrics are not served, or not for us, nothing is known of any pod.
pub async fn usage(client: &Client, namespace: &str, now: u64) -> Result<Usage, UsageError> {
    let metrics = match get::<List<PodMetrics>>(client, &metrics_path(namespace)).await {
        Ok(Some(metrics)) => metrics,
        Ok(None) => return Ok(Usage::default()),
        Err(kube::Error::Api(status)) if status.code == 503 => return Err(UsageError::Gone),
        Err(error) => return Err(error.into()),
    };
    let mut pods = Vec::new();
    let mut next = Some(String::new());
    while let Some(token) = next {
        let Some(page) = get::<List<Pod>>(client, &pods_path(namespace, &token)).await? else {
            return Ok(Usage::default());
        };
        pods.extend(page.items);
        next = Some(page.metadata.r#continue).filter(|token| !token.is_empty());
    }
    Ok(joined(&pods, &metrics.items, now))
}

/// `None`: it is not served, or not for us.
async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> kube::Result<Option<T>> {
    let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    match client.request(request).await {
        Ok(read) => Ok(Some(read)),
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(None),
        Err(error) => Err(error),
    }
}

fn metrics_path(namespace: &str) -> String {
    format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods")
}

/// A token is base64 for URLs, and nothing in it must be quoted.
fn pods_path(namespace: &str, token: &str) -> String {
    let rest = if token.is_empty() { String::new() } else { format!("&continue={token}") };
    format!("/api/v1/namespaces/{namespace}/pods?limit={PAGE}{rest}")
}

#[derive(Debug, Deserialize)]
struct List<T> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListMeta {
    r#continue: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodMetrics {
    metadata: Meta,
    timestamp: Option<Timestamp>,
    containers: Vec<Used>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Used {
    name: String,
    usage: Resources,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: Meta,
    spec: PodSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodSpec {
    containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    resources: Requirements,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Requirements {
    requests: Resources,
    limits: Resources,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resources {
    cpu: Option<String>,
}

impl Resources {
    fn cores(&self) -> Option<f64> {
        cores(self.cpu.as_deref()?)
    }
}

fn joined(pods: &[Pod], metrics: &[PodMetrics], now: u64) -> Usage {
    let requested: BTreeMap<&str, &[Container]> =
        pods.iter().map(|pod| (pod.metadata.name.as_str(), pod.spec.containers.as_slice())).collect();
    let of = |pod: &PodMetrics| {
        let containers = requested.get(pod.metadata.name.as_str()).filter(|_| is_fresh(pod, now))?;
        Some((pod.metadata.name.clone(), cpu(containers, &pod.containers)))
    };
    Usage { pods: metrics.iter().filter_map(of).collect() }
}

fn is_fresh(pod: &PodMetrics, now: u64) -> bool {
    let measured = pod.timestamp.and_then(|at| u64::try_from(at.as_second()).ok());
    measured.is_some_and(|at| now.saturating_sub(at) <= MOST_AGE)
}

/// What a container uses that asks for nothing, as many sidecars, is no part of what the others asked for.
fn cpu(containers: &[Container], used: &[Used]) -> Cpu {
    let of = |container: &Container| {
        let resources = &container.resources;
        let requested = resources.requests.cores().or_else(|| resources.limits.cores()).filter(|cores| *cores > 0.0)?;
        let used = used.iter().find(|used| used.name == container.name)?.usage.cores()?;
        Some(Cpu { used, requested })
    };
    let sum = |sum: Cpu, cpu: Cpu| Cpu { used: sum.used + cpu.used, requested: sum.requested + cpu.requested };
    containers.iter().filter_map(of).fold(Cpu::default(), sum)
}

/// A quantity of Kubernetes, such as `250m`. `None`: it is none, or below 0.
fn cores(quantity: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((quantity.strip_suffix(suffix)?, *factor)))
        .unwrap_or((quantity, 1.0));
    // Rust reads words for numbers, which Kubernetes does not.
    let digits = number.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '.' | '+' | '-'));
    let cores = number.parse::<f64>().ok().filter(|_| digits)? * factor;
    (cores.is_finite() && cores >= 0.0).then_some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: u64 = 1_800_000_000;

    fn pod(name: &str, containers: &[(&str, Value)]) -> Pod {
        let containers: Vec<Value> =
            containers.iter().map(|(name, resources)| json!({"name": name, "resources": resources})).collect();
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"containers": containers}})).unwrap()
    }

    fn used(name: &str, age: u64, containers: &[(&str, &str)]) -> PodMetrics {
        let at = Timestamp::from_second((NOW - age).try_into().unwrap()).unwrap();
        let containers: Vec<Value> = containers
            .iter()
            .map(|(name, cpu)| json!({"name": name, "usage": {"cpu": cpu, "memory": "1Mi"}}))
            .collect();
        let metrics = json!({"metadata": {"name": name}, "timestamp": at, "window": "15s", "containers": containers});
        serde_json::from_value(metrics).unwrap()
    }

    fn requests(cpu: &str) -> Value {
        json!({"requests": {"cpu": cpu, "memory": "64Mi"}, "limits": {"cpu": "8"}})
    }

    fn near(number: Option<f64>, expected: f64) -> bool {
        number.is_some_and(|number| (number - expected).abs() < 1e-9)
    }

    #[test]
    fn pods_are_as_busy_as_what_they_use_together_of_what_they_asked_for() {
        let pods = [
            pod("a", &[("web", requests("500m"))]),
            pod("b", &[("web", requests("1500m")), ("sidecar", json!({}))]),
            pod("other", &[("web", requests("1"))]),
        ];
        let metrics = [
            used("a", 10, &[("web", "250000000n")]),
            used("b", 10, &[("web", "750m"), ("sidecar", "400m")]),
            used("other", 10, &[("web", "4")]),
        ];
        let usage = joined(&pods, &metrics, NOW);
        assert!(near(usage.utilisation(["a", "b"]), 0.5), "{usage:?}");
        assert!(near(usage.utilisation(["a", "new"]), 0.5), "of a new one nothing is known yet");
        assert!(near(usage.utilisation(["other"]), 4.0), "more than it asked for");
        assert_eq!(usage.utilisation([]), None);
    }

    #[test]
    fn without_requests_limits_count_and_without_both_nothing_is_known() {
        let pods = [
            pod("limited", &[("web", json!({"limits": {"cpu": "2"}}))]),
            pod("free", &[("web", json!({}))]),
            pod("zero", &[("web", json!({"requests": {"cpu": "0"}}))]),
        ];
        let metrics = ["limited", "free", "zero"].map(|name| used(name, 0, &[("web", "500m")]));
        let usage = joined(&pods, &metrics, NOW);
        assert!(near(usage.utilisation(["limited"]), 0.25));
        assert_eq!(usage.utilisation(["free", "zero"]), None);
    }

    #[test]
    fn what_was_measured_too_long_ago_is_not_known() {
        let pods = [pod("a", &[("web", requests("1"))])];
        let usage = |age| joined(&pods, &[used("a", age, &[("web", "500m")])], NOW).utilisation(["a"]);
        assert!(near(usage(MOST_AGE), 0.5));
        assert_eq!(usage(MOST_AGE + 1), None);
        let timeless = PodMetrics { timestamp: None, ..used("a", 0, &[("web", "500m")]) };
        assert_eq!(joined(&pods, &[timeless], NOW).utilisation(["a"]), None);
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, expected) in [
            ("0", 0.0_f64),
            ("2", 2.0),
            ("0.25", 0.25),
            (".5", 0.5),
            ("+1", 1.0),
            ("250m", 0.25),
            ("250000u", 0.25),
            ("250000000n", 0.25),
            ("2k", 2000.0),
            ("1e3", 1000.0),
            ("1E3", 1000.0),
            ("1E", 1e18),
            ("1Ki", 1024.0),
        ] {
            let difference = (cores(text).unwrap() - expected).abs();
            assert!(difference <= 1e-12 * expected, "{text}");
        }
        for text in ["", "m", "-1", "1 m", "NaN", "inf", "infinity", "1x", "1mm", "1e400", "--1"] {
            assert_eq!(cores(text), None, "{text}");
        }
    }
}
