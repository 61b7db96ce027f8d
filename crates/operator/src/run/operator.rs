//! The operator: plans, and writes while it leads.

use super::error::StartError;
use super::options::{OperatorOptions, ProcessOptions};
use super::pipeline_task::{ChangeSources, LocalCluster, PipelineTask};
use super::publisher::Publisher;
use super::tasks::Tasks;
use super::tasks::done;
use crate::admin::collectors::WriterState;
use crate::admin::fleet::FleetState;
use crate::admin::{self, Admin};
use crate::admin::{not_synced, registry};
use crate::broker::BrokerIo;
use crate::broker::credentials::BrokerSource;
use crate::kubernetes::connect;
use crate::kubernetes::lease::{self, Candidate, Leadership};
use crate::kubernetes::outbox::Outbox;
use crate::kubernetes::writer;
use crate::measure;
use crate::measure::prometheus::Prometheus;
use crate::measure::sources::{Replicas, Sources};
use crate::metrics::Metrics;
use crate::{broker, clock};
use kube::Client;
use landfall_controller::broker::objects::Identity;
use landfall_controller::facts::ClusterFacts;
use landfall_controller::fleet_metrics::FleetMetrics;
use landfall_controller::observe::perspective::RulesFrom;
use landfall_controller::targets::LoadTargets;
use landfall_core::plan::Plan;
use prometheus_client::registry::Registry;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Name of the Lease of the leader.
const LEASE: &str = "landfall-operator";

/// Runs the operator until `stop` is cancelled or a component fails.
pub async fn operator(
    process: ProcessOptions,
    options: OperatorOptions,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let listener = admin::bind(process.admin).await?;
    let client = connect::client(process.kubeconfig.as_deref()).await?;
    let prometheus = options.prometheus.as_deref().map(Prometheus::new).transpose()?;
    let metrics = Metrics::default();
    let outbox = Arc::new(Outbox::default());
    let (senders, receivers) = channels();

    let registry = operator_registry(&metrics, &outbox, &receivers);
    let plan = receivers.plan.clone();
    let admin = Admin { registry, missing: Box::new(move || not_synced(&plan)), answers: None };
    let candidate = Candidate {
        namespace: process.namespace.clone(),
        lease: LEASE,
        identity: options.identity,
        clock: clock::micro_time,
    };
    let broker = BrokerSource::new(options.broker, &client, &process.submariner_namespace);
    let replicas = replicas(options.dns_replicas, options.dns_service, &process.namespace);
    let (load_targets, clock) = (receivers.load_targets, clock::unix_seconds);
    let sources = Sources { client: client.clone(), replicas, prometheus, load_targets, clock };
    let leadership = receivers.leadership;
    let other_sources = change_sources((broker, receivers.own), sources, leadership.clone(), metrics.clone());
    let publisher = Publisher {
        outbox: Arc::clone(&outbox),
        clock: clock::time,
        own: senders.own,
        load_targets: senders.load_targets,
        fleet_metrics: senders.fleet_metrics,
    };
    let pipeline = PipelineTask {
        client: client.clone(),
        process,
        rules_from: RulesFrom::Policies,
        probe_source: options.probe_source,
        plans: senders.plan,
        metrics: metrics.clone(),
    };

    let mut tasks = Tasks::new(stop.clone());
    tasks.spawn("admin port", done(admin::serve(listener, Arc::new(admin))));
    tasks.spawn("pipeline", pipeline.run(publisher, other_sources, stop.clone()));
    tasks.spawn("writer", done(writer::run(client.clone(), outbox, leadership, clock::time, metrics)));
    tasks.spawn_drained("lease", done(elect(client, candidate, (receivers.plan, senders.leadership), stop)));
    tasks.first_to_end().await
}

/// Sending ends of the latest values that the components exchange.
struct Senders {
    plan: watch::Sender<Option<Arc<Plan>>>,
    leadership: watch::Sender<Leadership>,
    own: watch::Sender<Option<Arc<ClusterFacts>>>,
    load_targets: watch::Sender<LoadTargets>,
    fleet_metrics: watch::Sender<Arc<FleetMetrics>>,
}

/// Receiving ends of the same values.
struct Receivers {
    plan: watch::Receiver<Option<Arc<Plan>>>,
    leadership: watch::Receiver<Leadership>,
    own: watch::Receiver<Option<Arc<ClusterFacts>>>,
    load_targets: watch::Receiver<LoadTargets>,
    fleet_metrics: watch::Receiver<Arc<FleetMetrics>>,
}

fn channels() -> (Senders, Receivers) {
    let (plan, plan_receiver) = watch::channel(None);
    let (leadership, leadership_receiver) = watch::channel(Leadership::Waiting);
    let (own, own_receiver) = watch::channel(None);
    let (load_targets, load_targets_receiver) = watch::channel(LoadTargets::new());
    let (fleet_metrics, fleet_metrics_receiver) = watch::channel(Arc::<FleetMetrics>::default());
    let receivers = Receivers {
        plan: plan_receiver,
        leadership: leadership_receiver,
        own: own_receiver,
        load_targets: load_targets_receiver,
        fleet_metrics: fleet_metrics_receiver,
    };
    (Senders { plan, leadership, own, load_targets, fleet_metrics }, receivers)
}

/// Returns a registry with all metrics of the operator.
fn operator_registry(metrics: &Metrics, outbox: &Arc<Outbox>, receivers: &Receivers) -> Registry {
    let mut registry = registry(metrics, &receivers.plan);
    metrics.register_writes(&mut registry);
    metrics.register_broker(&mut registry);
    let writer = WriterState { outbox: Arc::clone(outbox), leadership: receivers.leadership.clone() };
    registry.register_collector(Box::new(writer));
    registry.register_collector(Box::new(FleetState(receivers.fleet_metrics.clone())));
    registry
}

/// Returns the configured DNS replicas, otherwise those behind the Service.
fn replicas(configured: Vec<SocketAddr>, service: String, namespace: &str) -> Replicas {
    match configured.is_empty() {
        true => Replicas::Found { namespace: namespace.to_owned(), service },
        false => Replicas::Given(configured),
    }
}

/// Returns the sources of changes other than the watches: the broker and the measurements.
fn change_sources(
    (broker, own): (BrokerSource, watch::Receiver<Option<Arc<ClusterFacts>>>),
    sources: Sources,
    leadership: watch::Receiver<Leadership>,
    metrics: Metrics,
) -> impl FnOnce(LocalCluster) -> ChangeSources {
    move |LocalCluster { id, instance, changes }| {
        let io = BrokerIo {
            identity: Identity { cluster: id, instance },
            own,
            leadership: leadership.clone(),
            changes: changes.clone(),
            clock: clock::unix_seconds,
            metrics,
        };
        vec![Box::pin(broker::run(broker, io)), Box::pin(measure::run(sources, leadership, changes))]
    }
}

/// Takes part in the election from the first plan on. Before that, this replica has nothing to write, and must not keep
/// another one from leading.
async fn elect(
    client: Client,
    candidate: Candidate,
    (mut plan, leadership): (watch::Receiver<Option<Arc<Plan>>>, watch::Sender<Leadership>),
    stop: CancellationToken,
) {
    let synced = tokio::select! {
        synced = plan.wait_for(Option::is_some) => synced.is_ok(),
        () = stop.cancelled() => false,
    };
    if synced {
        lease::run(client, candidate, leadership, stop).await;
    } else {
        // If the pipeline has ended, its own error is the one to report.
        stop.cancelled().await;
    }
}
