//! Receives and sends many datagrams per system call.
//!
//! This is the only module with `unsafe` code. `rustix` has no `recvmmsg`. `nix` has wrappers, but they are not sound:
//!
//! - The number of sent datagrams is only available from an iterator that reads uninitialized addresses.
//! - Headers that were used to send keep pointing to the sent data.
//!
//! Here the headers live for one call and point to data that the caller lends.

#![expect(unsafe_code, reason = "recvmmsg and sendmmsg have no sound safe wrapper")]
#![expect(clippy::cast_possible_truncation, reason = "the constants 28 and 32 as C integers")]

use std::io;
use std::mem;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr;

use libc::{c_uint, c_void, iovec, mmsghdr, sockaddr_in6, socklen_t};

/// Maximum number of datagrams per system call. At 32, the call itself is a small part of the work, and a larger batch
/// saves little more.
pub(crate) const BATCH_SIZE: usize = 32;
/// Size of the buffer for a query, four times that of a long query. Longer datagrams arrive truncated.
const MAX_QUERY_LENGTH: usize = 2048;
/// Size of an IPv6 socket address, the longer of the two kinds.
const MAX_ADDRESS_LENGTH: usize = size_of::<sockaddr_in6>();

/// Address of a client, IPv4 or IPv6, in the form that the kernel reads and writes.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct RawAddress {
    octets: [u8; MAX_ADDRESS_LENGTH],
    length: socklen_t,
}

impl RawAddress {
    /// No address. Datagrams cannot be sent to it.
    pub(crate) const UNKNOWN: Self = Self { octets: [0; _], length: 0 };
}

/// A received datagram and the address of its sender.
#[derive(Debug, Clone)]
pub(crate) struct Incoming {
    buffer: [u8; MAX_QUERY_LENGTH],
    length: usize,
    pub(crate) from: RawAddress,
}

impl Incoming {
    pub(crate) const EMPTY: Self = Self { buffer: [0; _], length: 0, from: RawAddress::UNKNOWN };

    pub(crate) fn octets(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

/// A datagram to send and the address of its receiver.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) octets: Vec<u8>,
    pub(crate) to: RawAddress,
}

/// Waits for a datagram and also takes those that are already queued. Returns the number of datagrams.
pub(crate) fn receive(socket: &UdpSocket, datagrams: &mut [Incoming; BATCH_SIZE]) -> io::Result<usize> {
    let mut buffers = datagrams
        .each_mut()
        .map(|datagram| iovec { iov_base: datagram.buffer.as_mut_ptr().cast::<c_void>(), iov_len: MAX_QUERY_LENGTH });
    let mut headers = [ZEROED_HEADER; BATCH_SIZE];
    for ((header, buffer), datagram) in headers.iter_mut().zip(&mut buffers).zip(datagrams.iter_mut()) {
        header.msg_hdr.msg_name = datagram.from.octets.as_mut_ptr().cast::<c_void>();
        header.msg_hdr.msg_namelen = MAX_ADDRESS_LENGTH as socklen_t;
        header.msg_hdr.msg_iov = buffer;
        header.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: each of the BATCH_SIZE headers points to one buffer and one address. Both are borrowed mutably from
    // `datagrams` for longer than the call and have the stated lengths. They are plain octets, so all values that the
    // kernel can write are valid. There is no timeout.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            BATCH_SIZE as c_uint,
            libc::MSG_WAITFORONE as _,
            ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (datagram, header) in datagrams.iter_mut().zip(&headers).take(received) {
        datagram.length = (header.msg_len as usize).min(MAX_QUERY_LENGTH);
        datagram.from.length = header.msg_hdr.msg_namelen.min(MAX_ADDRESS_LENGTH as socklen_t);
    }
    Ok(received)
}

/// Sends up to [`BATCH_SIZE`] datagrams. Returns the number sent, which is lower if a datagram in between cannot be
/// sent. Returns an error if the first datagram cannot be sent.
pub(crate) fn send(socket: &UdpSocket, datagrams: &[Outgoing]) -> io::Result<usize> {
    let mut buffers = [iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH_SIZE];
    let mut headers = [ZEROED_HEADER; BATCH_SIZE];
    for ((header, buffer), datagram) in headers.iter_mut().zip(&mut buffers).zip(datagrams) {
        buffer.iov_base = datagram.octets.as_ptr().cast_mut().cast::<c_void>();
        buffer.iov_len = datagram.octets.len();
        header.msg_hdr.msg_name = datagram.to.octets.as_ptr().cast_mut().cast::<c_void>();
        header.msg_hdr.msg_namelen = datagram.to.length;
        header.msg_hdr.msg_iov = buffer;
        header.msg_hdr.msg_iovlen = 1;
    }
    let count = datagrams.len().min(BATCH_SIZE);
    // SAFETY: each of the first `count` headers points to one buffer and one address. Both are borrowed from
    // `datagrams` for longer than the call and have the stated lengths. sendmmsg only reads them; its pointers are
    // mutable because it shares its headers with recvmmsg.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as c_uint, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

// SAFETY: a header consists of integers and pointers, for which zero is a valid value. A struct literal is not
// possible, because musl's header has private padding.
const ZEROED_HEADER: mmsghdr = unsafe { mem::zeroed() };
