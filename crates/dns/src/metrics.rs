//! Counters of queries, replies and socket errors: plain numbers, read at scrape time.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::base::iana::OptRcode;

use crate::responder::{Outcome, Transport};

/// Outcome of a query, as a metric label. The set is closed, so the number of time series is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    NoError,
    NxDomain,
    Refused,
    ServFail,
    FormErr,
    NotImp,
    BadVers,
    /// Not answered, because the packet was too short or was itself a reply.
    Dropped,
}

impl Code {
    pub const ALL: [Self; 8] = [
        Self::NoError,
        Self::NxDomain,
        Self::Refused,
        Self::ServFail,
        Self::FormErr,
        Self::NotImp,
        Self::BadVers,
        Self::Dropped,
    ];

    /// Returns the text of the label: the mnemonic of the response code, or `dropped`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoError => "NOERROR",
            Self::NxDomain => "NXDOMAIN",
            Self::Refused => "REFUSED",
            Self::ServFail => "SERVFAIL",
            Self::FormErr => "FORMERR",
            Self::NotImp => "NOTIMP",
            Self::BadVers => "BADVERS",
            Self::Dropped => "dropped",
        }
    }

    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Dropped => Self::Dropped,
            Outcome::Replied { rcode, .. } => match rcode {
                OptRcode::NOERROR => Self::NoError,
                OptRcode::NXDOMAIN => Self::NxDomain,
                OptRcode::REFUSED => Self::Refused,
                OptRcode::FORMERR => Self::FormErr,
                OptRcode::NOTIMP => Self::NotImp,
                OptRcode::BADVERS => Self::BadVers,
                _ => Self::ServFail,
            },
        }
    }
}

/// Counters that all threads of a server share. All of them only grow, except the number of open connections.
#[derive(Debug, Default)]
pub struct Metrics {
    udp: PerTransport,
    tcp: PerTransport,
    unsent: AtomicU64,
    receive_errors: AtomicU64,
    connections: AtomicU64,
    accept_errors: AtomicU64,
}

#[derive(Debug, Default)]
struct PerTransport {
    responses: [AtomicU64; Code::ALL.len()],
    truncated: AtomicU64,
}

impl Metrics {
    /// Queries received.
    pub fn queries(&self, transport: Transport) -> u64 {
        self.per(transport).responses.iter().map(|responses| responses.load(Ordering::Relaxed)).sum()
    }

    /// Queries with the outcome `code`.
    pub fn responses(&self, transport: Transport, code: Code) -> u64 {
        self.per(transport).responses[code as usize].load(Ordering::Relaxed)
    }

    /// Replies cut to the size that the client accepts, with the TC flag set.
    pub fn truncated(&self, transport: Transport) -> u64 {
        self.per(transport).truncated.load(Ordering::Relaxed)
    }

    /// UDP replies that the system could not send, for example to port 0.
    pub fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Failed attempts to receive over UDP, each retried after a pause. Time-outs do not count.
    pub fn receive_errors(&self) -> u64 {
        self.receive_errors.load(Ordering::Relaxed)
    }

    /// Open TCP connections.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// TCP connections that the system could not accept, for example because file descriptors ran out.
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    fn per(&self, transport: Transport) -> &PerTransport {
        match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp => &self.tcp,
        }
    }

    /// Adds the counts of one batch.
    pub(crate) fn add(&self, transport: Transport, tally: &Tally) {
        let per = self.per(transport);
        for (total, &count) in per.responses.iter().zip(&tally.responses).filter(|(_, count)| **count > 0) {
            total.fetch_add(count, Ordering::Relaxed);
        }
        if tally.truncated > 0 {
            per.truncated.fetch_add(tally.truncated, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_unsent(&self) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_receive_error(&self) {
        self.receive_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection as open until the returned guard is dropped.
    pub(crate) fn connection(&self) -> impl Drop + '_ {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connection(&self.connections)
    }
}

struct Connection<'m>(&'m AtomicU64);

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts of one batch. Threads that added to the shared counters for every query would wait for each other.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    responses: [u64; Code::ALL.len()],
    truncated: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        self.responses[Code::of(outcome) as usize] += 1;
        if let Outcome::Replied { truncated: true, .. } = outcome {
            self.truncated += 1;
        }
    }
}
