//! Answers over UDP: one thread per socket, many packets per system call.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use landfall_core::plan::Plan;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics::{Metrics, Tally};
use crate::mmsg::{BATCH_SIZE, Incoming, Outgoing, RawAddress, receive, send};
use crate::reply::MAX_UDP_SIZE;
use crate::responder::{Outcome, Responder, Transport};
use crate::socket_error::{ErrorClass, classify};

/// Time-out for one attempt to receive or send. After it, a thread checks for the stop and for a new plan: without
/// queries, the old plan must not stay in memory.
pub(crate) const SOCKET_TIMEOUT: Duration = Duration::from_millis(200);

/// Pause after the first failed attempt to receive. It doubles with every further one, so that a persistent error takes
/// hardly any CPU time and a single one hardly delays an answer.
const MIN_PAUSE: Duration = Duration::from_millis(1);
/// Maximum pause, half of [`SOCKET_TIMEOUT`]: a thread that pauses still stops in time.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// A thread that answers the queries of one socket.
pub(crate) struct Worker {
    pub(crate) socket: UdpSocket,
    pub(crate) responder: Arc<Responder>,
    pub(crate) plan: watch::Receiver<Option<Arc<Plan>>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stop: CancellationToken,
}

impl Worker {
    /// Answers until `stop` is cancelled. Returns an error only if the socket is unusable.
    pub(crate) fn run(self) -> io::Result<()> {
        self.run_with(receive)
    }

