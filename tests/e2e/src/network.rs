//! Network between the clusters of a fleet: TCP links with a round-trip time, which can be cut.
//!
//! All clusters are on one loopback, so a source address identifies a cluster, and all that a cluster offers to others
//! is reached through a listener here. Each direction of a connection takes half of the link's round-trip time, counted
//! from the arrival of a byte, so bytes in flight do not delay later ones. Handshakes complete at once, as behind a
//! middlebox.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::wait::now;

/// Size of a read. Probes and the requests of the tests are smaller.
const CHUNK_BYTES: usize = 16 * 1024;

/// Limit on the chunks in flight, per direction and connection: 1 MiB. Beyond that a sender waits, as for a full
/// window.
const MAX_CHUNKS_IN_FLIGHT: usize = 64;

/// Links and listeners. Dropping it closes all connections.
pub struct Network {
    links: watch::Sender<Links>,
    listeners: JoinSet<()>,
}

/// Clients that a listener accepts.
#[derive(Debug, Clone)]
pub enum Clients {
    /// Every cluster, each from an address that was [named](Network::name_source). Other addresses are refused.
    ByAddress,
    /// This cluster alone, for clients that cannot choose their source address.
    Of(String),
}

/// Kind of fault of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Existing and new connections are reset.
    Reset,
    /// No bytes pass and no error is reported, as when a machine or a line is gone. Handshakes still complete.
    /// Connections that lost bytes are reset when the link is restored.
    Silent,
}

/// Present state of the links; connections read it for each chunk.
#[derive(Debug, Clone, Default)]
struct Links {
    sources: BTreeMap<IpAddr, String>,
    rtts: BTreeMap<Pair, Duration>,
    cuts: BTreeMap<Pair, Cut>,
}

/// Two ends of a link in alphabetical order, because links are symmetric.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Pair(String, String);

impl Pair {
    fn of(one: &str, other: &str) -> Self {
        let (first, last) = if one <= other { (one, other) } else { (other, one) };
        Self(first.into(), last.into())
    }
}

impl Links {
    fn one_way(&self, pair: &Pair) -> Duration {
        self.rtts.get(pair).map_or(Duration::ZERO, |rtt| *rtt / 2)
    }

    fn is(&self, cut: Cut, pair: &Pair) -> bool {
        self.cuts.get(pair) == Some(&cut)
    }
}

impl Network {
    #[must_use]
    pub fn new() -> Self {
        Self { links: watch::Sender::new(Links::default()), listeners: JoinSet::new() }
    }

    /// Assigns a source address to a cluster.
    pub fn name_source(&self, address: IpAddr, cluster: &str) {
        self.links.send_modify(|links| {
            links.sources.insert(address, cluster.into());
        });
    }

    /// Sets the round-trip time between two clusters, for open connections too. The default is 0.
    pub fn set_rtt(&self, one: &str, other: &str, rtt: Duration) {
        self.links.send_modify(|links| {
            links.rtts.insert(Pair::of(one, other), rtt);
        });
    }

    /// Breaks the link between two clusters until it is restored.
    pub fn cut(&self, one: &str, other: &str, how: Cut) {
        self.links.send_modify(|links| {
            links.cuts.insert(Pair::of(one, other), how);
        });
    }

    pub fn restore(&self, one: &str, other: &str) {
        self.links.send_modify(|links| {
            links.cuts.remove(&Pair::of(one, other));
        });
    }

