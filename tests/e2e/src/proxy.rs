//! The network between the clusters of a fleet: TCP that takes as long as it is told to, and that can be cut.
//!
//! All clusters are on one loopback, so a cluster is told by its source address, and everything a cluster offers to the
//! others is reached through a listener here. Each direction of a connection takes half of the link's round-trip time,
//! counted from when a byte arrived: what is on its way does not hold up what follows. The handshake itself is at once,
//! as behind a middlebox.

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

/// What is read at once. Probes and the requests of the tests are smaller.
const CHUNK_BYTES: usize = 16 * 1024;

/// Chunks on their way, per direction and connection: 1 MiB. Beyond that a sender waits, as for a full window.
const CHUNKS_ON_THE_WAY: usize = 64;

/// The links and the listeners. Dropping it closes all connections.
pub struct Network {
    links: watch::Sender<Links>,
    listeners: JoinSet<()>,
}

/// Whose connections a listener takes.
#[derive(Debug, Clone)]
pub enum Clients {
    /// Of every cluster, each from an address that was [named](Network::name_source). Others are turned away.
    ByAddress,
    /// Of this cluster alone, for clients that cannot choose the address they come from.
    Of(String),
}

/// How a link is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Connections are reset, and every new one.
    Reset,
    /// Nothing comes through and nobody says so, as when a machine or a line is gone. Handshakes are still completed;
    /// connections that lost something are reset when the link is restored.
    Silent,
}

/// How things are at the moment; connections look at it for each chunk.
#[derive(Debug, Clone, Default)]
struct Links {
    sources: BTreeMap<IpAddr, String>,
    rtts: BTreeMap<Pair, Duration>,
    cuts: BTreeMap<Pair, Cut>,
}

/// Two ends of a link, in alphabetical order: links are symmetric.
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

    /// Says which cluster's clients come from an address.
    pub fn name_source(&self, address: IpAddr, cluster: &str) {
        self.links.send_modify(|links| {
            links.sources.insert(address, cluster.into());
        });
    }

    /// The round-trip time between two clusters from now on, of open connections too. Until it is said it is 0.
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

    /// Opens a listener on a free port of `address` for what `cluster` offers at `target`. Returns where it listens.
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

/// Takes connections for as long as the network lasts.
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
            // A connection that was gone before it was taken is no reason to stop.
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
            // Those that ended are forgotten, whatever ended them.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(mut client: TcpStream, target: SocketAddr, pair: Pair, links: watch::Receiver<Links>) {
    let mut watched = links.clone();
    let orderly = tokio::select! {
        // The link is cut, or the network is gone.
        _ = watched.wait_for(|links| links.is(Cut::Reset, &pair)) => false,
        relayed = relay(&mut client, target, &pair, &links) => relayed.is_ok(),
    };
    if !orderly {
        reset(&client);
    }
}

/// Makes the client see an error when the stream is dropped, and not an end.
fn reset(client: &TcpStream) {
    // One that is closed already needs no reset.
    let _ = client.set_zero_linger();
}

/// Carries both directions until both have ended. An error when either end broke off.
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

/// Carries one direction to its end. Each chunk has a time at which it is due.
async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    pair: &Pair,
    links: &watch::Receiver<Links>,
) -> io::Result<()> {
    let (send, mut on_the_way) = mpsc::channel(CHUNKS_ON_THE_WAY);
    let departures = async move {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let length = from.read(&mut chunk).await?;
            chunk.truncate(length);
            if links.borrow().is(Cut::Silent, pair) {
                return lost(pair, links.clone()).await;
            }
            let due = now() + links.borrow().one_way(pair);
            // An empty chunk is the end, which travels as long as the rest.
            if send.send((due, chunk)).await.is_err() || length == 0 {
                return Ok(());
            }
        }
    };
    let arrivals = async move {
        while let Some((due, chunk)) = on_the_way.recv().await {
            // Timers are as coarse as a millisecond, also for a time that has come.
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

/// A stream in which something is missing cannot go on. That shows when the link is back, and not before.
async fn lost(pair: &Pair, mut links: watch::Receiver<Links>) -> io::Result<()> {
    // When the network is gone, so is the connection.
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
    const SOON: Duration = Duration::from_secs(5);

    /// A network with an echo that north offers. East is named, and so is west.
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
        ensure!(received == sent, "something else came back");
        Ok(since.elapsed())
    }

    /// The fastest of several: a machine that does something else as well may slow down any of them.
    async fn fastest_echo(stream: &mut TcpStream) -> Result<u128> {
        let mut fastest = Duration::MAX;
        for _ in 0..5 {
            fastest = fastest.min(echo(stream, &[7]).await?);
        }
        Ok(fastest.as_millis())
    }

    #[tokio::test]
    async fn an_echo_takes_the_round_trip_time_of_its_link_and_a_change_counts_at_once() -> Result<()> {
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
    async fn what_follows_does_not_wait_for_what_is_on_its_way_and_arrives_in_order() -> Result<()> {
        let bed = Bed::start().await?;
        bed.network.set_rtt("east", "north", Duration::from_millis(100));
        let mut stream = bed.connect(EAST).await?;
        let since = now();
        // Twenty bytes at 5 ms from each other: one after the other they would take 2 s.
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
    async fn more_than_is_kept_on_the_way_passes_whole() -> Result<()> {
        let bed = Bed::start().await?;
        bed.network.set_rtt("east", "north", Duration::from_millis(2));
        let mut stream = bed.connect(EAST).await?;
        let sent: Vec<u8> = (0..251).cycle().take(3 * CHUNKS_ON_THE_WAY * CHUNK_BYTES).collect();
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
    async fn a_cut_link_breaks_its_connections_and_no_others_until_it_is_restored() -> Result<()> {
        let bed = Bed::start().await?;
        let (mut east, mut west) = (bed.connect(EAST).await?, bed.connect(WEST).await?);
        echo(&mut east, &[1]).await?;
        bed.network.cut("north", "east", Cut::Reset);
        await_condition("the open connection breaks", SOON, async || {
            ensure!(echo(&mut east, &[1]).await.is_err(), "it goes on");
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
    async fn a_silent_link_gives_no_answer_and_no_error_until_it_is_restored() -> Result<()> {
        const A_WHILE: Duration = Duration::from_millis(200);
        let bed = Bed::start().await?;
        let mut east = bed.connect(EAST).await?;
        echo(&mut east, &[1]).await?;
        bed.network.cut("north", "east", Cut::Silent);
        assert!(timeout(A_WHILE, echo(&mut east, &[2])).await.is_err(), "of an open connection");
        assert!(timeout(A_WHILE, bed.is_refused(EAST)).await.is_err(), "of a new one");
        assert!(!bed.is_refused(WEST).await);
        bed.network.restore("east", "north");
        assert!(echo(&mut east, &[3]).await.is_err(), "a byte is missing");
        assert!(!bed.is_refused(EAST).await);
        Ok(())
    }

    #[tokio::test]
    async fn a_client_that_does_not_say_where_it_is_from_is_turned_away() -> Result<()> {
        let bed = Bed::start().await?;
        assert!(bed.is_refused(Ipv4Addr::new(127, 0, 1, 99)).await);
        assert!(!bed.is_refused(WEST).await);
        Ok(())
    }
}
