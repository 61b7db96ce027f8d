//! Clients of one cluster. Each resolves a name with a cache of its own, and sends requests to the answered address at
//! a rate that does not wait for replies.
//!
//! Answered addresses are those of a fictitious network. A table maps each to a listener of the real one.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use crate::backend::CLUSTER_HEADER;
use crate::dns_client::{DnsClient, Question};
use crate::http::get_from;
use crate::wait::{now, percentile};

/// Longest wait for a reply. A full queue of a backend takes less.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Limit on the requests of one client that are under way. A client sends about two per second, and each ends within
/// the timeout.
const MAX_REQUESTS_UNDER_WAY: usize = 32;

/// Limit on the journal: half an hour of requests at the rates of the tests.
const MAX_JOURNAL_ENTRIES: usize = 400_000;

/// Behaviour of a set of clients.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Source address of the requests.
    pub source: IpAddr,
    /// DNS server of the cluster.
    pub dns: SocketAddr,
    /// Name that the clients resolve.
    pub host: String,
    /// Number of clients. Each has a cache of its own; with fewer than 30, shares are too random.
    pub count: usize,
    /// Time between two requests of one client.
    pub period: Duration,
    /// Span over which the clients start, and longest time for which each uses an answer: the lifetime of an answer.
    /// The clients therefore never query all at the same time.
    pub spread: Duration,
}

/// Listener for each address that DNS answers.
pub type Routes = BTreeMap<IpAddr, Route>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub cluster: String,
    pub listener: SocketAddr,
}

/// Running clients. Dropping it stops them.
pub struct Load {
    journal: Arc<Mutex<Journal>>,
    _clients: JoinSet<()>,
}

/// Events in a span of time.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Number of answers, by the cluster they name.
    pub answers: BTreeMap<String, usize>,
    /// Number of served requests, by cluster.
    pub served: BTreeMap<String, usize>,
    /// Number of requests refused for lack of capacity, by cluster.
    pub refused: BTreeMap<String, usize>,
    /// Number of names that were not resolved and of connections that failed.
    pub failed: usize,
    /// Latencies of the served requests.
    pub latencies: Vec<Duration>,
}

#[derive(Debug, Default)]
struct Journal(VecDeque<(Instant, Entry)>);

#[derive(Debug)]
enum Entry {
    Answer(String),
    Served(String, Duration),
    Refused(String),
    Failed,
}

impl Load {
    pub async fn start(clients: Clients, routes: Arc<Routes>) -> Result<Self> {
        ensure!(clients.count > 0 && !clients.period.is_zero(), "no clients, or no time between their requests");
        let journal = Arc::new(Mutex::new(Journal::default()));
        let question = Question::a(&clients.host)?;
        let step = clients.spread / u32::try_from(clients.count)?;
        let mut start = now();
        let mut tasks = JoinSet::new();
        for _ in 0..clients.count {
            start += step;
            let client = Client {
                source: clients.source,
                dns_client: DnsClient::connect(clients.dns).await?,
                question: question.clone(),
                routes: Arc::clone(&routes),
                journal: Arc::clone(&journal),
                cached: None,
                renewal: (start, clients.spread),
            };
            tasks.spawn(client.send(start, clients.period));
        }
        Ok(Self { journal, _clients: tasks })
    }

    /// Counts the events from `from` until `to`.
    #[must_use]
    pub fn between(&self, from: Instant, to: Instant) -> Tally {
        let mut tally = Tally::default();
        for (_, entry) in locked(&self.journal).0.iter().filter(|(at, _)| (from..to).contains(at)) {
            tally.add(entry);
        }
        tally
    }

    /// Counts the events since `from`.
    #[must_use]
    pub fn since(&self, from: Instant) -> Tally {
        self.between(from, now())
    }

    /// Returns the times after `from` at which an answer named `cluster`.
    #[must_use]
    pub fn answers_of(&self, cluster: &str, from: Instant) -> Vec<Duration> {
        let journal = locked(&self.journal);
        let named = journal.0.iter().filter(|(_, entry)| matches!(entry, Entry::Answer(named) if named == cluster));
        named.filter_map(|(at, _)| at.checked_duration_since(from)).collect()
    }
}

impl Tally {
    /// Returns the fraction of the answers that named a cluster.
    #[must_use]
    pub fn answered_share(&self, cluster: &str) -> f64 {
        fraction(&self.answers, cluster)
    }

    /// Returns the fraction of the served requests that a cluster served.
    #[must_use]
    pub fn served_share(&self, cluster: &str) -> f64 {
        fraction(&self.served, cluster)
    }

    /// Returns the fraction of all requests that were not served.
    #[must_use]
    pub fn lost_share(&self) -> f64 {
        let lost = self.failed + self.refused.values().sum::<usize>();
        lost as f64 / (lost + self.latencies.len()).max(1) as f64
    }

    /// Returns the 50th and the 99th percentile of the latencies.
    ///
    /// # Panics
    /// Panics if no request was served.
    #[must_use]
    pub fn latency(&self) -> (Duration, Duration) {
        let mut latencies = self.latencies.clone();
        (percentile(&mut latencies, 0.5), percentile(&mut latencies, 0.99))
    }

    fn add(&mut self, entry: &Entry) {
        let count = |by: &mut BTreeMap<String, usize>, cluster: &String| *by.entry(cluster.clone()).or_default() += 1;
        match entry {
            Entry::Answer(cluster) => count(&mut self.answers, cluster),
            Entry::Served(cluster, latency) => {
                count(&mut self.served, cluster);
                self.latencies.push(*latency);
            }
            Entry::Refused(cluster) => count(&mut self.refused, cluster),
            Entry::Failed => self.failed += 1,
        }
    }
}

