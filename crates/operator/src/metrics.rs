//! What Prometheus sees. Labels have few values: never the name of an object.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use landfall_core::plan::Plan;
use landfall_dns::Transport;
use landfall_dns::metrics::Code;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::kubernetes::lease::Leadership;
use crate::kubernetes::outbox::Outbox;
use crate::object::Kind;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Handles to count with; cloning one shares it.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    watch_errors: Family<KindLabel, Counter>,
    skipped: Family<KindLabel, Gauge<i64, AtomicI64>>,
    writes: Family<OutcomeLabel, Counter>,
    broker_errors: Counter,
    facts_writes: Family<OutcomeLabel, Counter>,
    facts_bytes: Counter,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("watch_errors", "Interruptions of a watch, by kind", self.watch_errors.clone());
        let help = "Objects that are left out because they are malformed, by kind; the log says which";
        registry.register("skipped_objects", help, self.skipped.clone());
    }

    pub fn register_writes(&self, registry: &mut Registry) {
        registry.register("writes", "Writes to the API server, by how they ended", self.writes.clone());
    }

    pub fn register_broker(&self, registry: &mut Registry) {
        let help = "Interruptions of the watch of the broker";
        registry.register("broker_watch_errors", help, self.broker_errors.clone());
        registry.register(
            "broker_writes",
            "Writes of own facts to the broker, by how they ended",
            self.facts_writes.clone(),
        );
        registry.register("broker_written_bytes", "What was written there, as JSON", self.facts_bytes.clone());
    }

    pub fn broker_error(&self) {
        self.broker_errors.inc();
    }

    /// Of one object.
    pub fn facts_written(&self, written: bool, bytes: usize) {
        let outcome = if written { "written" } else { "failed" };
        self.facts_writes.get_or_create(&OutcomeLabel { outcome }).inc();
        if written {
            self.facts_bytes.inc_by(bytes as u64);
        }
    }

    pub fn watch_error(&self, kind: Kind) {
        self.watch_errors.get_or_create(&KindLabel { kind: kind.name() }).inc();
    }

    pub fn set_skipped(&self, count: impl Fn(Kind) -> usize) {
        for kind in Kind::ALL {
            let count = i64::try_from(count(kind)).unwrap_or(i64::MAX);
            self.skipped.get_or_create(&KindLabel { kind: kind.name() }).set(count);
        }
    }
}

impl crate::kubernetes::writer::Count for Metrics {
    fn count(&self, outcome: &'static str) {
        self.writes.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}

/// Read at scrape time, so that it cannot drift.
#[derive(Debug)]
pub struct PlanState(pub watch::Receiver<Option<Arc<Plan>>>);

impl Collector for PlanState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (services, changed) = self.0.borrow().as_ref().map_or((0, 0), |plan| (plan.len(), plan.changed()));
        let services = i64::try_from(services).unwrap_or(i64::MAX);
        gauge(&mut encoder, "services", "Services in the plan", services)?;
        let changed = i64::try_from(changed).unwrap_or(i64::MAX);
        gauge(&mut encoder, "plan_changed_timestamp_seconds", "When the plan last changed", changed)
    }
}

#[derive(Debug)]
pub struct WriterState {
    pub outbox: Arc<Outbox>,
    pub leadership: watch::Receiver<Leadership>,
}

impl Collector for WriterState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let pending = i64::try_from(self.outbox.pending()).unwrap_or(i64::MAX);
        gauge(&mut encoder, "pending_writes", "Objects that are not yet as they should be", pending)?;
        let leads = i64::from(*self.leadership.borrow() == Leadership::Leader);
        gauge(&mut encoder, "leader", "1 while this replica writes", leads)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResponseLabels {
    transport: &'static str,
    rcode: &'static str,
}

/// The counters of a DNS server.
#[derive(Debug)]
pub struct Dns(pub Arc<landfall_dns::Metrics>);

impl Collector for Dns {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Queries over DNS, by what became of them";
        let mut responses = encoder.encode_descriptor("dns_responses", help, None, MetricType::Counter)?;
        for transport in Transport::ALL {
            for code in Code::ALL {
                let labels = ResponseLabels { transport: transport.as_str(), rcode: code.as_str() };
                let count = ConstCounter::new(self.0.responses(transport, code));
                count.encode(responses.encode_family(&labels)?)?;
            }
        }
        let truncated = Transport::ALL.into_iter().map(|transport| self.0.truncated(transport)).sum();
        counter(&mut encoder, "dns_truncated", "Answers that had to leave something out and said so", truncated)?;
        counter(&mut encoder, "dns_unsent", "Answers that the system refused to send", self.0.unsent())?;
        let help = "TCP connections that the system could not give us";
        counter(&mut encoder, "dns_accept_errors", help, self.0.accept_errors())?;
        let connections = i64::try_from(self.0.connections()).unwrap_or(i64::MAX);
        gauge(&mut encoder, "dns_connections", "TCP connections that are open", connections)
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let counter = ConstCounter::new(value);
    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}
