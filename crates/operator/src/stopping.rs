//! Sends to a receiver that is gone when the process stops.

use tokio::sync::mpsc;

/// The receiver is gone, because the process is stopping.
#[derive(Debug)]
pub struct Stopping;

/// Sends an event. Waits while the queue is full.
pub async fn send<E>(queue: &mpsc::Sender<E>, event: impl Into<E>) -> Result<(), Stopping> {
    queue.send(event.into()).await.map_err(|_| Stopping)
}
