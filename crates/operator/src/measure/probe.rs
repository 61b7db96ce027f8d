//! Probes each peer once per second: measures the time until a byte comes back, if it does.

use landfall_controller::targets::ProbeTargets;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use landfall_core::name::ClusterId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

/// Interval between two probes of a peer.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Limit for one probe, over all addresses of the peer. A round trip between any two places on Earth takes a third of
/// it at most.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Limit of concurrent probes. As many peers can be silent without delaying the probes of others.
const MAX_CONCURRENT_PROBES: usize = 64;
/// Limit of addresses that one probe tries. The next probes try the others.
const MAX_ADDRESSES: usize = 4;
/// Byte that is sent. No server of another protocol sends it first.
const PROBE_BYTE: u8 = 0xE7;

/// Outcome of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub cluster: ClusterId,
    /// Round trip of the byte. `None`: it did not come back.
    pub rtt: Option<Duration>,
}

/// Probes until the receiver of outcomes is gone. `source` is the local address that probes leave from, for peers of
/// its address family. A peer without an address is not probed, so it has no outcome.
pub async fn run(targets: watch::Receiver<ProbeTargets>, source: Option<IpAddr>, outcomes: mpsc::Sender<Probed>) {
    let mut ticks = interval(PROBE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut round = 0_usize;
    let mut due = VecDeque::new();
    let mut in_flight = JoinSet::new();
    loop {
        let next = due.front().map(|(at, _): &(Instant, ClusterId)| *at);
        let is_free = in_flight.len() < MAX_CONCURRENT_PROBES;
        tokio::select! {
            () = outcomes.closed() => return,
            now = ticks.tick() => {
                round = round.wrapping_add(1);
                spread(&targets.borrow(), now, &mut due);
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() && is_free => {
                let Some((_, cluster)) = due.pop_front() else { continue };
                let addresses = targets.borrow().get(&cluster).map_or_else(Vec::new, |all| rotated(all, round));
                if !addresses.is_empty() {
                    in_flight.spawn(async move { Probed { rtt: probe(addresses, source).await, cluster } });
                }
            }
            Some(ended) = in_flight.join_next() => {
                let probed = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                if outcomes.send(probed).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Schedules a probe of each target, evenly over the interval, because simultaneous probes would delay each other. A
/// target that still waits for its last probe keeps its place, so that each is probed even if there are too many.
fn spread(targets: &ProbeTargets, now: Instant, due: &mut VecDeque<(Instant, ClusterId)>) {
    let step = PROBE_INTERVAL / u32::try_from(targets.len().max(1)).unwrap_or(u32::MAX);
    let mut at = now;
    for cluster in targets.keys() {
        if !due.iter().any(|(_, waits)| waits == cluster) {
            due.push_back((at, cluster.clone()));
        }
        at += step;
    }
}

/// Returns some of the addresses, with a different one first in each round.
fn rotated(addresses: &[SocketAddr], round: usize) -> Vec<SocketAddr> {
    let skipped = round.checked_rem(addresses.len()).unwrap_or(0);
    addresses.iter().cycle().skip(skipped).take(addresses.len().min(MAX_ADDRESSES)).copied().collect()
}

/// Returns the round trip of the address that answers first. The next address is tried once an attempt has failed or
/// has had its part of the time. Earlier attempts continue, so that a distant peer is not given up for its other
/// address.
async fn probe(addresses: Vec<SocketAddr>, source: Option<IpAddr>) -> Option<Duration> {
    let head_start = PROBE_TIMEOUT / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let any_answers = async {
        let mut rest = addresses.into_iter();
        let mut attempts = FuturesUnordered::new();
        loop {
            match rest.next() {
                Some(address) => attempts.push(round_trip(address, source)),
                None if attempts.is_empty() => return None,
                None => {}
            }
            tokio::select! {
                Some(ended) = attempts.next() => if let Ok(rtt) = ended { return Some(rtt) },
                () = sleep(head_start), if rest.len() > 0 => {}
            }
        }
    };
    timeout(PROBE_TIMEOUT, any_answers).await.ok().flatten()
}

/// Measures the round trip of the byte, without the handshake, which a gateway may complete for the peer.
async fn round_trip(address: SocketAddr, source: Option<IpAddr>) -> io::Result<Duration> {
    let mut stream = connect(address, source).await?;
    stream.set_nodelay(true)?;
    let began = Instant::now();
    stream.write_u8(PROBE_BYTE).await?;
    let byte = stream.read_u8().await?;
    let rtt = began.elapsed();
    if byte == PROBE_BYTE { Ok(rtt) } else { Err(io::Error::other("the address answers with another byte")) }
}

async fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    // On one host, a port without a listener can be the local port of the connection to it. The socket is then
    // connected to itself (RFC 9293, 3.5), and would send the byte back.
    if stream.local_addr()? == address {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::BTreeSet;

    use tokio::net::TcpListener;

    use super::*;
    use crate::measure::probe_server;

    fn id(cluster: &str) -> ClusterId {
        ClusterId::new(cluster).unwrap()
    }

    async fn answering(tasks: &mut JoinSet<()>) -> SocketAddr {
        let (listener, address) = probe_server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        tasks.spawn(probe_server::serve(listener));
        address
    }

    /// Returns an address where the kernel completes the handshake and no process answers.
    async fn silent() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn refusing() -> SocketAddr {
        silent().await.1
    }

    fn started(targets: ProbeTargets) -> (JoinSet<()>, watch::Sender<ProbeTargets>, mpsc::Receiver<Probed>) {
        let (sender, targets) = watch::channel(targets);
        let (outcomes, probed) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        tasks.spawn(run(targets, None, outcomes));
        (tasks, sender, probed)
    }

    #[tokio::test]
    async fn peer_that_sends_the_byte_back_is_measured() {
        let mut tasks = JoinSet::new();
        let address = answering(&mut tasks).await;
        let rtt = probe(vec![address], None).await.unwrap();
        assert!(rtt > Duration::ZERO && rtt < PROBE_TIMEOUT, "{rtt:?}");
        assert!(probe(vec![address], Some([127, 0, 0, 2].into())).await.is_some());
        assert!(probe(vec![address], Some("::1".parse().unwrap())).await.is_some(), "of another family");
        assert!(probe(vec![address], Some([192, 0, 2, 1].into())).await.is_none(), "not an address of this host");
    }

    #[tokio::test(start_paused = true)]
    async fn handshake_alone_and_another_byte_are_no_answer() {
        let (_listener, address) = silent().await;
        let began = Instant::now();
        assert_eq!(probe(vec![address], None).await, None);
        assert_eq!(began.elapsed().as_secs(), PROBE_TIMEOUT.as_secs());

        let (listener, address) = silent().await;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"SSH-2.0").await.unwrap();
            stream.read_u8().await.map(drop).unwrap_or_default();
        });
        assert_eq!(probe(vec![address], None).await, None);
        assert_eq!(probe(vec![refusing().await], None).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_that_answers_is_enough() {
        let mut tasks = JoinSet::new();
        let (good, refusing) = (answering(&mut tasks).await, refusing().await);
        let began = Instant::now();
        assert!(probe(vec![refusing, refusing, good], None).await.is_some());
        assert!(began.elapsed() < PROBE_TIMEOUT / 4, "an address that refuses costs no time: {:?}", began.elapsed());
        let (_listener, silent) = silent().await;
        assert!(probe(vec![silent, silent, good], None).await.is_some());
        assert_eq!(probe(vec![silent, silent, refusing], None).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn each_peer_is_probed_every_second_regardless_of_the_others() {
        let mut helpers = JoinSet::new();
        let good = answering(&mut helpers).await;
        let (_listener, silent) = silent().await;
        let targets = [("good", vec![good]), ("silent", vec![silent]), ("unknown", vec![])];
        let targets = targets.map(|(cluster, addresses)| (id(cluster), addresses)).into();
        let (_tasks, sender, mut probed) = started(targets);
        let began = Instant::now();
        let mut outcomes = BTreeMap::new();
        while began.elapsed() < Duration::from_millis(10_500) {
            let Probed { cluster, rtt } = probed.recv().await.unwrap();
            outcomes.entry((cluster.to_string(), rtt.is_some())).and_modify(|count| *count += 1).or_insert(1);
        }
        let keys: Vec<_> = outcomes.keys().map(|(cluster, there)| (cluster.as_str(), *there)).collect();
        assert_eq!(keys, [("good", true), ("silent", false)]);
        assert!(outcomes.values().all(|count| (9..=12).contains(count)), "{outcomes:?}");

        sender.send_replace(BTreeMap::from([(id("new"), vec![good])]));
        let mut seen = BTreeSet::new();
        while seen.len() < 2 || !seen.contains("new") {
            seen.insert(probed.recv().await.unwrap().cluster.to_string());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_of_more_silent_peers_than_concurrent_probes_is_probed() {
        let (_listener, silent) = silent().await;
        let peers = 2 * MAX_CONCURRENT_PROBES;
        let targets = (0..peers).map(|i| (id(&format!("c{i}")), vec![silent])).collect();
        let (_tasks, _sender, mut probed) = started(targets);
        let mut counts = BTreeMap::new();
        for _ in 0..10 * peers {
            *counts.entry(probed.recv().await.unwrap().cluster).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), peers);
        assert!(counts.values().all(|count| (9..=11).contains(count)), "{counts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn probing_ends_when_the_receiver_of_outcomes_is_gone() {
        let (mut tasks, _sender, probed) = started(ProbeTargets::new());
        drop(probed);
        assert!(tasks.join_next().await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn probes_are_spread_over_the_second_and_a_waiting_target_keeps_its_place() {
        let targets: ProbeTargets = ["a", "b", "c", "d"].map(|cluster| (id(cluster), Vec::new())).into();
        let now = Instant::now();
        let mut due = VecDeque::from([(now, id("c"))]);
        spread(&targets, now + PROBE_INTERVAL, &mut due);
        let due: Vec<_> = due.iter().map(|(at, cluster)| ((*at - now).as_millis(), cluster.as_str())).collect();
        assert_eq!(due, [(0, "c"), (1000, "a"), (1250, "b"), (1750, "d")]);
    }

    #[test]
    fn addresses_rotate_and_four_at_most_are_tried() {
        let ports = |round| -> Vec<u16> {
            let all: Vec<SocketAddr> = (1..=6).map(|port| ([127, 0, 0, 1], port).into()).collect();
            rotated(&all, round).iter().map(SocketAddr::port).collect()
        };
        assert_eq!((ports(0), ports(5), ports(6)), (vec![1, 2, 3, 4], vec![6, 1, 2, 3], vec![1, 2, 3, 4]));
        assert_eq!(rotated(&[], 3), []);
        let one = [SocketAddr::from(([127, 0, 0, 1], 9))];
        assert_eq!(rotated(&one, 7), one);
    }
}
