//! Everything that tells the pipeline something, and the pipeline itself.

use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use landfall_core::name::ClusterId;
use landfall_core::plan::Plan;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::error::StartError;
use super::options::Cluster;
use crate::clock::unix_seconds;
use crate::control_loop::{self, Observer};
use crate::kubernetes::watch as source;
use crate::kubernetes::{connect, identity};
use crate::measure::links;
use crate::metrics::Metrics;
use landfall_controller::change::{Change, Touched};
use landfall_controller::object::Kind;
use landfall_controller::observe::perspective::{Age, Perspective, RulesFrom};
use landfall_controller::pipeline::{Pipeline, required};
use landfall_controller::targets::{ProbeTargets, probe_targets};

/// Changes that wait for the pipeline. A full queue holds back the watches, which is what a slow consumer should do.
const CHANGES: usize = 1024;

/// What is known when the API server has answered for the first time.
pub(super) struct Beginning {
    pub(super) local: ClusterId,
    /// Of the namespace kube-system: no other cluster has it.
    pub(super) instance: String,
    pub(super) changes: mpsc::Sender<Change>,
}

/// What tells something besides the watches.
pub(super) type Tellers = Vec<BoxFuture<'static, ()>>;

/// Who plans from what.
pub(super) struct Feed {
    pub(super) client: kube::Client,
    pub(super) cluster: Cluster,
    pub(super) rules_from: RulesFrom,
    /// Probes leave from there.
    pub(super) probe_source: Option<IpAddr>,
    pub(super) plans: watch::Sender<Option<Arc<Plan>>>,
    pub(super) metrics: Metrics,
}

impl Feed {
    /// Watches into the pipeline. Ends only with an error, or when `stop` is cancelled.
    pub(super) async fn run(
        self,
        mut observer: impl Observer,
        tellers: impl FnOnce(Beginning) -> Tellers,
        stop: CancellationToken,
    ) -> Result<(), StartError> {
        let Self { client, cluster, rules_from, probe_source, plans, metrics } = self;
        connect::preflight(&client).await?;
        let local = match cluster.id {
            Some(id) => id,
            None => identity::cluster_id(&client, &cluster.submariner_namespace).await?,
        };
        tracing::info!(cluster = %local, "the API server answers; watching");
        let (changes, queue) = mpsc::channel(CHANGES);
        let mut sources = watches(&client, (rules_from, &cluster.namespace), &metrics, &changes);
        let mut pipeline = Pipeline::new(
            Perspective {
                local: local.clone(),
                namespace: cluster.namespace.into(),
                submariner_namespace: Some(cluster.submariner_namespace.into()),
                rules_from,
            },
            Age::Live,
        );
        if rules_from == RulesFrom::Policies {
            let place = match cluster.location {
                Some(place) => Some(place),
                None => identity::location(&client).await?,
            };
            pipeline = pipeline.awaiting_broker(place);
            let instance = identity::instance(&client).await?;
            tellers(Beginning { local, instance, changes: changes.clone() }).into_iter().for_each(|teller| {
                sources.spawn(teller);
            });
        }
        let (targets, probed) = watch::channel(ProbeTargets::new());
        sources.spawn(links::run(probed, probe_source, changes));
        let observer = |pipeline: &Pipeline, touched: &Touched| {
            let of = |kind: Kind| pipeline.stores().problems().filter(|problem| problem.kind == kind).count();
            metrics.set_skipped(of);
            targets.send_if_modified(|known| {
                let now = probe_targets(pipeline);
                std::mem::replace(known, now.clone()) != now
            });
            observer.settled(pipeline, touched);
        };
        tokio::select! {
            biased;
            () = control_loop::run(pipeline, queue, plans, observer, (unix_seconds, stop)) => Ok(()),
            Some(ended) = sources.join_next() => {
                Err(StartError::Ended { component: "a watch", why: ended.err().map(|panic| panic.to_string()) })
            }
        }
    }
}

fn watches(
    client: &kube::Client,
    (rules_from, own): (RulesFrom, &str),
    metrics: &Metrics,
    changes: &mpsc::Sender<Change>,
) -> JoinSet<()> {
    let scope = match rules_from {
        RulesFrom::Policies => source::Scope::All,
        RulesFrom::Selections => source::Scope::Clusterset,
    };
    let mut watches = JoinSet::new();
    for &kind in required(rules_from) {
        let metrics = metrics.clone();
        let error = move || metrics.watch_error(kind);
        watches.spawn(source::watch(client.clone(), kind, scope.clone().of(kind, own), changes.clone(), error));
    }
    watches
}
