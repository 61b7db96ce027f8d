//! Answers the probes of other clusters by sending a byte back.
//!
//! The byte shows that this process runs. A handshake alone could be completed by the kernel, or by a gateway on the
//! path.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Limit of connections. A further probe waits until one of them ends. A probe takes two round trips, so this is enough
/// for several hundred probes per second from the other side of the world.
const MAX_CONNECTIONS: usize = 256;
/// Limit for one probe. The peer has given up after half of it.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Error)]
#[error("cannot listen on {address} for probes of other clusters; if the port is in use, choose one with --probe")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// Binds the port. Also returns the address, because the system chooses the port if it is 0.
pub async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|source| BindError { address, source })
}

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                // The result of a probe matters to the peer alone.
                Ok((stream, _)) => drop(connections.spawn(timeout(PROBE_TIMEOUT, echo(stream)))),
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Sends one byte back. The side that closes first keeps the connection for a minute (TIME_WAIT). That is left to the
/// client, which makes one connection per second and peer, while those of all peers end here.
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
    async fn first_byte_comes_back_and_second_one_ends_the_connection() {
        let (_tasks, address) = started().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_u8(7).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 7);
        stream.write_u8(8).await.unwrap();
        assert!(stream.read_u8().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn silent_clients_block_others_for_two_seconds_at_most() {
        let (_tasks, address) = started().await;
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let began = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_u8(7).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 7);
        assert!(began.elapsed() <= PROBE_TIMEOUT + Duration::from_millis(10), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn error_for_a_port_in_use_has_the_address_and_the_flag() {
        let (_tasks, address) = started().await;
        let error = bind(address).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()) && error.to_string().contains("--probe"), "{error}");
    }
}
