//! Answers the probes of other clusters: a byte for a byte.
//!
//! The byte shows that this process runs. A handshake alone would be completed by the kernel, or by a gateway on the way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Probes at once; the next one waits until one of them ends. A probe takes two round trips, so this is enough for
/// several hundred per second from the other side of the world.
const CONNECTIONS: usize = 256;
/// For all of a probe. Who probes has given up after half of it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long to leave the system alone when it has no connection to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Error)]
#[error(
    "cannot listen on {address} for probes of other clusters; is another process using the port? --probe takes another one"
)]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// Returns where it listens as well: port 0 takes any.
pub async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|source| BindError { address, source })
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                // How it ended is the affair of who asked.
                Ok((stream, _)) => drop(connections.spawn(timeout(PATIENCE, echo(stream)))),
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Who closes first has to remember the connection for a minute (TIME_WAIT). That is left to the client: it has made one
/// connection per second and peer, and here are those of all of them.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let byte = stream.read_u8().await?;
    stream.write_u8(byte).await?;
    stream.read_u8().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn started() -> (JoinSet<()>, SocketAddr) {
        let (listener, address) = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener));
        (tasks, address)
    }

    #[tokio::test]
    async fn one_byte_comes_back_and_a_second_one_ends_it() {
        let (_tasks, address) = started().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_u8(7).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 7);
        stream.write_u8(8).await.unwrap();
        assert!(stream.read_u8().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn silent_clients_keep_nobody_out_for_longer_than_two_seconds() {
        let (_tasks, address) = started().await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let began = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_u8(7).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 7);
        assert!(began.elapsed() <= PATIENCE + Duration::from_millis(10), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_refused_with_what_to_do() {
        let (_tasks, address) = started().await;
        let error = bind(address).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()) && error.to_string().contains("--probe"), "{error}");
    }
}
