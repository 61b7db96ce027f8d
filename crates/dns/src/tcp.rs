//! Answers over TCP: for what does not fit into a packet, and for clients that prefer it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use landfall_core::plan::Plan;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::metrics::{Metrics, Tally};
use crate::responder::{Outcome, Responder, Transport};
use crate::socket_error::{ErrorClass, classify};

/// Connections at once; the next one waits until one of them ends. Each takes 128 KiB at most, so all of them 32 MiB.
const CONNECTIONS_MAX: usize = 256;
/// How long a client may take to send a query, be it its first or its next one, or to take an answer (RFC 7766 asks for
/// seconds).
const PATIENCE: Duration = Duration::from_secs(10);
/// Buffers that grew larger for one message are given back.
const BUFFER_KEPT: usize = 4096;
/// How long to leave the system alone when it has no connection to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Returns only if the listener is unusable, with the error. Connections that are open when the future is dropped or
/// returns are closed.
pub(crate) async fn serve(
    listener: TcpListener,
    responder: &Arc<Responder>,
    plan: &watch::Receiver<Option<Arc<Plan>>>,
    metrics: &Arc<Metrics>,
) -> io::Error {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if classify(&error) == ErrorClass::Permanent => return error,
            Err(_) => {
                metrics.add_accept_error();
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection =
            Connection { responder: Arc::clone(responder), plan: plan.clone(), metrics: Arc::clone(metrics) };
        connections.spawn(connection.answer(stream));
    }
}

struct Connection {
    responder: Arc<Responder>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    metrics: Arc<Metrics>,
}

impl Connection {
    /// Until the client goes, or is silent for too long. Why it ended concerns nobody but the client.
    async fn answer(self, stream: TcpStream) {
        let _open = self.metrics.connection();
        let _ = stream.set_nodelay(true);
        let mut stream = BufReader::with_capacity(BUFFER_KEPT, stream);
        let (mut query, mut reply) = (Vec::new(), Vec::new());
        while let Ok(Ok(())) = timeout(PATIENCE, read(&mut stream, &mut query)).await {
            let plan = self.plan.borrow().clone();
            let outcome = self.responder.reply(plan.as_deref(), &query, Transport::Tcp, &mut reply);
            drop(plan);
            let mut tally = Tally::default();
            tally.count(outcome);
            self.metrics.add(Transport::Tcp, &tally);
            if outcome == Outcome::Dropped {
                continue;
            }
            // Length and message in one segment: some clients expect it.
            let length = u16::try_from(reply.len()).unwrap_or(u16::MAX);
            reply.splice(..0, length.to_be_bytes());
            let Ok(Ok(())) = timeout(PATIENCE, stream.write_all(&reply)).await else { break };
            for buffer in [&mut query, &mut reply] {
                buffer.clear();
                buffer.shrink_to(BUFFER_KEPT);
            }
        }
    }
}

/// One message, after its length.
async fn read(stream: &mut BufReader<TcpStream>, query: &mut Vec<u8>) -> io::Result<()> {
    let length = stream.read_u16().await?;
    query.resize(usize::from(length), 0);
    stream.read_exact(query).await?;
    Ok(())
}
