//! Counters of the processes. Labels have few values: never the name of an object.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use landfall_controller::object::Kind;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Handles for counting. A clone counts into the same metrics.
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
    /// Registers the metrics that every process has.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("watch_errors", "Interruptions of a watch, by kind", self.watch_errors.clone());
        let help = "Objects left out, wholly or in part, because they are malformed, by kind; the log names them";
        registry.register("skipped_objects", help, self.skipped.clone());
    }

    /// Registers the metrics of writes to the API server.
    pub fn register_writes(&self, registry: &mut Registry) {
        registry.register("writes", "Writes to the API server, by outcome", self.writes.clone());
    }

    /// Registers the metrics of the broker.
    pub fn register_broker(&self, registry: &mut Registry) {
        let help = "Interruptions of the watch of the broker";
        registry.register("broker_watch_errors", help, self.broker_errors.clone());
        let help = "Writes of own facts to the broker, one per object, by outcome";
        registry.register("broker_writes", help, self.facts_writes.clone());
        let help = "Own facts written to the broker, in bytes of JSON";
        registry.register("broker_written_bytes", help, self.facts_bytes.clone());
    }

    /// Counts an interruption of the watch of the broker.
    pub fn broker_error(&self) {
        self.broker_errors.inc();
    }

    /// Counts the write of one object to the broker, and its bytes if it succeeded.
    pub fn facts_written(&self, written: bool, bytes: usize) {
        let outcome = if written { "written" } else { "failed" };
        self.facts_writes.get_or_create(&OutcomeLabel { outcome }).inc();
        if written {
            self.facts_bytes.inc_by(bytes as u64);
        }
    }

    /// Counts a write to the API server by its outcome.
    pub fn written(&self, outcome: &'static str) {
        self.writes.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts an interruption of the watch of a kind.
    pub fn watch_error(&self, kind: Kind) {
        self.watch_errors.get_or_create(&KindLabel { kind: kind.name() }).inc();
    }

    /// Sets the number of malformed objects of every kind.
    pub fn set_skipped(&self, count: impl Fn(Kind) -> usize) {
        for kind in Kind::ALL {
            let count = i64::try_from(count(kind)).unwrap_or(i64::MAX);
            self.skipped.get_or_create(&KindLabel { kind: kind.name() }).set(count);
        }
    }
}
