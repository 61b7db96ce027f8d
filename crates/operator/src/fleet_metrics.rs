//! What a dashboard shows of the fleet: how old what the others say is, how weights were computed, what is saved, and whether
//! answers went where they should.
//!
//! Labels name services and clusters here, because that is what the figures are of. There are as many as the plan has, and
//! they go with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use landfall_core::achieved::Achieved;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::savings::Savings;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::watch;

use crate::broker::connection::Hearing;
use crate::pipeline::Pipeline;
use crate::publish::selection::{method, savings_of};
use crate::rounds::optimized;

/// Of one process.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    round: i64,
    /// `None`: there is no broker.
    heard: Option<bool>,
    duplicate: bool,
    /// When what each cluster says was last written, in seconds since 1970.
    written: BTreeMap<ClusterId, u64>,
    /// What is left out, by reason.
    rejected: BTreeMap<&'static str, usize>,
    /// Optimised services, by how their weights were computed.
    methods: BTreeMap<&'static str, usize>,
    /// As of the beginning of the round: it takes as long as planning.
    savings: Arc<BTreeMap<ServiceKey, Savings>>,
    achieved: Arc<BTreeMap<ServiceKey, Vec<Achieved>>>,
}

impl Figures {
    /// `before`: those of a moment ago.
    pub fn of(pipeline: &Pipeline, before: &Self) -> Self {
        let stores = pipeline.stores();
        let broker = stores.broker.as_ref();
        let mut rejected: BTreeMap<&'static str, usize> = BTreeMap::new();
        for (category, _) in broker.iter().flat_map(|broker| broker.rejected.values()) {
            *rejected.entry(category).or_default() += 1;
        }
        let round = pipeline.published().map_or(0, |own| own.generation);
        let savings = match pipeline.rounds().leads() {
            true if round == before.round => Arc::clone(&before.savings),
            true => Arc::new(all_savings(pipeline)),
            // Whoever leads now tells them.
            false => Arc::default(),
        };
        let mut methods = BTreeMap::new();
        for (_, planned, _) in pipeline.plan().iter().flat_map(|plan| optimized(plan)) {
            if let Some(of) = planned.rule.method {
                *methods.entry(method(of)).or_default() += 1;
            }
        }
        Self {
            round,
            heard: broker.map(|_| matches!(pipeline.hearing(), Hearing::Clear { .. })),
            duplicate: broker.is_some_and(|broker| broker.double.is_some()),
            written: stores
                .peers
                .iter()
                .filter_map(|(cluster, facts)| Some((cluster.clone(), facts.observed?)))
                .collect(),
            rejected,
            methods,
            savings,
            achieved: Arc::clone(pipeline.rounds().achieved()),
        }
    }
}

fn all_savings(pipeline: &Pipeline) -> BTreeMap<ServiceKey, Savings> {
    let plans = pipeline.plan().into_iter().flat_map(|plan| optimized(plan));
    plans.filter_map(|(key, planned, _)| Some((key.clone(), savings_of(planned, pipeline.view())?))).collect()
}

/// Read at scrape time.
#[derive(Debug)]
pub struct FleetState(pub watch::Receiver<Arc<Figures>>);

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
        if let Some(heard) = figures.heard {
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
