//! HTTP/1.0 client for one request. The reply ends with the connection, so no HTTP library is needed to read it.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Reply with status, header and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpReply {
    pub status: u16,
    head: String,
    pub body: String,
}

impl HttpReply {
    /// Returns the value of a header. `name` may have any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Requests a page.
pub async fn get(server: SocketAddr, path: &str) -> Result<HttpReply> {
    let stream = TcpStream::connect(server).await.with_context(|| format!("no server listens on {server}"))?;
    request(stream, server, path).await
}

/// Requests a page from the given source address.
pub async fn get_from(source: IpAddr, server: SocketAddr, path: &str) -> Result<HttpReply> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    let stream = socket.connect(server).await.with_context(|| format!("no server listens on {server}"))?;
    request(stream, server, path).await
}

async fn request(mut stream: TcpStream, server: SocketAddr, path: &str) -> Result<HttpReply> {
    stream.set_nodelay(true)?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n").as_bytes()).await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    let (head, body) = reply.split_once("\r\n\r\n").context("the reply is not HTTP")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(HttpReply { status, head: head.into(), body: body.into() })
}