    /// Opens a listener on a free port of `address` for `target` in `cluster`. Returns its address.
    pub async fn listen(
        &mut self,
        clients: Clients,
        address: IpAddr,
        cluster: &str,
        target: SocketAddr,
    ) -> Result<SocketAddr> {
        let listener =
            TcpListener::bind((address, 0)).await.with_context(|| format!("listen on {address} for {cluster}"))?;
        let bound = listener.local_addr()?;
        let (cluster, links) = (cluster.to_owned(), self.links.subscribe());
        self.listeners.spawn(serve(listener, clients, cluster, target, links));
        Ok(bound)
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

/// Accepts connections until the network is dropped.
async fn serve(
    listener: TcpListener,
    clients: Clients,
    cluster: String,
    target: SocketAddr,
    links: watch::Receiver<Links>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A connection that ended before it was accepted is no reason to stop.
            Ok((client, from)) = listener.accept() => {
                let source = match &clients {
                    Clients::ByAddress => links.borrow().sources.get(&from.ip()).cloned(),
                    Clients::Of(source) => Some(source.clone()),
                };
                match source {
                    Some(source) => drop(connections.spawn(connect(client, target, Pair::of(&source, &cluster), links.clone()))),
                    None => reset(&client),
                }
            }
            // Ended connections are removed, whatever ended them.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(mut client: TcpStream, target: SocketAddr, pair: Pair, links: watch::Receiver<Links>) {
    let mut watched = links.clone();
    let orderly = tokio::select! {
        // The link is cut, or the network was dropped.
        _ = watched.wait_for(|links| links.is(Cut::Reset, &pair)) => false,
        relayed = relay(&mut client, target, &pair, &links) => relayed.is_ok(),
    };
    if !orderly {
        reset(&client);
    }
}

/// Makes the client see an error, and not an orderly end, when the stream is dropped.
fn reset(client: &TcpStream) {
    // A closed connection needs no reset.
    let _ = client.set_zero_linger();
}

/// Relays both directions until both have ended. Fails if either end breaks off.
async fn relay(
    client: &mut TcpStream,
    target: SocketAddr,
    pair: &Pair,
    links: &watch::Receiver<Links>,
) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::try_join!(carry(from_client, to_server, pair, links), carry(from_server, to_client, pair, links))?;
    Ok(())
}

/// Relays one direction to its end. Each chunk has a time at which it is due.
async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    pair: &Pair,
    links: &watch::Receiver<Links>,
) -> io::Result<()> {
    let (send, mut in_flight) = mpsc::channel(MAX_CHUNKS_IN_FLIGHT);
    let departures = async move {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let length = from.read(&mut chunk).await?;
            chunk.truncate(length);
            if links.borrow().is(Cut::Silent, pair) {
                return lost(pair, links.clone()).await;
            }
            let due = now() + links.borrow().one_way(pair);
            // An empty chunk marks the end, which takes as long as the data.
            if send.send((due, chunk)).await.is_err() || length == 0 {
                return Ok(());
            }
        }
    };
    let arrivals = async move {
        while let Some((due, chunk)) = in_flight.recv().await {
            // Timers are as coarse as a millisecond, even for a time that has passed.
            if due > now() {
                sleep_until(due.into()).await;
            }
            if chunk.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&chunk).await?;
        }
        Ok(())
    };
    tokio::try_join!(departures, arrivals)?;
    Ok(())
}

