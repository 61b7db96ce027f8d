//! A service that clusters of a fleet export: the objects that Kubernetes' controllers and a Lighthouse agent would
//! leave in each of them, and the servers that stand behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::fleet::Fleet;
use crate::load::{Clients, Load, Route, Routes};
use crate::objects::{self, Health};

/// How many requests one pod serves at a time, and how long each takes: 10 requests a second and pod.
pub const SERVICE_TIME: Duration = Duration::from_millis(100);
pub const POD_RPS: u32 = 10;

/// How long a client of the load waits between two requests. The TTL of answers, 5 s, is no multiple of it, so that
/// each answer is used the same number of times whatever the machine does meanwhile.
pub const PERIOD: Duration = Duration::from_millis(600);
/// At 0, 0.6, … 4.8 s.
pub const REQUESTS_PER_ANSWER: u32 = 9;

/// As long as an answer is used.
pub const KEPT: Duration = Duration::from_millis(5400);

/// Source cluster: exporting cluster: share, from 0 to 1.
pub type Split = BTreeMap<String, BTreeMap<String, f64>>;

pub struct Exported {
    pub namespace: String,
    pub service: String,
    backends: BTreeMap<String, Backend>,
    routes: Arc<Routes>,
}

impl Exported {
    /// Has each of these clusters export the service with so many ready pods.
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
        fleet.apply(&exported.here(objects::import(service, &clusters))).await?;
        Ok(exported)
    }

    /// Gives a cluster so many pods, to Kubernetes and in truth.
    pub async fn set_pods(&self, fleet: &Fleet, cluster: &str, count: u8) -> Result<()> {
        self.write_pods(fleet, cluster, count).await?;
        self.backend(cluster)?.set_slots(count.into()).await
    }

    /// Tells every cluster whether the export of this one is ready.
    pub async fn set_health(&self, fleet: &Fleet, cluster: &str, health: Health) -> Result<()> {
        self.write_slice(fleet, cluster, health).await
    }

    /// Has all clusters follow a policy with this spec for the service.
    pub async fn set_policy(&self, fleet: &Fleet, spec: Value) -> Result<()> {
        fleet.apply(&self.here(objects::policy(&self.service, spec))).await
    }

    /// What stands behind a cluster's export.
    pub fn backend(&self, cluster: &str) -> Result<&Backend> {
        self.backends.get(cluster).with_context(|| format!("{cluster} does not export {}", self.service))
    }

    /// Starts clients in a cluster that send so many requests a second.
    pub async fn load(&self, fleet: &Fleet, cluster: &str, rps: u32) -> Result<Load> {
        let it = fleet.of(cluster)?;
        let clients = Clients {
            source: it.source(),
            dns: it.member.dns_address(),
            host: format!("{}.{}.svc.clusterset.local", self.service, self.namespace),
            count: usize::try_from(rps)? * usize::try_from(PERIOD.as_millis())? / 1000,
            period: PERIOD,
            spread: KEPT,
        };
        Load::start(clients, Arc::clone(&self.routes)).await
    }

    /// The shares that are published in these clusters.
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

    /// All that is published in a cluster.
    pub async fn selection(&self, fleet: &Fleet, source: &str) -> Result<Value> {
        fleet.of(source)?.selection(&self.namespace, &self.service).await
    }

    /// As Kubernetes' own controller does, in the cluster of the pods alone.
    async fn write_pods(&self, fleet: &Fleet, cluster: &str, count: u8) -> Result<()> {
        let it = fleet.of(cluster)?;
        let addresses = it.pod_addresses(count);
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let slice = self.here(objects::local_slice(&self.service, &addresses, Health::Ready));
        objects::apply(it.member.cluster.client(), &slice).await?;
        Ok(())
    }

    /// As agents do, in every cluster.
    async fn write_slice(&self, fleet: &Fleet, cluster: &str, health: Health) -> Result<()> {
        let address = fleet.of(cluster)?.exported_address().to_string();
        fleet.apply(&self.here(objects::slice(&self.service, cluster, &address, health))).await
    }

    fn here(&self, mut object: Value) -> Value {
        object["metadata"]["namespace"] = json!(self.namespace);
        object
    }
}

/// Fails unless each share is within `points` of 100 of the expected one.
pub fn is_within(split: &Split, expected: &Split, points: f64) -> Result<()> {
    for (source, shares) in expected {
        let published = split.get(source).with_context(|| format!("nothing published in {source}"))?;
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
    fn a_split_may_be_off_by_so_many_points_and_no_more() {
        let expected = of_east(&[("east", 0.8), ("west", 0.2)]);
        assert!(is_within(&of_east(&[("east", 0.815), ("west", 0.185)]), &expected, 2.0).is_ok());
        assert!(is_within(&of_east(&[("east", 0.825), ("west", 0.175)]), &expected, 2.0).is_err());
        assert!(is_within(&of_east(&[("east", 0.8)]), &expected, 2.0).is_err(), "the rest is with nobody");
        assert!(is_within(&Split::new(), &expected, 2.0).is_err());
    }

    #[test]
    fn each_answer_is_used_as_often_as_the_policies_of_the_tests_say() {
        let ttl = Duration::from_secs(5);
        assert!(PERIOD * (REQUESTS_PER_ANSWER - 1) < ttl && PERIOD * REQUESTS_PER_ANSWER > ttl);
        assert_eq!(PERIOD * REQUESTS_PER_ANSWER, KEPT);
    }
}
