//! Many datagrams per system call.
//!
//! This is the only module with `unsafe` in it. `nix` has wrappers, but the number of datagrams that were sent can only
//! be had by an iterator that reads addresses which nobody wrote, and headers that were used to send keep pointing to
//! what was sent; `rustix` has no `recvmmsg`. Here the headers live for one call and point to what the caller lent.

#![expect(unsafe_code, reason = "recvmmsg and sendmmsg have no sound safe wrapper")]
#![expect(clippy::cast_possible_truncation, reason = "sizes of 28 and 32, for C")]

use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_uint, c_void, iovec, mmsghdr, sockaddr_in6, socklen_t};

/// Datagrams per system call. More of them save less and less: at 32, the call itself is a small part of the work.
pub(crate) const BATCH: usize = 32;
/// Four times what any sensible query has. What is longer arrives cut.
const QUERY_MAX: usize = 2048;
/// The longer of the two kinds of addresses.
const PEER_MAX: usize = size_of::<sockaddr_in6>();

/// Where a datagram came from, as the kernel writes it, IPv4 or IPv6.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Peer {
    octets: [u8; PEER_MAX],
    length: socklen_t,
}

impl Peer {
    pub(crate) const UNKNOWN: Self = Self { octets: [0; _], length: 0 };
}

#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    buffer: [u8; QUERY_MAX],
    length: usize,
    pub(crate) from: Peer,
}

impl Incoming {
    pub(crate) const EMPTY: Self = Self { buffer: [0; _], length: 0, from: Peer::UNKNOWN };

    pub(crate) fn octets(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) octets: Vec<u8>,
    pub(crate) to: Peer,
}

/// Waits for a datagram, and takes with it those that are there already. Returns how many.
pub(crate) fn receive(socket: &UdpSocket, datagrams: &mut [Incoming; BATCH]) -> io::Result<usize> {
    let mut parts = datagrams
        .each_mut()
        .map(|datagram| iovec { iov_base: datagram.buffer.as_mut_ptr().cast::<c_void>(), iov_len: QUERY_MAX });
    let mut headers = [EMPTY_HEADER; BATCH];
    for ((header, part), datagram) in headers.iter_mut().zip(&mut parts).zip(datagrams.iter_mut()) {
        header.msg_hdr.msg_name = datagram.from.octets.as_mut_ptr().cast::<c_void>();
        header.msg_hdr.msg_namelen = PEER_MAX as socklen_t;
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: each of the BATCH headers points to one part and one address, which are borrowed mutably from `datagrams`
    // for longer than the call and are as long as they say; they are plain octets, so whatever the kernel writes is
    // valid. There is no timeout.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            BATCH as c_uint,
            libc::MSG_WAITFORONE as _,
            ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (datagram, header) in datagrams.iter_mut().zip(&headers).take(received) {
        datagram.length = (header.msg_len as usize).min(QUERY_MAX);
        datagram.from.length = header.msg_hdr.msg_namelen.min(PEER_MAX as socklen_t);
    }
    Ok(received)
}

/// Returns how many of the first [`BATCH`] were sent: all, or those before one that cannot be. An error is about the
/// first one.
pub(crate) fn send(socket: &UdpSocket, datagrams: &[Outgoing]) -> io::Result<usize> {
    let mut parts = [iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
    let mut headers = [EMPTY_HEADER; BATCH];
    for ((header, part), datagram) in headers.iter_mut().zip(&mut parts).zip(datagrams) {
        part.iov_base = datagram.octets.as_ptr().cast_mut().cast::<c_void>();
        part.iov_len = datagram.octets.len();
        header.msg_hdr.msg_name = datagram.to.octets.as_ptr().cast_mut().cast::<c_void>();
        header.msg_hdr.msg_namelen = datagram.to.length;
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
    }
    let count = datagrams.len().min(BATCH);
    // SAFETY: each of the first `count` headers points to one part and one address, which are borrowed from `datagrams`
    // for longer than the call and are as long as they say. sendmmsg only reads them; it wants mutable pointers because
    // the headers are those of recvmmsg.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as c_uint, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

// SAFETY: integers and pointers, for which zero is a value. musl's header has private padding and cannot be written out.
const EMPTY_HEADER: mmsghdr = unsafe { mem::zeroed() };
