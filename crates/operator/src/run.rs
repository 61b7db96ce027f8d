//! The processes: make each component, one set of tasks, and the first one to end ends all.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;
use landfall_core::name::ClusterId;
use landfall_core::plan::Plan;
use landfall_core::pricing::Location;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::lease::{self, Candidate, Leadership};
use crate::measure::{echo, page};
use crate::metrics::{Metrics, PlanState, WriterState};
use crate::object::Kind;
use crate::observe::{Guide, Perspective};
use crate::outbox::Outbox;
use crate::pipeline::{self, Age, Observer, Pipeline, required};
use crate::reconcile::Reconciler;
use crate::start::{self, StartError};
use crate::stores::Touched;
use crate::{apply, watch as source};

/// Changes that wait for the pipeline. A full queue holds back the watches, which is what a slow consumer should do.
const CHANGES: usize = 1024;
/// How long components may take to end after they were asked to.
const DRAIN: Duration = Duration::from_secs(5);
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

/// The operator: plans, and writes while it leads. Returns when `stop` was cancelled, or with what went wrong.
pub async fn operator(cluster: Cluster, identity: String, stop: CancellationToken) -> Result<(), StartError> {
    let listener = admin::bind(cluster.admin).await?;
    let client = start::client(cluster.kubeconfig.as_deref()).await?;
    let metrics = Metrics::default();
    let outbox = Arc::new(Outbox::default());
    let (plans, plan) = watch::channel(None);
    let (leads, leadership) = watch::channel(Leadership::Waiting);

    let mut registry = registry(&metrics, &plan);
    metrics.register_writes(&mut registry);
    let writer = WriterState { outbox: Arc::clone(&outbox), leadership: leadership.clone() };
    registry.register_collector(Box::new(writer));
    let mut planned = plan.clone();
    let admin = Admin { registry, missing: Box::new(move || synced(&plan)), answers: None };

    let candidate = Candidate { namespace: cluster.namespace.clone(), lease: LEASE, identity, clock: micro_time };
    let reconciler = Reconciler { outbox: Arc::clone(&outbox), clock: time };
    let feed = feed(client.clone(), cluster, Guide::Policies, (plans, metrics.clone(), reconciler), stop.clone());
    let mut tasks = Tasks::new(stop.clone());
    tasks.spawn("admin port", done(admin::serve(listener, Arc::new(admin))));
    tasks.spawn("pipeline", feed);
    tasks.spawn("writer", done(apply::run(client.clone(), outbox, leadership, time, Arc::new(metrics))));
    tasks.spawn_drained(
        "lease",
        done(async move {
            // Whoever has nothing to write should not keep others from it.
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
        }),
    );
    tasks.first_to_end().await
}

/// How other clusters probe a DNS replica.
#[derive(Debug, Clone)]
pub struct Probing {
    pub listen: SocketAddr,
    /// The addresses by which others reach that. Empty: as it listens.
    pub advertise: Vec<SocketAddr>,
}

