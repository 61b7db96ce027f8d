//! Service that clusters of a fleet export: the objects that Kubernetes' controllers and a Lighthouse agent would write
//! in each cluster, and the servers behind them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::fleet::Fleet;
use crate::load::{Clients, Load, Route, Routes};
use crate::objects::{self, Health};

/// Time that a pod takes for one request. It serves one at a time, so a pod serves 10 requests per second.
pub const SERVICE_TIME: Duration = Duration::from_millis(100);
pub const POD_RPS: u32 = 10;

/// Time between two requests of a client. The TTL of answers, 5 s, is not a multiple of it. So each answer serves the
/// same number of requests, even on a busy machine.
pub const REQUEST_INTERVAL: Duration = Duration::from_millis(600);
/// Requests at 0, 0.6, … 4.8 s.
pub const REQUESTS_PER_ANSWER: u32 = 9;

/// Time for which a client uses an answer.
pub const ANSWER_LIFETIME: Duration = Duration::from_millis(5400);

/// Shares from 0 to 1, by source cluster and exporting cluster.
pub type Split = BTreeMap<String, BTreeMap<String, f64>>;

pub struct Exported {
    pub namespace: String,
    pub service: String,
    backends: BTreeMap<String, Backend>,
    routes: Arc<Routes>,
}

impl Exported {
    /// Makes each of these clusters export the service with the given number of ready pods.
    pub async fn start(fleet: &mut Fleet, namespace: &str, service: &str, pods: &[(&str, u8)]) -> Result<Self> {
        let mut backends = BTreeMap::new();
        let mut routes = Routes::new();
        for (cluster, count) in pods {
            let backend = Backend::start(cluster, (*count).into(), SERVICE_TIME).await?;
            let listener = fleet.expose(cluster, backend.address).await?;
            let address = fleet.of(cluster)?.exported_address();
            routes.insert(address.into(), Route { cluster: (*cluster).into(), listener });
            backends.insert((*cluster).to_owned(), backend);
        }
        let exported = Self { namespace: namespace.into(), service: service.into(), backends, routes: routes.into() };
        fleet.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await?;
        for (cluster, count) in pods {
            exported.write_pods(fleet, cluster, *count).await?;
        }
        let clusters: Vec<&str> = pods.iter().map(|(cluster, _)| *cluster).collect();
        for cluster in &clusters {
            exported.write_slice(fleet, cluster, Health::Ready).await?;
        }
        fleet.apply(&exported.in_namespace(objects::import(service, &clusters))).await?;
        Ok(exported)
    }

    /// Sets the number of a cluster's pods, in its EndpointSlice and in its backend.
    pub async fn set_pods(&self, fleet: &Fleet, cluster: &str, count: u8) -> Result<()> {
        self.write_pods(fleet, cluster, count).await?;
        self.backend(cluster)?.set_slots(count.into()).await
    }

    /// Publishes in every cluster whether the export of this cluster is ready.
    pub async fn set_health(&self, fleet: &Fleet, cluster: &str, health: Health) -> Result<()> {
        self.write_slice(fleet, cluster, health).await
    }

    /// Applies a policy with this spec for the service in all clusters.
    pub async fn set_policy(&self, fleet: &Fleet, spec: Value) -> Result<()> {
        fleet.apply(&self.in_namespace(objects::policy(&self.service, spec))).await
    }

    /// Returns the backend of a cluster's export.
    pub fn backend(&self, cluster: &str) -> Result<&Backend> {
        self.backends.get(cluster).with_context(|| format!("{cluster} does not export {}", self.service))
    }

    /// Starts clients in a cluster that send `rps` requests per second together.
    pub async fn load(&self, fleet: &Fleet, cluster: &str, rps: u32) -> Result<Load> {
        let it = fleet.of(cluster)?;
        let clients = Clients {
            source: it.source(),
            dns: it.member.dns_address(),
            host: format!("{}.{}.svc.clusterset.local", self.service, self.namespace),
            count: usize::try_from(rps)? * usize::try_from(REQUEST_INTERVAL.as_millis())? / 1000,
            period: REQUEST_INTERVAL,
            spread: ANSWER_LIFETIME,
        };
        Load::start(clients, Arc::clone(&self.routes)).await
    }

