//! Reads the present once: a folder of clusters, or one cluster and its broker.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use kube::Client;
use landfall_operator::broker;
use landfall_operator::broker::build::Identity;
use landfall_operator::files::FilesError;
use landfall_operator::object::Kind;
use landfall_operator::observe::{Guide, Perspective};
use landfall_operator::pipeline::{Age, Pipeline, required};
use landfall_operator::run::unix_seconds;
use landfall_operator::start::{self, StartError};
use landfall_operator::stores::Change;
use landfall_operator::watch;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::actions::options::ClusterOptions;
use crate::{findings, fleet};

/// Limit for reading a cluster, because a person is waiting.
pub const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// Limit of the queue between the watches and the pipeline. A full queue holds back the watches.
const MAX_QUEUED_CHANGES: usize = 1024;

/// The present: one pipeline with a plan per cluster that can be seen from the inside.
#[derive(Debug)]
pub struct Inspection {
    pub clusters: Vec<Pipeline>,
    /// Time of the inspection, in seconds since 1970. `None` if facts do not age, as in a folder.
    pub now: Option<u64>,
    /// What is wrong, one line each.
    pub findings: Vec<String>,
}

/// Why a cluster could not be read.
#[derive(Debug)]
pub enum InspectError {
    Start(StartError),
    /// Kinds whose lists did not arrive in time, with the error of the API server if there was one.
    TimedOut(BTreeMap<Kind, Option<Box<str>>>),
    WatchesEnded,
}

impl fmt::Display for InspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(f),
            Self::TimedOut(pending) => f.write_str(&timed_out(pending)),
            Self::WatchesEnded => f.write_str("the watches ended"),
        }
    }
}

impl Error for InspectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Start(error) => error.source(),
            Self::TimedOut(_) | Self::WatchesEnded => None,
        }
    }
}

impl From<StartError> for InspectError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

/// Reads a folder with one sub-folder per cluster.
pub fn folder(dir: &Path, namespace: &str) -> Result<Inspection, FilesError> {
    let clusters = fleet::load(dir, namespace)?;
    let mut findings = fleet::strays(dir);
    for (folder, pipeline) in &clusters {
        let in_files = folder.problems().map(findings::in_file);
        findings.extend(in_files.chain(folder.duplicates()).chain(findings::problems(pipeline)));
    }
    let clusters = clusters.into_iter().map(|(_, pipeline)| pipeline).collect();
    Ok(Inspection { clusters, now: None, findings })
}

/// Reads all lists of a cluster once, and the facts of the other clusters from the broker.
pub async fn cluster(options: &ClusterOptions) -> Result<Inspection, InspectError> {
    let client = start::client(options.kubeconfig.as_deref()).await?;
    let mut pending = required(Guide::Policies).iter().map(|kind| (*kind, None)).collect();
    let read = timeout(READ_TIMEOUT, read(&client, options, &mut pending)).await;
    let pipeline = read.unwrap_or_else(|_| Err(InspectError::TimedOut(pending)))?;
    let findings = findings::problems(&pipeline).into_iter().chain(findings::broker_problem(&pipeline)).collect();
    Ok(Inspection { clusters: vec![pipeline], now: Some(unix_seconds()), findings })
}

/// Removes from `pending` each kind whose list has arrived, and notes there why a list does not arrive.
async fn read(
    client: &Client,
    options: &ClusterOptions,
    pending: &mut BTreeMap<Kind, Option<Box<str>>>,
) -> Result<Pipeline, InspectError> {
    start::preflight(client).await?;
    let local = match &options.cluster_id {
        Some(id) => id.clone(),
        None => start::cluster_id(client, &options.submariner_namespace).await?,
    };
    let perspective = Perspective {
        local,
        namespace: options.namespace.as_str().into(),
        submariner_namespace: Some(options.submariner_namespace.as_str().into()),
        guide: Guide::Policies,
    };
    let identity = Identity { cluster: perspective.local.clone(), instance: start::instance(client).await? };
    let facts = broker_facts(client, options, identity).await;
    let mut pipeline = Pipeline::new(perspective, Age::Live).in_cluster(start::location(client).await?);
    pipeline.apply(facts, unix_seconds());
    fill(&mut pipeline, client, options, pending).await?;
    // The links that the operator of this cluster last reported: nothing is probed for one inspection.
    let own = pipeline.stores().peers.get(&pipeline.perspective().local).map(|own| own.links.clone());
    pipeline.apply(own.map(Change::Links), unix_seconds());
    Ok(pipeline)
}

/// Reads the facts on the broker. An unreachable broker is not an error: published selections stay in force without it.
async fn broker_facts(client: &Client, options: &ClusterOptions, identity: Identity) -> Vec<Change> {
    let lost =
        |why: String| vec![Change::Broker(Some(broker::State { lost: Some(why.into()), ..broker::State::default() }))];
    broker::look(&options.broker_source(client), identity, unix_seconds).await.unwrap_or_else(lost)
}

/// Applies the lists of all kinds until the pipeline has a plan.
async fn fill(
    pipeline: &mut Pipeline,
    client: &Client,
    options: &ClusterOptions,
    pending: &mut BTreeMap<Kind, Option<Box<str>>>,
) -> Result<(), InspectError> {
    let (changes, mut queue) = mpsc::channel(MAX_QUEUED_CHANGES);
    let mut watches = JoinSet::new();
    for &kind in required(Guide::Policies) {
        let scope = watch::Scope::All.of(kind, &options.namespace);
        watches.spawn(watch::watch(client.clone(), kind, scope, changes.clone(), || {}));
    }
    drop(changes);
    let mut batch = Vec::with_capacity(MAX_QUEUED_CHANGES);
    while pipeline.plan().is_none() {
        if queue.recv_many(&mut batch, MAX_QUEUED_CHANGES).await == 0 {
            return Err(InspectError::WatchesEnded);
        }
        for change in &batch {
            if let Change::Interrupted(kind, why) = change {
                pending.entry(*kind).and_modify(|known| *known = Some(why.clone()));
            } else if let Change::ListEnds(kind) = change {
                pending.remove(kind);
            }
        }
        pipeline.apply(batch.drain(..), unix_seconds());
    }
    Ok(())
}

/// Names the kinds that did not arrive in time, grouped by the error of the API server.
fn timed_out(pending: &BTreeMap<Kind, Option<Box<str>>>) -> String {
    let begin = format!("the API server did not send all lists within {} s", READ_TIMEOUT.as_secs());
    let mut whys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (kind, why) in pending.iter().filter_map(|(kind, why)| Some((kind, why.as_deref()?))) {
        whys.entry(why).or_default().push(kind.name());
    }
    let whys: Vec<String> = whys.into_iter().map(|(why, kinds)| format!("{}: {why}", kinds.join(", "))).collect();
    if whys.is_empty() {
        format!("{begin}; check that it is running and reachable")
    } else {
        format!("{begin}: {}", whys.join("; "))
    }
}
