//! Utilization of pods without a configured query: the CPU that they use, by `metrics.k8s.io`, relative to their
//! requests. A HorizontalPodAutoscaler uses the same number.

use std::collections::BTreeMap;

use hyper::Request;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use landfall_api::Meta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Limit of the age of a measurement. A metrics-server measures every 15 s, so older ones are of pods that are gone, or
/// of a server that is stuck.
const MAX_AGE_SECONDS: u64 = 180;
/// Pods per page. Pods are large, and only a few bytes of each are needed.
const PAGE_SIZE: u32 = 500;

/// Reason why the usage of pods cannot be read.
#[derive(Debug, Error)]
pub enum UsageError {
    /// The message of the API server is not kept, because it varies from request to request.
    #[error("a metrics-server is registered and does not answer")]
    Gone,
    #[error("cannot read pods and their usage from the API server")]
    ApiServer(#[from] kube::Error),
}

/// CPU of the pods of a namespace.
#[derive(Debug, Default)]
pub struct Usage {
    pods: BTreeMap<String, Cpu>,
}

/// CPU in cores, summed over the containers that request any.
#[derive(Debug, Clone, Copy, Default)]
struct Cpu {
    used: f64,
    requested: f64,
}

impl Usage {
    /// Returns the utilization of these pods together: 1 when they use what they requested; it may be higher. Returns
    /// `None` if none of them requests CPU or has a recent measurement.
    pub fn utilization<'a>(&self, pods: impl IntoIterator<Item = &'a str>) -> Option<f64> {
        let measured = pods.into_iter().filter_map(|pod| self.pods.get(pod));
        let (used, requested) =
            measured.fold((0.0, 0.0), |(used, requested), cpu| (used + cpu.used, requested + cpu.requested));
        (requested > 0.0).then(|| used / requested)
    }
}

/// Reads the usage of the pods of a namespace, at `now` in seconds since 1970. Returns an empty usage if metrics or
/// pods are not served, or access to them is forbidden.
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
    Ok(join(&pods, &metrics.items, now))
}

/// Reads a path. Returns `None` if it is not served, or access to it is forbidden.
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

/// Returns the path of a page of pods. A token needs no quoting, because it is base64 for URLs.
fn pods_path(namespace: &str, token: &str) -> String {
    let rest = if token.is_empty() { String::new() } else { format!("&continue={token}") };
    format!("/api/v1/namespaces/{namespace}/pods?limit={PAGE_SIZE}{rest}")
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

/// Joins the requests and the usage of pods by name.
fn join(pods: &[Pod], metrics: &[PodMetrics], now: u64) -> Usage {
    let requested: BTreeMap<&str, &[Container]> =
        pods.iter().map(|pod| (pod.metadata.name.as_str(), pod.spec.containers.as_slice())).collect();
    let with_cpu = |pod: &PodMetrics| {
        let containers = requested.get(pod.metadata.name.as_str()).filter(|_| is_fresh(pod, now))?;
        Some((pod.metadata.name.clone(), cpu(containers, &pod.containers)))
    };
    Usage { pods: metrics.iter().filter_map(with_cpu).collect() }
}

fn is_fresh(pod: &PodMetrics, now: u64) -> bool {
    let measured = pod.timestamp.and_then(|at| u64::try_from(at.as_second()).ok());
    measured.is_some_and(|at| now.saturating_sub(at) <= MAX_AGE_SECONDS)
}

/// Sums the CPU of the containers of a pod. A container without requests, such as many sidecars, does not count: its
/// usage is not part of what the others requested.
fn cpu(containers: &[Container], used: &[Used]) -> Cpu {
    let cpu_of = |container: &Container| {
        let resources = &container.resources;
        let requested = resources.requests.cores().or_else(|| resources.limits.cores()).filter(|cores| *cores > 0.0)?;
        let used = used.iter().find(|used| used.name == container.name)?.usage.cores()?;
        Some(Cpu { used, requested })
    };
    let sum = |sum: Cpu, cpu: Cpu| Cpu { used: sum.used + cpu.used, requested: sum.requested + cpu.requested };
    containers.iter().filter_map(cpu_of).fold(Cpu::default(), sum)
}

/// Parses a Kubernetes quantity, such as `250m`. Returns `None` if it is malformed or below 0.
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
    // Rust also parses words such as `inf`, which Kubernetes does not.
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
    fn utilization_is_the_sum_of_usage_over_the_sum_of_requests() {
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
        let usage = join(&pods, &metrics, NOW);
        assert!(near(usage.utilization(["a", "b"]), 0.5), "{usage:?}");
        assert!(near(usage.utilization(["a", "new"]), 0.5), "a new pod has no measurement yet");
        assert!(near(usage.utilization(["other"]), 4.0), "more than requested");
        assert_eq!(usage.utilization([]), None);
    }

    #[test]
    fn limits_count_without_requests_and_pods_without_both_have_no_utilization() {
        let pods = [
            pod("limited", &[("web", json!({"limits": {"cpu": "2"}}))]),
            pod("free", &[("web", json!({}))]),
            pod("zero", &[("web", json!({"requests": {"cpu": "0"}}))]),
        ];
        let metrics = ["limited", "free", "zero"].map(|name| used(name, 0, &[("web", "500m")]));
        let usage = join(&pods, &metrics, NOW);
        assert!(near(usage.utilization(["limited"]), 0.25));
        assert_eq!(usage.utilization(["free", "zero"]), None);
    }

    #[test]
    fn old_measurements_do_not_count() {
        let pods = [pod("a", &[("web", requests("1"))])];
        let usage = |age| join(&pods, &[used("a", age, &[("web", "500m")])], NOW).utilization(["a"]);
        assert!(near(usage(MAX_AGE_SECONDS), 0.5));
        assert_eq!(usage(MAX_AGE_SECONDS + 1), None);
        let timeless = PodMetrics { timestamp: None, ..used("a", 0, &[("web", "500m")]) };
        assert_eq!(join(&pods, &[timeless], NOW).utilization(["a"]), None);
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
