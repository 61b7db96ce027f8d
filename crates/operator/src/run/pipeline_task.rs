//! The pipeline of a process, with the sources of its changes.

use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use landfall_core::name::ClusterId;
use landfall_core::plan::Plan;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::error::StartError;
use super::options::ProcessOptions;
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

/// Limit of queued changes. A full queue holds back the watches.
const MAX_QUEUED_CHANGES: usize = 1024;

/// The local cluster, which is known once the API server has answered.
pub(super) struct LocalCluster {
    pub(super) id: ClusterId,
    /// UID of the namespace kube-system, which no other cluster has.
    pub(super) instance: String,
    /// Queue of the pipeline.
    pub(super) changes: mpsc::Sender<Change>,
}

/// Sources of changes other than the watches.
pub(super) type ChangeSources = Vec<BoxFuture<'static, ()>>;

/// Inputs and outputs of the pipeline of a process.
pub(super) struct PipelineTask {
    pub(super) client: kube::Client,
    pub(super) process: ProcessOptions,
    pub(super) rules_from: RulesFrom,
    /// Local address that probes leave from.
    pub(super) probe_source: Option<IpAddr>,
    pub(super) plans: watch::Sender<Option<Arc<Plan>>>,
    pub(super) metrics: Metrics,
}

impl PipelineTask {
    /// Runs the pipeline on the watches and on `other_sources`, until `stop` is cancelled or a source fails.
    pub(super) async fn run(
        self,
        mut observer: impl Observer,
        other_sources: impl FnOnce(LocalCluster) -> ChangeSources,
        stop: CancellationToken,
    ) -> Result<(), StartError> {
        let Self { client, process, rules_from, probe_source, plans, metrics } = self;
        connect::preflight(&client).await?;
        let local = match process.id {
            Some(id) => id,
            None => identity::cluster_id(&client, &process.submariner_namespace).await?,
        };
        tracing::info!(cluster = %local, "the API server answers; watching");
        let (changes, queue) = mpsc::channel(MAX_QUEUED_CHANGES);
        let mut sources = watches(&client, (rules_from, &process.namespace), &metrics, &changes);
        let mut pipeline = Pipeline::new(
            Perspective {
                local: local.clone(),
                namespace: process.namespace.into(),
                submariner_namespace: Some(process.submariner_namespace.into()),
                rules_from,
            },
            Age::Live,
        );
        if rules_from == RulesFrom::Policies {
            let location = match process.location {
                Some(location) => Some(location),
                None => identity::location(&client).await?,
            };
            pipeline = pipeline.awaiting_broker(location);
            let instance = identity::instance(&client).await?;
            let others = other_sources(LocalCluster { id: local, instance, changes: changes.clone() });
            others.into_iter().for_each(|source| drop(sources.spawn(source)));
        }
        let (targets, probed) = watch::channel(ProbeTargets::new());
        sources.spawn(links::run(probed, probe_source, changes));
        let observer = |pipeline: &Pipeline, touched: &Touched| {
            let skipped = |kind: Kind| pipeline.stores().problems().filter(|problem| problem.kind == kind).count();
            metrics.set_skipped(skipped);
            targets.send_if_modified(|last| {
                let now = probe_targets(pipeline);
                std::mem::replace(last, now.clone()) != now
            });
            observer.batch_applied(pipeline, touched);
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

/// Starts the watches of all kinds that the pipeline needs.
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
