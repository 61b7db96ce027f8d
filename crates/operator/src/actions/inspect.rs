//! Reads the present once: a folder of clusters, or one cluster and its broker.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::broker;
use crate::clock::unix_seconds;
use crate::files::folder::FilesError;
use crate::kubernetes::connect::{self, ConnectError};
use crate::kubernetes::identity;
use crate::kubernetes::watch;
use kube::Client;
use landfall_controller::broker::objects::Identity;
use landfall_controller::change::{BrokerState, Change, ObjectEvent, PeerEvent};
use landfall_controller::object::Kind;
use landfall_controller::observe::perspective::{Age, Perspective, RulesFrom};
use landfall_controller::pipeline::{Pipeline, required};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::actions::options::ClusterOptions;
use crate::files::fleet;
use landfall_controller::findings;

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
    /// Problems that were found, one line each.
    pub findings: Vec<String>,
}

/// Reason why a cluster could not be read.
#[derive(Debug, Error)]
pub enum InspectError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Kinds whose lists did not arrive in time, with the error of the API server if there was one.
    #[error("{}", timed_out(.0))]
    TimedOut(BTreeMap<Kind, Option<Box<str>>>),
    #[error("the watches ended")]
    WatchesEnded,
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
    let client = connect::client(options.kubeconfig.as_deref()).await?;
    let mut pending = required(RulesFrom::Policies).iter().map(|kind| (*kind, None)).collect();
    let read = timeout(READ_TIMEOUT, read(&client, options, &mut pending)).await;
    let pipeline = read.unwrap_or_else(|_| Err(InspectError::TimedOut(pending)))?;
    let findings = findings::problems(&pipeline).into_iter().chain(findings::broker_problem(&pipeline)).collect();
    Ok(Inspection { clusters: vec![pipeline], now: Some(unix_seconds()), findings })
}

/// Reads a cluster. Removes from `pending` each kind whose list has arrived, and notes there why a list does not
/// arrive.
async fn read(
    client: &Client,
    options: &ClusterOptions,
    pending: &mut BTreeMap<Kind, Option<Box<str>>>,
) -> Result<Pipeline, InspectError> {
    connect::preflight(client).await?;
    let local = match &options.cluster_id {
        Some(id) => id.clone(),
        None => identity::cluster_id(client, &options.submariner_namespace).await?,
    };
    let perspective = Perspective {
        local,
        namespace: options.namespace.as_str().into(),
        submariner_namespace: Some(options.submariner_namespace.as_str().into()),
        rules_from: RulesFrom::Policies,
    };
    let identity = Identity { cluster: perspective.local.clone(), instance: identity::instance(client).await? };
    let facts = broker_facts(client, options, identity).await;
    let mut pipeline = Pipeline::new(perspective, Age::Live).awaiting_broker(identity::location(client).await?);
    pipeline.apply(facts, unix_seconds());
    fill(&mut pipeline, client, options, pending).await?;
    // The links that the operator of this cluster last reported: nothing is probed for one inspection.
    let own = pipeline.stores().facts.peers.get(&pipeline.perspective().local).map(|own| own.links.clone());
    pipeline.apply(own.map(Change::Links), unix_seconds());
    Ok(pipeline)
}

/// Reads the facts on the broker. An unreachable broker is not an error: published selections stay in force without it.
async fn broker_facts(client: &Client, options: &ClusterOptions, identity: Identity) -> Vec<PeerEvent> {
    let lost =
        |why: String| vec![PeerEvent::Broker(Some(BrokerState { lost: Some(why.into()), ..BrokerState::default() }))];
    broker::read_once(&options.broker_source(client), identity, unix_seconds).await.unwrap_or_else(lost)
}

/// Applies the lists of all kinds until the pipeline has a plan.
async fn fill(
    pipeline: &mut Pipeline,
    client: &Client,
    options: &ClusterOptions,
    pending: &mut BTreeMap<Kind, Option<Box<str>>>,
) -> Result<(), InspectError> {
    let (events, mut queue) = mpsc::channel::<ObjectEvent>(MAX_QUEUED_CHANGES);
    let mut watches = JoinSet::new();
    for &kind in required(RulesFrom::Policies) {
        let scope = watch::Scope::All.of(kind, &options.namespace);
        watches.spawn(watch::watch(client.clone(), kind, scope, events.clone(), || {}));
    }
    drop(events);
    let mut batch = Vec::with_capacity(MAX_QUEUED_CHANGES);
    while pipeline.plan().is_none() {
        if queue.recv_many(&mut batch, MAX_QUEUED_CHANGES).await == 0 {
            return Err(InspectError::WatchesEnded);
        }
        for event in &batch {
            if let ObjectEvent::Interrupted(kind, why) = event {
                pending.entry(*kind).and_modify(|known| *known = Some(why.clone()));
            } else if let ObjectEvent::ListEnds(kind) = event {
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
