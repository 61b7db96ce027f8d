//! The tasks of file mode: a reader of files, a pipeline and a DNS server for each cluster, and the exchange of facts
//! between the clusters.

use crate::control_loop;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::available_parallelism;

use crate::clock::unix_seconds;
use crate::files::folder::{FileProblem, Folder, FollowError, follow};
use landfall_controller::change::{Change, PeerEvent, Touched};
use landfall_controller::facts::ClusterFacts;
use landfall_controller::pipeline::Pipeline;
use landfall_core::name::ClusterId;
use landfall_dns::{ServeError, Server};
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::files::fleet::peers_of;
use landfall_controller::findings;
use landfall_controller::summary::ClusterPlan;

/// Limit of the queue in front of a pipeline. A full queue holds back the reader of the files.
const MAX_QUEUED_CHANGES: usize = 1024;

/// Reason why a task of file mode ended.
#[derive(Debug, Error)]
pub enum UpError {
    #[error(transparent)]
    Follow(FollowError),
    #[error(transparent)]
    Serve(ServeError),
}

/// A running cluster, as other tasks see it.
#[derive(Debug)]
pub struct ClusterView {
    pub cluster: ClusterId,
    pub listen: SocketAddr,
    pub state: watch::Receiver<ClusterState>,
    pub file_problems: watch::Receiver<Vec<FileProblem>>,
}

/// Newest plan of a cluster, and the problems of its objects.
#[derive(Debug, Clone, Default)]
pub struct ClusterState {
    pub plan: Option<ClusterPlan>,
    pub findings: BTreeSet<String>,
}

/// Starts all tasks of the clusters, which end when `stop` is cancelled. Returns a view of each cluster.
pub fn start(
    tasks: &mut JoinSet<Result<(), UpError>>,
    clusters: Vec<(Folder, Pipeline, Server)>,
    stop: &CancellationToken,
) -> Vec<ClusterView> {
    let (mut views, mut queues, mut published) = (Vec::new(), Vec::new(), Vec::new());
    let readers = Arc::new(Semaphore::new(available_parallelism().map_or(1, Into::into)));
    for (folder, pipeline, server) in clusters {
        let cluster = folder.cluster.clone();
        let (changes, queue) = mpsc::channel(MAX_QUEUED_CHANGES);
        queues.push((cluster.clone(), changes.clone()));
        let (problems, file_problems) = watch::channel(Vec::new());
        let (followed, stopped) = (follow(folder, changes, problems, Arc::clone(&readers)), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                ended = followed => ended.map_err(UpError::Follow),
                () = stopped.cancelled() => Ok(()),
            }
        });
        let (state, state_view) = watch::channel(ClusterState::default());
        let (own_facts, own) = watch::channel(None);
        published.push(own);
        views.push(ClusterView { cluster, listen: server.local_addr(), state: state_view, file_problems });
        start_cluster(tasks, (pipeline, queue), server, Outputs { state, own_facts }, stop);
    }
    for own in published {
        tasks.spawn(publish(own, queues.clone()));
    }
    views
}

/// Receivers of the results of a pipeline.
struct Outputs {
    state: watch::Sender<ClusterState>,
    own_facts: watch::Sender<Option<Arc<ClusterFacts>>>,
}

/// Starts the pipeline and the DNS server of one cluster.
fn start_cluster(
    tasks: &mut JoinSet<Result<(), UpError>>,
    (pipeline, queue): (Pipeline, mpsc::Receiver<Change>),
    server: Server,
    outputs: Outputs,
    stop: &CancellationToken,
) {
    let (plans, plan) = watch::channel(None);
    let observer = move |pipeline: &Pipeline, _: &Touched| {
        let next = ClusterState { plan: ClusterPlan::of(pipeline), findings: findings::problems(pipeline) };
        outputs.state.send_replace(next);
        let own = Arc::new(pipeline.own_facts());
        outputs.own_facts.send_if_modified(|last| {
            let changed = last.as_ref() != Some(&own);
            *last = Some(own);
            changed
        });
    };
    let pipeline = control_loop::run(pipeline, queue, plans, observer, (unix_seconds, stop.clone()));
    tasks.spawn(async move {
        pipeline.await;
        Ok(())
    });
    let stop = stop.clone();
    tasks.spawn(async move { server.serve(plan, stop).await.map_err(UpError::Serve) });
}

/// Sends the facts of one cluster to all others, as a broker would.
async fn publish(
    mut own: watch::Receiver<Option<Arc<ClusterFacts>>>,
    queues: Vec<(ClusterId, mpsc::Sender<Change>)>,
) -> Result<(), UpError> {
    while own.changed().await.is_ok() {
        let Some(facts) = own.borrow_and_update().clone() else { continue };
        for queue in peers_of(&facts.cluster, &queues) {
            // A cluster whose pipeline has ended needs no facts.
            let _ = queue.send(PeerEvent::Reported(Arc::clone(&facts)).into()).await;
        }
    }
    Ok(())
}
