//! Classification of socket errors: which ones pass, and which ones mean that the socket is unusable.

use std::io;

/// How a server reacts to a failed system call on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// A signal interrupted the call. The caller repeats it at once.
    Interrupted,
    /// The time limit of the socket passed.
    TimedOut,
    /// The cause can pass, such as a lack of memory, a network that is down or an ICMP message about an earlier packet.
    /// The caller counts the error and retries after a pause.
    Transient,
    /// The call fails in the same way however often it is repeated.
    Permanent,
}

/// Returns the class of `error`. Errors that are not listed are transient: an error that passes must not end the
/// server, and one that persists shows in the metrics.
pub(crate) fn classify(error: &io::Error) -> ErrorClass {
    if error.kind() == io::ErrorKind::Interrupted {
        return ErrorClass::Interrupted;
    }
    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
        return ErrorClass::TimedOut;
    }
    match error.raw_os_error() {
        // EOPNOTSUPP is not among them: accept(2) passes it on from the network of a new connection.
        Some(libc::EBADF | libc::ENOTSOCK | libc::EINVAL | libc::EFAULT | libc::ENOTCONN | libc::ENOSYS) => {
            ErrorClass::Permanent
        }
        _ => ErrorClass::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unusable_socket_is_a_permanent_error() {
        let cases: [(ErrorClass, &[i32]); 4] = [
            (ErrorClass::Interrupted, &[libc::EINTR]),
            (ErrorClass::TimedOut, &[libc::EAGAIN, libc::EWOULDBLOCK, libc::ETIMEDOUT]),
            (
                ErrorClass::Transient,
                &[
                    libc::ECONNABORTED,
                    libc::ECONNREFUSED,
                    libc::ECONNRESET,
                    libc::EHOSTDOWN,
                    libc::EHOSTUNREACH,
                    libc::EMFILE,
                    libc::EMSGSIZE,
                    libc::ENETDOWN,
                    libc::ENETUNREACH,
                    libc::ENFILE,
                    libc::ENOBUFS,
                    libc::ENOMEM,
                    libc::EOPNOTSUPP,
                    libc::EPERM,
                    libc::EPROTO,
                ],
            ),
            (
                ErrorClass::Permanent,
                &[libc::EBADF, libc::EFAULT, libc::EINVAL, libc::ENOSYS, libc::ENOTCONN, libc::ENOTSOCK],
            ),
        ];
        for (class, numbers) in cases {
            for &number in numbers {
                let error = io::Error::from_raw_os_error(number);
                assert_eq!(classify(&error), class, "{error}");
            }
        }
    }

    #[test]
    fn error_without_a_number_is_transient() {
        assert_eq!(classify(&io::Error::other("shutting down")), ErrorClass::Transient);
    }
}
