//! The processes: make each component, one set of tasks, and the first one to end ends all.

use crate::error_chain::chain;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use landfall_core::name::ClusterId;
use landfall_core::plan::Plan;
use landfall_core::pricing::Location;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::feed::{Beginning, Feed, Tellers};
use self::outlets::Outlets;
use self::tasks::Tasks;
use crate::admin::collectors::{PlanState, WriterState};
use crate::admin::fleet::FleetState;
use crate::admin::{self, Admin};
use crate::answers::report;
use crate::broker::credentials::Source;
use crate::broker::objects::Identity;
use crate::change::Touched;
use crate::fleet_metrics::Figures;
use crate::kubernetes::connect::{self, StartError};
use crate::kubernetes::lease::{self, Candidate, Leadership};
use crate::kubernetes::outbox::Outbox;
use crate::kubernetes::writer;
use crate::measure::echo;
use crate::measure::loads::{self, Replicas, Sources};
use crate::measure::prometheus::Prometheus;
use crate::metrics::Metrics;
use crate::observe::perspective::Guide;
use crate::pipeline::Pipeline;
use crate::targets::Meters;
use crate::{broker, clock};

mod feed;
mod outlets;
mod tasks;

const LEASE: &str = "landfall-operator";

/// Which cluster this is, and how to reach its API server.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// `None`: in-cluster, or the default one.
    pub kubeconfig: Option<PathBuf>,
    /// `None`: as the Submariner resource says.
    pub id: Option<ClusterId>,
    /// Our own namespace.
    pub namespace: String,
    pub submariner_namespace: String,
    /// Where it is, which overrides what its nodes say.
    pub location: Option<Location>,
    pub admin: SocketAddr,
}

/// What an operator is told beside its cluster.
#[derive(Debug, Clone)]
pub struct Operating {
    /// In the leader election, different for each replica.
    pub identity: String,
    /// A kubeconfig of the broker and the namespace there. `None`: as the Submariner resource says.
    pub broker: Option<(PathBuf, String)>,
    /// The admin ports of the DNS replicas. Empty: those behind their Service.
    pub dns_replicas: Vec<SocketAddr>,
    /// Its name.
    pub dns_service: String,
    pub probe_source: Option<IpAddr>,
    /// The URL of a Prometheus.
    pub prometheus: Option<String>,
}

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
    let (meters, metered) = watch::channel(Meters::new());
    let (figures, figured) = watch::channel(Arc::<Figures>::default());

    let mut registry = registry(&metrics, &plan);
    metrics.register_writes(&mut registry);
    metrics.register_broker(&mut registry);
    let writer = WriterState { outbox: Arc::clone(&outbox), leadership: leadership.clone() };
    registry.register_collector(Box::new(writer));
    registry.register_collector(Box::new(FleetState(figured)));
    let planned = plan.clone();
    let admin = Admin { registry, missing: Box::new(move || synced(&plan)), answers: None };

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
        vec![Box::pin(broker::run(broker, ends)), Box::pin(loads::run(sources, leader, changes))]
    };
    let feed = Feed {
        client: client.clone(),
        cluster,
        guide: Guide::Policies,
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

/// How other clusters probe a DNS replica.
#[derive(Debug, Clone)]
pub struct Probing {
    pub listen: SocketAddr,
    /// The addresses by which others reach that. Empty: as it listens.
    pub advertise: Vec<SocketAddr>,
    /// Where own probes of other clusters leave from.
    pub source: Option<IpAddr>,
}

/// A DNS replica: answers what the operator published, and the probes of other clusters.
pub async fn dns(
    cluster: Cluster,
    config: landfall_dns::Config,
    probing: Probing,
    drain: Duration,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let server = landfall_dns::bind(config).map_err(|error| StartError::Dns(chain(&error)))?;
    let listener = admin::bind(cluster.admin).await?;
    let (probes, probed_at) = echo::bind(probing.listen).await?;
    let client = connect::client(cluster.kubeconfig.as_deref()).await?;
    let metrics = Metrics::default();
    let (plans, plan) = watch::channel(None);

    let mut registry = registry(&metrics, &plan);
    registry.register_collector(Box::new(admin::collectors::Dns(server.metrics())));
    let advertised = if probing.advertise.is_empty() { vec![probed_at] } else { probing.advertise };
    let answers = Box::new(answers(plan.clone(), advertised));
    let ready = { (plan.clone(), stop.clone()) };
    let missing = move || match ready.1.is_cancelled() {
        true => vec!["its end"],
        false => synced(&ready.0),
    };
    let admin = Admin { registry, missing: Box::new(missing), answers: Some(answers) };

    let serving = CancellationToken::new();
    let observer = |_: &Pipeline, _: &Touched| {};
    let probe_source = probing.source;
    let feed = Feed { client, cluster, guide: Guide::Selections, probe_source, plans, metrics };
    let feed = feed.run(observer, |_| Tellers::new(), serving.clone());
    let mut tasks = Tasks::new(serving.clone());
    tasks.spawn("admin port", done(admin::serve(listener, Arc::new(admin))));
    tasks.spawn("probe port", done(echo::serve(probes)));
    tasks.spawn("pipeline", feed);
    tasks.spawn_drained("DNS server", {
        let serving = serving.clone();
        async move { server.serve(plan, serving).await.map_err(|error| StartError::Dns(chain(&error))) }
    });
    tasks.spawn_drained("drain", async move {
        // Clients go on asking until they have heard that this replica is going.
        tokio::select! {
            () = serving.cancelled() => {}
            () = async { stop.cancelled().await; tokio::time::sleep(drain).await } => serving.cancel(),
        }
        Ok(())
    });
    tasks.first_to_end().await
}

fn registry(metrics: &Metrics, plan: &watch::Receiver<Option<Arc<Plan>>>) -> Registry {
    let mut registry = Registry::with_prefix("landfall");
    metrics.register(&mut registry);
    registry.register_collector(Box::new(PlanState(plan.clone())));
    registry
}

/// The page that says how often this process named whom, under an id that no other one has.
fn answers(
    plan: watch::Receiver<Option<Arc<Plan>>>,
    probe: Vec<SocketAddr>,
) -> impl Fn() -> String + Send + Sync + 'static {
    let boot = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
    move || {
        let plan = plan.borrow().clone();
        report::write(&boot, &probe, plan.as_deref())
    }
}

fn synced(plan: &watch::Receiver<Option<Arc<Plan>>>) -> Vec<&'static str> {
    if plan.borrow().is_some() { Vec::new() } else { vec!["the first complete list of objects"] }
}

async fn done(task: impl Future<Output = ()>) -> Result<(), StartError> {
    task.await;
    Ok(())
}
