//! Metrics of the fleet, read at scrape time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use landfall_core::achieved::Achieved;
use landfall_core::name::ServiceKey;
use landfall_core::savings::Savings;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use tokio::sync::watch;

use super::encode::{gauge, gauges};
use landfall_controller::fleet_metrics::FleetMetrics;

/// Metrics of the fleet, as the pipeline last published them.
#[derive(Debug)]
pub struct FleetState(pub watch::Receiver<Arc<FleetMetrics>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabel {
    cluster: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabel {
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SavedLabels {
    namespace: String,
    service: String,
    against: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SplitLabels {
    namespace: String,
    service: String,
    cluster: String,
}

impl Collector for FleetState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let fleet_metrics = self.0.borrow().clone();
        gauge(&mut encoder, "round", "Rounds that this cluster has published", fleet_metrics.round as f64)?;
        if let Some(connected) = fleet_metrics.broker_connected {
            let help = "1 while the facts of all clusters are read";
            gauge(&mut encoder, "broker_heard", help, f64::from(u8::from(connected)))?;
        }
        let help = "1 while another cluster has the id of this one, which then writes no facts";
        gauge(&mut encoder, "duplicate_cluster_id", help, f64::from(u8::from(fleet_metrics.duplicate)))?;
        let help = "Time of the last write of a cluster's facts, by the broker's clock";
        let written = fleet_metrics
            .written
            .iter()
            .map(|(cluster, at)| (ClusterLabel { cluster: cluster.to_string() }, *at as f64));
        gauges(&mut encoder, ("facts_written_timestamp_seconds", help), written)?;
        let rejected = fleet_metrics.rejected.iter().map(|(reason, count)| (ReasonLabel { reason }, *count as f64));
        let help = "Objects on the broker that are left out, wholly or in part";
        gauges(&mut encoder, ("facts_rejected_objects", help), rejected)?;
        let methods = fleet_metrics.methods.iter().map(|(method, count)| (MethodLabel { method }, *count as f64));
        gauges(
            &mut encoder,
            ("optimized_services", "Optimized services, by how their weights were computed"),
            methods,
        )?;
        saved(&mut encoder, &fleet_metrics.savings)?;
        achieved(&mut encoder, &fleet_metrics.achieved)
    }
}

fn saved(encoder: &mut DescriptorEncoder<'_>, savings: &BTreeMap<ServiceKey, Savings>) -> fmt::Result {
    let all = || {
        savings.iter().flat_map(|(key, savings)| {
            let labels = |against| SavedLabels {
                namespace: key.namespace().to_owned(),
                service: key.name().to_owned(),
                against,
            };
            let round_robin = savings.against(&savings.round_robin);
            let local_first = savings.against(&savings.local_first);
            [(labels("round-robin"), round_robin), (labels("local-first"), local_first)]
        })
    };
    let help = "Estimated savings against a simpler policy, in USD per million requests of this cluster's clients";
    let per_million = all().map(|(labels, saved)| (labels, saved.usd_per_million));
    gauges(encoder, ("saved_usd_per_million_requests", help), per_million)?;
    let help = "Estimated savings against a simpler policy, in USD per 30 days at the present demand";
    gauges(encoder, ("saved_usd_per_month", help), all().map(|(labels, saved)| (labels, saved.usd_per_month)))?;
    let help = "Estimated reduction of the mean response time against a simpler policy, in milliseconds";
    gauges(encoder, ("saved_ms", help), all().filter_map(|(labels, saved)| Some((labels, saved.ms?))))
}

fn achieved(encoder: &mut DescriptorEncoder<'_>, achieved: &BTreeMap<ServiceKey, Vec<Achieved>>) -> fmt::Result {
    type Of = fn(&Achieved) -> f64;
    let metrics: [(&str, &str, Of); 5] = [
        ("answers_in_round", "Answers in the last round that named the cluster", |one| one.answers as f64),
        ("intended_share", "Share of the answers that the weights intended for the cluster", |one| one.intended),
        ("achieved_share", "Share of the answers that named the cluster", |one| one.share),
        ("achieved_share_low", "Lower bound of the 95% interval of the achieved share", |one| one.interval.0),
        ("achieved_share_high", "Upper bound of the 95% interval of the achieved share", |one| one.interval.1),
    ];
    for (name, help, of) in metrics {
        let values = achieved.iter().flat_map(|(key, all)| {
            all.iter().map(move |one| {
                let labels = SplitLabels {
                    namespace: key.namespace().to_owned(),
                    service: key.name().to_owned(),
                    cluster: one.cluster.to_string(),
                };
                (labels, of(one))
            })
        });
        gauges(encoder, (name, help), values)?;
    }
    Ok(())
}