    /// Returns the shares that these clusters publish.
    pub async fn split(&self, fleet: &Fleet, sources: &[&str]) -> Result<Split> {
        let mut split = Split::new();
        for source in sources {
            let status = self.selection(fleet, source).await?;
            let clusters = status["clusters"].as_array().context("a selection without clusters")?;
            let share = |it: &Value| -> Result<(String, f64)> {
                let weight = it["weight"].as_f64().context("no weight")?;
                Ok((it["cluster"].as_str().context("no cluster")?.into(), weight / 1000.0))
            };
            split.insert((*source).into(), clusters.iter().map(share).collect::<Result<_>>()?);
        }
        Ok(split)
    }

    /// Returns the published selection in a cluster.
    pub async fn selection(&self, fleet: &Fleet, source: &str) -> Result<Value> {
        fleet.of(source)?.selection(&self.namespace, &self.service).await
    }

    /// Writes the pods' slice as Kubernetes' own controller does: only in the cluster of the pods.
    async fn write_pods(&self, fleet: &Fleet, cluster: &str, count: u8) -> Result<()> {
        let it = fleet.of(cluster)?;
        let addresses = it.pod_addresses(count);
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let slice = self.in_namespace(objects::local_slice(&self.service, &addresses, Health::Ready));
        objects::apply(it.member.cluster.client(), &slice).await?;
        Ok(())
    }

    /// Writes the exported slice as Lighthouse agents do: in every cluster.
    async fn write_slice(&self, fleet: &Fleet, cluster: &str, health: Health) -> Result<()> {
        let address = fleet.of(cluster)?.exported_address().to_string();
        fleet.apply(&self.in_namespace(objects::slice(&self.service, cluster, &address, health))).await
    }

    fn in_namespace(&self, mut object: Value) -> Value {
        object["metadata"]["namespace"] = json!(self.namespace);
        object
    }
}

/// Fails unless each share is within `points` percentage points of the expected share.
pub fn is_within(split: &Split, expected: &Split, points: f64) -> Result<()> {
    for (source, shares) in expected {
        let published = split.get(source).with_context(|| format!("{source} publishes nothing"))?;
        for (cluster, share) in shares {
            let is = published.get(cluster).copied().unwrap_or_default();
            let off = 100.0 * (is - share);
            ensure!(
                off.abs() <= points,
                "{source} sends {:.1} % to {cluster}, not {:.1} %: {split:?}",
                100.0 * is,
                100.0 * share
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_east(shares: &[(&str, f64)]) -> Split {
        let shares = shares.iter().map(|(cluster, share)| ((*cluster).to_owned(), *share)).collect();
        Split::from([("east".to_owned(), shares)])
    }

    #[test]
    fn split_passes_only_within_the_tolerance() {
        let expected = of_east(&[("east", 0.8), ("west", 0.2)]);
        assert!(is_within(&of_east(&[("east", 0.815), ("west", 0.185)]), &expected, 2.0).is_ok());
        assert!(is_within(&of_east(&[("east", 0.825), ("west", 0.175)]), &expected, 2.0).is_err());
        assert!(is_within(&of_east(&[("east", 0.8)]), &expected, 2.0).is_err(), "the rest is missing");
        assert!(is_within(&Split::new(), &expected, 2.0).is_err());
    }

    #[test]
    fn each_answer_serves_the_configured_number_of_requests() {
        let ttl = Duration::from_secs(5);
        assert!(REQUEST_INTERVAL * (REQUESTS_PER_ANSWER - 1) < ttl && REQUEST_INTERVAL * REQUESTS_PER_ANSWER > ttl);
        assert_eq!(REQUEST_INTERVAL * REQUESTS_PER_ANSWER, ANSWER_LIFETIME);
    }
}
