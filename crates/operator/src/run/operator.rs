//! The operator: plans, and writes while it leads.

use super::error::StartError;
use super::feed::{Beginning, Feed, Tellers};
use super::options::{Cluster, Operating};
use super::outlets::Outlets;
use super::tasks::Tasks;
use super::tasks::done;
use crate::admin::collectors::WriterState;
use crate::admin::fleet::FleetState;
use crate::admin::{self, Admin};
use crate::admin::{not_synced, registry};
use crate::broker::credentials::Source;
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
use landfall_controller::fleet_metrics::FleetMetrics;
use landfall_controller::observe::perspective::RulesFrom;
use landfall_controller::targets::LoadTargets;
use landfall_core::plan::Plan;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const LEASE: &str = "landfall-operator";

/// The operator: plans, and writes while it leads. Returns when `stop` was cancelled, or with what went wrong.
pub async fn operator(cluster: Cluster, operating: Operating, stop: CancellationToken) -> Result<(), StartError> {
    let listener = admin::bind(cluster.admin).await?;
    let client = connect::client(cluster.kubeconfig.as_deref()).await?;
    let prometheus = operating.prometheus.as_deref().map(Prometheus::new).transpose()?;
    let metrics = Metrics::default();
    let outbox = Arc::new(Outbox::default());
    let (plans, plan) = watch::channel(None);
    let (leads, leadership) = watch::channel(Leadership::Waiting);
    let (own, published) = watch::channel(None);
    let (meters, metered) = watch::channel(LoadTargets::new());
    let (figures, figured) = watch::channel(Arc::<FleetMetrics>::default());

    let mut registry = registry(&metrics, &plan);
    metrics.register_writes(&mut registry);
    metrics.register_broker(&mut registry);
    let writer = WriterState { outbox: Arc::clone(&outbox), leadership: leadership.clone() };
    registry.register_collector(Box::new(writer));
    registry.register_collector(Box::new(FleetState(figured)));
    let planned = plan.clone();
    let admin = Admin { registry, missing: Box::new(move || not_synced(&plan)), answers: None };

    let candidate = Candidate {
        namespace: cluster.namespace.clone(),
        lease: LEASE,
        identity: operating.identity,
        clock: clock::micro_time,
    };
    let outlets = Outlets { outbox: Arc::clone(&outbox), clock: clock::time, own, meters, figures };
    let broker = broker_of(operating.broker, &client, &cluster);
    let replicas = replicas_of((operating.dns_replicas, operating.dns_service), &cluster);
    let sources = Sources { client: client.clone(), replicas, prometheus, meters: metered, clock: clock::unix_seconds };
    let (leader, broker_metrics) = (leadership.clone(), metrics.clone());
    let tellers = move |Beginning { local, instance, changes }: Beginning| -> Tellers {
        let ends = broker::Ends {
            identity: Identity { cluster: local, instance },
            own: published,
            leadership: leader.clone(),
            changes: changes.clone(),
            clock: clock::unix_seconds,
            metrics: broker_metrics,
        };
        vec![Box::pin(broker::run(broker, ends)), Box::pin(measure::run(sources, leader, changes))]
    };
    let feed = Feed {
        client: client.clone(),
        cluster,
        rules_from: RulesFrom::Policies,
        probe_source: operating.probe_source,
        plans,
        metrics: metrics.clone(),
    };
    let mut tasks = Tasks::new(stop.clone());
    tasks.spawn("admin port", done(admin::serve(listener, Arc::new(admin))));
    tasks.spawn("pipeline", feed.run(outlets, tellers, stop.clone()));
    tasks.spawn("writer", done(writer::run(client.clone(), outbox, leadership, clock::time, metrics)));
    tasks.spawn_drained("lease", done(elect(client, candidate, (planned, leads), stop)));
    tasks.first_to_end().await
}

fn broker_of(given: Option<(PathBuf, String)>, client: &Client, cluster: &Cluster) -> Source {
    match given {
        Some((path, namespace)) => Source::Kubeconfig { path, namespace },
        None => Source::Submariner { client: client.clone(), namespace: cluster.submariner_namespace.clone() },
    }
}

fn replicas_of((given, service): (Vec<SocketAddr>, String), cluster: &Cluster) -> Replicas {
    match given.is_empty() {
        true => Replicas::Found { namespace: cluster.namespace.clone(), service },
        false => Replicas::Given(given),
    }
}

/// Whoever has nothing to write should not keep others from it: the election begins with the first plan.
async fn elect(
    client: Client,
    candidate: Candidate,
    (mut planned, leads): (watch::Receiver<Option<Arc<Plan>>>, watch::Sender<Leadership>),
    stop: CancellationToken,
) {
    let synced = tokio::select! {
        synced = planned.wait_for(Option::is_some) => synced.is_ok(),
        () = stop.cancelled() => false,
    };
    if synced {
        lease::run(client, candidate, leads, stop).await;
    } else {
        // When the pipeline has ended by itself, it is the one to say why.
        stop.cancelled().await;
    }
}
