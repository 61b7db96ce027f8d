//! The components of a process: all end together.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::error::StartError;

/// How long components may take to end after they were asked to.
const DRAIN: Duration = Duration::from_secs(5);

/// The components of a process. When one ends unasked, all end.
pub(super) struct Tasks {
    tasks: JoinSet<(&'static str, Result<(), StartError>)>,
    /// Those that have something to finish once they are asked to stop.
    drained: JoinSet<(&'static str, Result<(), StartError>)>,
    stop: CancellationToken,
}

impl Tasks {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), drained: JoinSet::new(), stop }
    }

    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), StartError>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    pub(super) fn spawn_drained(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), StartError>> + Send + 'static,
    ) {
        self.drained.spawn(async move { (name, task.await) });
    }

    pub(super) async fn first_to_end(mut self) -> Result<(), StartError> {
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

/// Makes a component of a task that can only end, and not fail.
pub(super) async fn done(task: impl Future<Output = ()>) -> Result<(), StartError> {
    task.await;
    Ok(())
}
