//! The tasks of a process, which end together.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::error::StartError;

/// Limit for tasks to finish after they were asked to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The tasks of a process. When one ends unasked, all end.
pub(super) struct Tasks {
    tasks: JoinSet<(&'static str, Result<(), StartError>)>,
    /// Tasks that finish their work after they were asked to stop.
    drained: JoinSet<(&'static str, Result<(), StartError>)>,
    stop: CancellationToken,
}

impl Tasks {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), drained: JoinSet::new(), stop }
    }

    /// Starts a task that may be dropped at any time.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), StartError>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Starts a task that gets time to finish after it was asked to stop.
    pub(super) fn spawn_drained(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), StartError>> + Send + 'static,
    ) {
        self.drained.spawn(async move { (name, task.await) });
    }

    /// Waits for the first task to end or for the request to stop, and stops all tasks. Returns an error if a task
    /// ended unasked.
    pub(super) async fn first_to_end(mut self) -> Result<(), StartError> {
        let ended = tokio::select! {
            () = self.stop.cancelled() => None,
            Some(ended) = self.tasks.join_next() => Some(ended),
            Some(ended) = self.drained.join_next() => Some(ended),
        };
        let asked = self.stop.is_cancelled();
        self.stop.cancel();
        let finish = async { while self.drained.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIMEOUT, finish).await.is_err() {
            tracing::warn!("some tasks did not finish in time; ending the process without them");
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

/// Adapts a task that cannot fail.
pub(super) async fn done(task: impl Future<Output = ()>) -> Result<(), StartError> {
    task.await;
    Ok(())
}
