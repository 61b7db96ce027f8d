//! The metrics of the fleet, read at scrape time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use landfall_core::achieved::Achieved;
use landfall_core::name::ServiceKey;
use landfall_core::savings::Savings;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::watch;

use landfall_controller::fleet_metrics::FleetMetrics;

/// Read at scrape time.
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
        let figures = self.0.borrow().clone();
        number(&mut encoder, "round", "Rounds that this cluster has published", figures.round as f64)?;
        if let Some(heard) = figures.broker_connected {
            number(
                &mut encoder,
                "broker_heard",
                "1 while the facts of all clusters are read",
                f64::from(u8::from(heard)),
            )?;
        }
        let help = "1 while another cluster has this one's id, and nothing is written";
        number(&mut encoder, "duplicate_cluster_id", help, f64::from(u8::from(figures.duplicate)))?;
        let help = "When the facts of a cluster were last written";
        let written =
            figures.written.iter().map(|(cluster, at)| (ClusterLabel { cluster: cluster.to_string() }, *at as f64));
        family(&mut encoder, ("facts_written_timestamp_seconds", help), written)?;
        let rejected = figures.rejected.iter().map(|(reason, count)| (ReasonLabel { reason }, *count as f64));
        family(
            &mut encoder,
            ("facts_rejected_objects", "Objects on the broker that are left out, or something in them"),
            rejected,
        )?;
        let methods = figures.methods.iter().map(|(method, count)| (MethodLabel { method }, *count as f64));
        family(&mut encoder, ("optimized_services", "Optimised services, by how their weights came about"), methods)?;
        saved(&mut encoder, &figures.savings)?;
        achieved(&mut encoder, &figures.achieved)
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
    let help =
        "Estimated USD per million requests of this cluster's clients that the plan saves against a simpler policy";
    let per_million = all().map(|(labels, saved)| (labels, saved.usd_per_million));
    family(encoder, ("saved_usd_per_million_requests", help), per_million)?;
    let help = "The same in 30 days, at the present demand";
    family(encoder, ("saved_usd_per_month", help), all().map(|(labels, saved)| (labels, saved.usd_per_month)))?;
    let help = "Estimated milliseconds until an answer that the plan saves against a simpler policy";
    family(encoder, ("saved_ms", help), all().filter_map(|(labels, saved)| Some((labels, saved.ms?))))
}

fn achieved(encoder: &mut DescriptorEncoder<'_>, achieved: &BTreeMap<ServiceKey, Vec<Achieved>>) -> fmt::Result {
    type Of = fn(&Achieved) -> f64;
    let figures: [(&str, &str, Of); 5] = [
        ("answers_in_round", "Answers in the last round that named a cluster", |one| one.answers as f64),
        ("intended_share", "The part of the answers that should have named it", |one| one.intended),
        ("achieved_share", "The part that did", |one| one.share),
        ("achieved_share_low", "From where on that part lies, with 95% certainty", |one| one.interval.0),
        ("achieved_share_high", "Up to where it lies, with 95% certainty", |one| one.interval.1),
    ];
    for (name, help, of) in figures {
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
        family(encoder, (name, help), values)?;
    }
    Ok(())
}

fn number(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

fn family<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    values: impl Iterator<Item = (L, f64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}