/// Waits until the link is restored, and then fails: a stream with missing bytes cannot continue.
async fn lost(pair: &Pair, mut links: watch::Receiver<Links>) -> io::Result<()> {
    // If the network was dropped, the connection ends as well.
    let _ = links.wait_for(|links| !links.is(Cut::Silent, pair)).await;
    Err(io::ErrorKind::ConnectionReset.into())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use anyhow::ensure;
    use tokio::net::TcpSocket;
    use tokio::time::timeout;

    use super::*;
    use crate::wait::await_condition;

    const EAST: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
    const WEST: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 2);
    const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

    /// Network with an echo server in north, and clients in east and west.
    struct Bed {
        network: Network,
        echo: SocketAddr,
        _server: JoinSet<()>,
    }

    impl Bed {
        async fn start() -> Result<Self> {
            let mut server = JoinSet::new();
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let target = listener.local_addr()?;
            server.spawn(echo_all(listener));
            let mut network = Network::new();
            network.name_source(EAST.into(), "east");
            network.name_source(WEST.into(), "west");
            let echo = network.listen(Clients::ByAddress, Ipv4Addr::LOCALHOST.into(), "north", target).await?;
            Ok(Self { network, echo, _server: server })
        }

        async fn connect(&self, from: Ipv4Addr) -> Result<TcpStream> {
            let socket = TcpSocket::new_v4()?;
            socket.bind((from, 0).into())?;
            let stream = socket.connect(self.echo).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        }

        async fn is_refused(&self, from: Ipv4Addr) -> bool {
            let Ok(mut stream) = self.connect(from).await else { return true };
            echo(&mut stream, &[1]).await.is_err()
        }
    }

    async fn echo_all(listener: TcpListener) {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    }

    async fn echo(stream: &mut TcpStream, sent: &[u8]) -> Result<Duration> {
        let since = now();
        stream.write_all(sent).await?;
        let mut received = vec![0; sent.len()];
        stream.read_exact(&mut received).await?;
        ensure!(received == sent, "the echo differs");
        Ok(since.elapsed())
    }

    /// Returns the fastest of several echoes: a busy machine may slow down any of them.
    async fn fastest_echo(stream: &mut TcpStream) -> Result<u128> {
        let mut fastest = Duration::MAX;
        for _ in 0..5 {
            fastest = fastest.min(echo(stream, &[7]).await?);
        }
        Ok(fastest.as_millis())
    }

    #[tokio::test]
    async fn echo_takes_the_round_trip_time_of_its_link_and_a_change_counts_at_once() -> Result<()> {
        let bed = Bed::start().await?;
        bed.network.set_rtt("east", "north", Duration::from_millis(40));
        let (mut east, mut west) = (bed.connect(EAST).await?, bed.connect(WEST).await?);
        let far = fastest_echo(&mut east).await?;
        assert!((40..60).contains(&far), "{far} ms");
        let near = fastest_echo(&mut west).await?;
        assert!(near < 20, "{near} ms");
        bed.network.set_rtt("north", "east", Duration::from_millis(120));
        let farther = fastest_echo(&mut east).await?;
        assert!((120..140).contains(&farther), "{farther} ms");
        Ok(())
    }

    #[tokio::test]
    async fn bytes_do_not_wait_for_bytes_in_flight_and_arrive_in_order() -> Result<()> {
        let bed = Bed::start().await?;
        bed.network.set_rtt("east", "north", Duration::from_millis(100));
        let mut stream = bed.connect(EAST).await?;
        let since = now();
        // Twenty bytes, 5 ms apart. One after the other, they would take 2 s.
        for byte in 0..20 {
            stream.write_all(&[byte]).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut received = [0; 20];
        stream.read_exact(&mut received).await?;
        assert!(received.iter().copied().eq(0..20), "{received:?}");
        let took = since.elapsed().as_millis();
        assert!((195..600).contains(&took), "{took} ms");
        Ok(())
    }

    #[tokio::test]
    async fn stream_longer_than_the_buffer_arrives_whole() -> Result<()> {
        let bed = Bed::start().await?;
        bed.network.set_rtt("east", "north", Duration::from_millis(2));
        let mut stream = bed.connect(EAST).await?;
        let sent: Vec<u8> = (0..251).cycle().take(3 * MAX_CHUNKS_IN_FLIGHT * CHUNK_BYTES).collect();
        let (mut from, mut to) = stream.split();
        let mut received = vec![0; sent.len()];
        let writing = async {
            to.write_all(&sent).await?;
            to.shutdown().await
        };
        tokio::try_join!(writing, from.read_exact(&mut received))?;
        assert!(received == sent);
        assert_eq!(from.read(&mut [0]).await?, 0, "the end arrives as well");
        Ok(())
    }

    #[tokio::test]
    async fn cut_link_breaks_its_connections_and_no_others_until_it_is_restored() -> Result<()> {
        let bed = Bed::start().await?;
        let (mut east, mut west) = (bed.connect(EAST).await?, bed.connect(WEST).await?);
        echo(&mut east, &[1]).await?;
        bed.network.cut("north", "east", Cut::Reset);
        await_condition("the open connection breaks", DEFAULT_TIMEOUT, async || {
            ensure!(echo(&mut east, &[1]).await.is_err(), "the connection still works");
            Ok(())
        })
        .await?;
        assert!(bed.is_refused(EAST).await);
        echo(&mut west, &[1]).await?;
        bed.network.restore("east", "north");
        assert!(!bed.is_refused(EAST).await);
        Ok(())
    }

    #[tokio::test]
    async fn silent_link_gives_no_answer_and_no_error_until_it_is_restored() -> Result<()> {
        const A_WHILE: Duration = Duration::from_millis(200);
        let bed = Bed::start().await?;
        let mut east = bed.connect(EAST).await?;
        echo(&mut east, &[1]).await?;
        bed.network.cut("north", "east", Cut::Silent);
        assert!(timeout(A_WHILE, echo(&mut east, &[2])).await.is_err(), "an open connection got an answer");
        assert!(timeout(A_WHILE, bed.is_refused(EAST)).await.is_err(), "a new connection got an answer");
        assert!(!bed.is_refused(WEST).await);
        bed.network.restore("east", "north");
        assert!(echo(&mut east, &[3]).await.is_err(), "a byte is missing");
        assert!(!bed.is_refused(EAST).await);
        Ok(())
    }

    #[tokio::test]
    async fn client_from_an_unknown_address_is_refused() -> Result<()> {
        let bed = Bed::start().await?;
        assert!(bed.is_refused(Ipv4Addr::new(127, 0, 1, 99)).await);
        assert!(!bed.is_refused(WEST).await);
        Ok(())
    }
}
