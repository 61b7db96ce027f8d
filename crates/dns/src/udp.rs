//! Answers over UDP: one thread per socket, many packets per system call.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use landfall_core::plan::Plan;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics::{Metrics, Tally};
use crate::mmsg::{BATCH, Incoming, Outgoing, Peer, receive, send};
use crate::reply::UDP_SIZE;
use crate::responder::{Outcome, Responder, Transport};

/// How long a thread waits for a packet before it looks whether it is to stop, or whether there is a new plan: an old
/// one is not to stay in memory because nobody asks.
pub(crate) const TICK: Duration = Duration::from_millis(200);

pub(crate) struct Worker {
    pub(crate) socket: UdpSocket,
    pub(crate) responder: Arc<Responder>,
    pub(crate) plan: watch::Receiver<Option<Arc<Plan>>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stop: CancellationToken,
}

impl Worker {
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut plan = self.plan.borrow_and_update().clone();
        let mut queries = Box::new([Incoming::EMPTY; BATCH]);
        let reply = Outgoing { octets: Vec::with_capacity(usize::from(UDP_SIZE)), to: Peer::UNKNOWN };
        let mut replies = vec![reply; BATCH];
        while !self.stop.is_cancelled() {
            let received = match receive(&self.socket, &mut queries) {
                Ok(received) => received,
                Err(error) if is_nothing(&error) => 0,
                Err(error) => return Err(error),
            };
            if self.plan.has_changed().unwrap_or(false) {
                plan.clone_from(&self.plan.borrow_and_update());
            }
            self.answer(plan.as_deref(), &queries[..received], &mut replies);
        }
        Ok(())
    }

    fn answer(&self, plan: Option<&Plan>, queries: &[Incoming], replies: &mut [Outgoing]) {
        let mut tally = Tally::default();
        let mut count = 0;
        for query in queries {
            let reply = &mut replies[count];
            let outcome = self.responder.reply(plan, query.octets(), Transport::Udp, &mut reply.octets);
            tally.count(outcome);
            if outcome != Outcome::Dropped {
                reply.to = query.from;
                count += 1;
            }
        }
        self.send(&replies[..count]);
        self.metrics.add(Transport::Udp, &tally);
    }

    /// A reply that cannot be sent, because the client claims to be at port 0 for example, does not keep the others from
    /// going out.
    fn send(&self, mut replies: &[Outgoing]) {
        while !replies.is_empty() {
            let done = match send(&self.socket, replies) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(_) => {
                    self.metrics.add_unsent();
                    1
                }
            };
            replies = &replies[done..];
        }
    }
}

/// Nobody asked for a tick, or a signal came.
fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_cannot_be_sent_does_not_keep_the_others_back() {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"?", socket.local_addr().unwrap()).unwrap();
        let mut queries = Box::new([Incoming::EMPTY; BATCH]);
        assert_eq!(receive(&socket, &mut queries).unwrap(), 1);
        assert_eq!(queries[0].octets(), b"?");

        let known = queries[0].from;
        // More than one call takes.
        let replies: Vec<Outgoing> = (0..=u8::try_from(2 * BATCH).unwrap())
            .map(|i| Outgoing { octets: vec![i], to: if i % 3 == 0 { Peer::UNKNOWN } else { known } })
            .collect();
        let (_plan, plan) = watch::channel(None);
        let responder = Responder::new(Vec::new(), Duration::ZERO, Vec::new(), 0);
        let worker = Worker {
            socket,
            responder: responder.into(),
            plan,
            metrics: Arc::default(),
            stop: CancellationToken::new(),
        };
        worker.send(&replies);
        for reply in replies.iter().filter(|reply| reply.octets[0] % 3 != 0) {
            let mut received = [0; 2];
            assert_eq!((client.recv(&mut received).unwrap(), received[0]), (1, reply.octets[0]));
        }
        assert_eq!(worker.metrics.unsent(), 22);
    }
}