fn fraction(counts: &BTreeMap<String, usize>, cluster: &str) -> f64 {
    let all: usize = counts.values().sum();
    counts.get(cluster).copied().unwrap_or_default() as f64 / all.max(1) as f64
}

struct Client {
    source: IpAddr,
    dns_client: DnsClient,
    question: Question,
    routes: Arc<Routes>,
    journal: Arc<Mutex<Journal>>,
    /// Answer in the cache, and when it expires.
    cached: Option<(Route, Instant)>,
    /// Start of the client, and the interval at which it renews its answer.
    renewal: (Instant, Duration),
}

impl Client {
    async fn send(mut self, start: Instant, period: Duration) {
        let mut ticks = interval_at(start.into(), period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut under_way = JoinSet::new();
        loop {
            ticks.tick().await;
            while under_way.try_join_next().is_some() {}
            let route = self.resolve().await;
            match route {
                Some(route) if under_way.len() < MAX_REQUESTS_UNDER_WAY => {
                    under_way.spawn(request(self.source, route, Arc::clone(&self.journal)));
                }
                Some(_) | None => record(&self.journal, Entry::Failed),
            }
        }
    }

    fn next_renewal(&self) -> Instant {
        let (began, interval) = self.renewal;
        let count = began.elapsed().as_millis() / interval.as_millis().max(1) + 1;
        began + interval * u32::try_from(count).unwrap_or(u32::MAX)
    }

    async fn resolve(&mut self) -> Option<Route> {
        if let Some((route, until)) = &self.cached
            && now() < *until
        {
            return Some(route.clone());
        }
        self.cached = None;
        let reply = self.dns_client.query(&self.question).await.ok()?;
        let route = self.routes.get(reply.addresses.first()?)?.clone();
        record(&self.journal, Entry::Answer(route.cluster.clone()));
        let ttl = Duration::from_secs(reply.ttl.unwrap_or_default().into());
        self.cached = Some((route.clone(), self.next_renewal().min(now() + ttl)));
        Some(route)
    }
}

async fn request(source: IpAddr, route: Route, journal: Arc<Mutex<Journal>>) {
    let since = now();
    let entry = match timeout(REQUEST_TIMEOUT, get_from(source, route.listener, "/")).await {
        Ok(Ok(reply)) => {
            let cluster = reply.header(CLUSTER_HEADER).unwrap_or_default().to_owned();
            if reply.status == 200 { Entry::Served(cluster, since.elapsed()) } else { Entry::Refused(cluster) }
        }
        Ok(Err(_)) | Err(_) => Entry::Failed,
    };
    record(&journal, entry);
}

fn record(journal: &Mutex<Journal>, entry: Entry) {
    let mut journal = locked(journal);
    if journal.0.len() == MAX_JOURNAL_ENTRIES {
        journal.0.pop_front();
    }
    journal.0.push_back((now(), entry));
}

fn locked(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    // The journal is consistent between any two statements.
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use domain::base::iana::Rcode;
    use domain::base::{Message, MessageBuilder};
    use domain::rdata::A;
    use tokio::net::UdpSocket;

    use super::*;
    use crate::backend::Backend;
    use crate::wait::await_condition;

    const ANSWERED: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

    /// Starts a DNS server that answers every query with one address and a TTL of one second.
    async fn dns() -> Result<(SocketAddr, JoinSet<()>)> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let query = Message::from_octets(&buffer[..length]).unwrap();
                let name = query.sole_question().unwrap().into_qname();
                let mut reply = MessageBuilder::new_vec().start_answer(&query, Rcode::NOERROR).unwrap();
                reply.push((&name, 1, A::new(ANSWERED))).unwrap();
                socket.send_to(&reply.finish(), from).await.unwrap();
            }
        });
        Ok((address, server))
    }

    #[tokio::test]
    async fn clients_query_once_per_ttl_and_send_at_their_rate_to_the_answered_cluster() -> Result<()> {
        let (dns, _server) = dns().await?;
        let backend = Backend::start("east", 8, Duration::from_millis(1)).await?;
        let route = Route { cluster: "east".into(), listener: backend.address };
        let routes = Arc::new(Routes::from([(ANSWERED.into(), route)]));
        let clients = Clients {
            source: Ipv4Addr::new(127, 0, 1, 1).into(),
            dns,
            host: "web.shop.svc.clusterset.local".into(),
            count: 4,
            period: Duration::from_millis(80),
            spread: Duration::from_millis(1040),
        };
        let since = now();
        let load = Load::start(clients, routes).await?;
        let tally = await_condition("the answers are renewed", Duration::from_secs(10), async || {
            let tally = load.since(since);
            ensure!(tally.answers.get("east") >= Some(&8), "{:?}", tally.answers);
            Ok(tally)
        })
        .await?;
        assert_eq!(tally.failed, 0);
        assert!(tally.served["east"] >= 40, "{:?} in one TTL and a bit", tally.served);
        assert!(tally.answers["east"] <= 12, "{:?}", tally.answers);
        assert!((tally.answered_share("east") - 1.0).abs() < 1e-9 && tally.served_share("west") < 1e-9);
        assert!(tally.latency().0 >= Duration::from_millis(1));
        assert_eq!(load.answers_of("east", since).len(), load.since(since).answers["east"]);
        Ok(())
    }
}