/// A DNS replica: answers what the operator published, and the probes of other clusters.
pub async fn dns(
    cluster: Cluster,
    config: landfall_dns::Config,
    probing: Probing,
    drain: Duration,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let server = landfall_dns::bind(config).map_err(|error| StartError::Dns(source::chain(&error)))?;
    let listener = admin::bind(cluster.admin).await?;
    let (probes, probed_at) = echo::bind(probing.listen).await?;
    let client = start::client(cluster.kubeconfig.as_deref()).await?;
    let metrics = Metrics::default();
    let (plans, plan) = watch::channel(None);

    let mut registry = registry(&metrics, &plan);
    registry.register_collector(Box::new(crate::metrics::Dns(server.metrics())));
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
    let feed = feed(client, cluster, Guide::Selections, (plans, metrics, observer), serving.clone());
    let mut tasks = Tasks::new(serving.clone());
    tasks.spawn("admin port", done(admin::serve(listener, Arc::new(admin))));
    tasks.spawn("probe port", done(echo::serve(probes)));
    tasks.spawn("pipeline", feed);
    tasks.spawn_drained("DNS server", {
        let serving = serving.clone();
        async move { server.serve(plan, serving).await.map_err(|error| StartError::Dns(source::chain(&error))) }
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

/// Watches into the pipeline. Ends only with an error, or when `stop` is cancelled.
async fn feed(
    client: kube::Client,
    cluster: Cluster,
    guide: Guide,
    (plans, metrics, mut observer): (watch::Sender<Option<Arc<Plan>>>, Metrics, impl Observer),
    stop: CancellationToken,
) -> Result<(), StartError> {
    start::preflight(&client).await?;
    let local = match cluster.id {
        Some(id) => id,
        None => start::cluster_id(&client, &cluster.submariner_namespace).await?,
    };
    tracing::info!(cluster = %local, "the API server answers; watching");
    let (changes, queue) = mpsc::channel(CHANGES);
    let scope = match guide {
        Guide::Policies => source::Scope::All,
        Guide::Selections => source::Scope::Clusterset,
    };
    let mut watches = JoinSet::new();
    for &kind in required(guide) {
        let metrics = metrics.clone();
        watches.spawn(source::watch(client.clone(), kind, scope.clone(), changes.clone(), move || {
            metrics.watch_error(kind)
        }));
    }
    drop(changes);
    let submariner_namespace = Some(cluster.submariner_namespace.into());
    let perspective = Perspective { local, namespace: cluster.namespace.into(), submariner_namespace, guide };
    let observer = |pipeline: &Pipeline, touched: &Touched| {
        let of = |kind: Kind| pipeline.stores().problems().filter(|problem| problem.kind == kind).count();
        metrics.set_skipped(of);
        observer.settled(pipeline, touched);
    };
    let pipeline = Pipeline::new(perspective, Age::Live);
    tokio::select! {
        biased;
        () = pipeline::run(pipeline, queue, plans, observer, (unix_seconds, stop)) => Ok(()),
        Some(ended) = watches.join_next() => {
            Err(StartError::Ended { component: "a watch", why: ended.err().map(|panic| panic.to_string()) })
        }
    }
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
        page::write(&boot, &probe, plan.as_deref())
    }
}

fn synced(plan: &watch::Receiver<Option<Arc<Plan>>>) -> Vec<&'static str> {
    if plan.borrow().is_some() { Vec::new() } else { vec!["the first complete list of objects"] }
}

async fn done(task: impl Future<Output = ()>) -> Result<(), StartError> {
    task.await;
    Ok(())
}

/// The components of a process. When one ends unasked, all end.
struct Tasks {
    tasks: JoinSet<(&'static str, Result<(), StartError>)>,
    /// Those that have something to finish once they are asked to stop.
    drained: JoinSet<(&'static str, Result<(), StartError>)>,
    stop: CancellationToken,
}

impl Tasks {
    fn new(stop: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), drained: JoinSet::new(), stop }
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = Result<(), StartError>> + Send + 'static) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    fn spawn_drained(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), StartError>> + Send + 'static,
    ) {
        self.drained.spawn(async move { (name, task.await) });
    }

    async fn first_to_end(mut self) -> Result<(), StartError> {
        let ended = tokio::select! {
            () = self.stop.cancelled() => None,
            Some(ended) = self.tasks.join_next() => Some(ended),
            Some(ended) = self.drained.join_next() => Some(ended),
        };
        let asked = self.stop.is_cancelled();
        self.stop.cancel();
        let finish = async { while self.drained.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, finish).await.is_err() {
            tracing::warn!("not everything ended in time; leaving it behind");
        }
        match ended {
            None => Ok(()),
            Some(Ok((_, Err(error)))) => Err(error),
            Some(Ok((_, Ok(())))) if asked => Ok(()),
            Some(Ok((component, Ok(())))) => Err(StartError::Ended { component, why: None }),
            Some(Err(panic)) => Err(StartError::Ended { component: "a task", why: Some(panic.to_string()) }),
        }
    }
}

/// The clock, for those who are given it.
pub fn unix_seconds() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or(0)
}

/// To the second, as Kubernetes stores it.
fn time() -> Time {
    at(unix_seconds()).unwrap_or(Time(Timestamp::UNIX_EPOCH))
}

/// Seconds since 1970 as Kubernetes writes them.
pub fn at(unix_seconds: u64) -> Option<Time> {
    Timestamp::from_second(i64::try_from(unix_seconds).ok()?).ok().map(Time)
}

fn micro_time() -> MicroTime {
    MicroTime(Timestamp::now())
}
