//! Metrics of one process, read at scrape time so that they cannot drift.

use std::fmt;
use std::sync::Arc;

use landfall_core::plan::Plan;
use landfall_dns::Transport;
use landfall_dns::metrics::Code;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use tokio::sync::watch;

use super::encode::{counter, gauge};
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::outbox::Outbox;

/// Metrics of the plan.
#[derive(Debug)]
pub struct PlanState(pub watch::Receiver<Option<Arc<Plan>>>);

impl Collector for PlanState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (services, changed) = self.0.borrow().as_ref().map_or((0, 0), |plan| (plan.len(), plan.changed()));
        let services = i64::try_from(services).unwrap_or(i64::MAX);
        gauge(&mut encoder, "services", "Services in the plan", services)?;
        let changed = i64::try_from(changed).unwrap_or(i64::MAX);
        gauge(&mut encoder, "plan_changed_timestamp_seconds", "Time of the last change of the plan", changed)
    }
}

/// Metrics of the writes to the API server.
#[derive(Debug)]
pub struct WriterState {
    pub outbox: Arc<Outbox>,
    pub leadership: watch::Receiver<Leadership>,
}

impl Collector for WriterState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let pending = i64::try_from(self.outbox.pending()).unwrap_or(i64::MAX);
        gauge(&mut encoder, "pending_writes", "Objects that are not yet in their desired state", pending)?;
        let leads = i64::from(*self.leadership.borrow() == Leadership::Leader);
        gauge(&mut encoder, "leader", "1 while this replica leads, and so writes", leads)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResponseLabels {
    transport: &'static str,
    rcode: &'static str,
}

/// Metrics of a DNS server.
#[derive(Debug)]
pub struct Dns(pub Arc<landfall_dns::Metrics>);

impl Collector for Dns {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "DNS queries by transport and response code; dropped: not answered";
        let mut responses = encoder.encode_descriptor("dns_responses", help, None, MetricType::Counter)?;
        for transport in Transport::ALL {
            for code in Code::ALL {
                let labels = ResponseLabels { transport: transport.as_str(), rcode: code.as_str() };
                let count = ConstCounter::new(self.0.responses(transport, code));
                count.encode(responses.encode_family(&labels)?)?;
            }
        }
        let truncated = Transport::ALL.into_iter().map(|transport| self.0.truncated(transport)).sum();
        counter(&mut encoder, "dns_truncated", "DNS replies truncated with the TC flag set", truncated)?;
        counter(&mut encoder, "dns_unsent", "DNS replies over UDP that the system could not send", self.0.unsent())?;
        let help = "Failed attempts to receive DNS queries over UDP, each retried after a pause";
        counter(&mut encoder, "dns_receive_errors", help, self.0.receive_errors())?;
        let help = "TCP connections that the DNS server could not accept";
        counter(&mut encoder, "dns_accept_errors", help, self.0.accept_errors())?;
        let connections = i64::try_from(self.0.connections()).unwrap_or(i64::MAX);
        gauge(&mut encoder, "dns_connections", "Open TCP connections of the DNS server", connections)
    }
}