    /// Answers what `receive` returns.
    fn run_with(
        mut self,
        mut receive: impl FnMut(&UdpSocket, &mut [Incoming; BATCH_SIZE]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let mut plan = self.plan.borrow_and_update().clone();
        let mut queries = Box::new([Incoming::EMPTY; BATCH_SIZE]);
        let reply = Outgoing { octets: Vec::with_capacity(usize::from(MAX_UDP_SIZE)), to: RawAddress::UNKNOWN };
        let mut replies = vec![reply; BATCH_SIZE];
        let mut pause = MIN_PAUSE;
        while !self.stop.is_cancelled() {
            let received = match receive(&self.socket, &mut queries) {
                Ok(received) => {
                    pause = MIN_PAUSE;
                    received
                }
                Err(error) => {
                    self.recover(error, &mut pause)?;
                    0
                }
            };
            if self.plan.has_changed().unwrap_or(false) {
                plan.clone_from(&self.plan.borrow_and_update());
            }
            self.answer(plan.as_deref(), &queries[..received], &mut replies);
        }
        Ok(())
    }

    /// Handles a failed attempt to receive: waits for `pause` if the error can pass, and returns the error if it
    /// cannot.
    fn recover(&self, error: io::Error, pause: &mut Duration) -> io::Result<()> {
        match classify(&error) {
            ErrorClass::Interrupted => Ok(()),
            ErrorClass::TimedOut => {
                *pause = MIN_PAUSE;
                Ok(())
            }
            ErrorClass::Transient => {
                self.metrics.add_receive_error();
                thread::sleep(*pause);
                *pause = longer(*pause);
                Ok(())
            }
            ErrorClass::Permanent => Err(error),
        }
    }

    /// Answers one batch of queries.
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

    /// Sends the replies, and skips those that cannot be sent, for example to a client that claims to be at port 0.
    ///
    /// A permanent error does not end the thread here, because EINVAL can be about one address alone. The next attempt
    /// to receive finds a socket that is unusable.
    fn send(&self, mut replies: &[Outgoing]) {
        while !replies.is_empty() {
            let done = match send(&self.socket, replies) {
                Ok(sent) => sent,
                Err(error) if classify(&error) == ErrorClass::Interrupted => 0,
                Err(_) => {
                    self.metrics.add_unsent();
                    1
                }
            };
            replies = &replies[done..];
        }
    }
}

/// Returns the pause that follows `pause` if the error persists.
fn longer(pause: Duration) -> Duration {
    (pause * 2).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(socket: UdpSocket, stop: &CancellationToken) -> Worker {
        let (_plan, plan) = watch::channel(None);
        let responder = Arc::new(Responder::new(Vec::new(), Duration::ZERO, Vec::new(), 0));
        Worker { socket, responder, plan, metrics: Arc::default(), stop: stop.clone() }
    }

    #[test]
    fn icmp_error_does_not_end_the_thread() {
        // Nothing listens at the client's address any more: what is sent there comes back as ECONNREFUSED.
        let client = UdpSocket::bind("127.0.0.9:0").unwrap().local_addr().unwrap();
        let socket = UdpSocket::bind("127.0.0.9:0").unwrap();
        socket.set_read_timeout(Some(SOCKET_TIMEOUT)).unwrap();
        socket.connect(client).unwrap();
        socket.send(b"?").unwrap();
        let server = socket.local_addr().unwrap();
        let stop = CancellationToken::new();
        let worker = worker(socket, &stop);
        let metrics = Arc::clone(&worker.metrics);
        let thread = thread::spawn(move || worker.run());
        let client = UdpSocket::bind(client).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut reply = [0; 512];
        client.send_to(&[0xBE, 0xEF, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], server).unwrap();
        let received = client.recv(&mut reply);
        stop.cancel();
        thread.join().unwrap().unwrap();
        assert_eq!((received.unwrap(), &reply[..2]), (12, &[0xBE, 0xEF][..]));
        assert_eq!(metrics.receive_errors(), 1);
    }

    #[test]
    fn persistent_transient_error_is_counted_until_the_thread_is_stopped() {
        let stop = CancellationToken::new();
        let worker = worker(UdpSocket::bind("127.0.0.1:0").unwrap(), &stop);
        let metrics = Arc::clone(&worker.metrics);
        let mut attempts = 0;
        let ended = worker.run_with(|_, _| {
            attempts += 1;
            if attempts == 5 {
                stop.cancel();
            }
            Err(io::Error::from_raw_os_error(libc::ENOBUFS))
        });
        ended.unwrap();
        assert_eq!((attempts, metrics.receive_errors()), (5, 5));
    }

    #[test]
    fn timeout_and_signal_are_not_counted_and_a_permanent_error_ends_the_thread() {
        let stop = CancellationToken::new();
        let worker = worker(UdpSocket::bind("127.0.0.1:0").unwrap(), &stop);
        let metrics = Arc::clone(&worker.metrics);
        let mut errors = [libc::EAGAIN, libc::EINTR, libc::EBADF].into_iter();
        let ended = worker.run_with(|_, _| Err(io::Error::from_raw_os_error(errors.next().unwrap())));
        assert_eq!(ended.unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(metrics.receive_errors(), 0);
    }

    #[test]
    fn pauses_double_up_to_a_limit_below_the_socket_timeout() {
        let pauses = std::iter::successors(Some(MIN_PAUSE), |&pause| Some(longer(pause)));
        let millis: Vec<u128> = pauses.take(9).map(|pause| pause.as_millis()).collect();
        assert_eq!(millis, [1, 2, 4, 8, 16, 32, 64, 100, 100]);
        assert!(MAX_PAUSE < SOCKET_TIMEOUT);
    }

    #[test]
    fn reply_that_cannot_be_sent_does_not_hold_back_the_others() {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"?", socket.local_addr().unwrap()).unwrap();
        let mut queries = Box::new([Incoming::EMPTY; BATCH_SIZE]);
        assert_eq!(receive(&socket, &mut queries).unwrap(), 1);
        assert_eq!(queries[0].octets(), b"?");

        let known = queries[0].from;
        // More replies than one call sends.
        let replies: Vec<Outgoing> = (0..=u8::try_from(2 * BATCH_SIZE).unwrap())
            .map(|i| Outgoing { octets: vec![i], to: if i % 3 == 0 { RawAddress::UNKNOWN } else { known } })
            .collect();
        let worker = worker(socket, &CancellationToken::new());
        worker.send(&replies);
        for reply in replies.iter().filter(|reply| reply.octets[0] % 3 != 0) {
            let mut received = [0; 2];
            assert_eq!((client.recv(&mut received).unwrap(), received[0]), (1, reply.octets[0]));
        }
        assert_eq!(worker.metrics.unsent(), 22);
    }
}
