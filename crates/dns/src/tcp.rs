//! Answers over TCP, for replies that do not fit into a UDP packet and for clients that prefer TCP.

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

/// Maximum number of open connections. Further ones wait until one of them ends. A connection takes at most 128 KiB, so
/// all of them take at most 32 MiB.
const MAX_CONNECTIONS: usize = 256;
/// Time for a client to send its next query or to receive a reply. RFC 7766 recommends a few seconds.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Capacity that a buffer keeps between messages. Buffers that grew beyond it are shrunk.
const MAX_IDLE_BUFFER_BYTES: usize = 4096;
/// Pause after a failed attempt to accept a connection, so that a persistent error does not take all CPU time.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Accepts and answers connections. Returns only if the listener is unusable, with the error. Connections are closed
/// when the future returns or is dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    responder: &Arc<Responder>,
    plan: &watch::Receiver<Option<Arc<Plan>>>,
    metrics: &Arc<Metrics>,
) -> io::Error {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if classify(&error) == ErrorClass::Permanent => return error,
            Err(_) => {
                metrics.add_accept_error();
                sleep(ACCEPT_RETRY_INTERVAL).await;
                continue;
            }
        };
        let connection =
            Connection { responder: Arc::clone(responder), plan: plan.clone(), metrics: Arc::clone(metrics) };
        connections.spawn(connection.answer(stream));
    }
}

/// Shared state of a server, as a connection needs it.
struct Connection {
    responder: Arc<Responder>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    metrics: Arc<Metrics>,
}

impl Connection {
    /// Answers queries until the client closes the connection, stays silent for too long or an error occurs. Such an
    /// error affects this client alone, so it is not reported.
    async fn answer(self, stream: TcpStream) {
        let _open = self.metrics.connection();
        let _ = stream.set_nodelay(true);
        let mut stream = BufReader::with_capacity(MAX_IDLE_BUFFER_BYTES, stream);
        let (mut query, mut reply) = (Vec::new(), Vec::new());
        while let Ok(Ok(())) = timeout(CLIENT_TIMEOUT, read(&mut stream, &mut query)).await {
            let plan = self.plan.borrow().clone();
            let outcome = self.responder.reply(plan.as_deref(), &query, Transport::Tcp, &mut reply);
            drop(plan);
            let mut tally = Tally::default();
            tally.count(outcome);
            self.metrics.add(Transport::Tcp, &tally);
            if outcome == Outcome::Dropped {
                continue;
            }
            // Length and message are sent in one segment, which some clients expect.
            let length = u16::try_from(reply.len()).unwrap_or(u16::MAX);
            reply.splice(..0, length.to_be_bytes());
            let Ok(Ok(())) = timeout(CLIENT_TIMEOUT, stream.write_all(&reply)).await else { break };
            for buffer in [&mut query, &mut reply] {
                buffer.clear();
                buffer.shrink_to(MAX_IDLE_BUFFER_BYTES);
            }
        }
    }
}

/// Reads one message, which follows its length.
async fn read(stream: &mut BufReader<TcpStream>, query: &mut Vec<u8>) -> io::Result<()> {
    let length = stream.read_u16().await?;
    query.resize(usize::from(length), 0);
    stream.read_exact(query).await?;
    Ok(())
}
