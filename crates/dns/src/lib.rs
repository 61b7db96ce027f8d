//! Answers DNS from a plan.
//!
//! ```text
//! packet ─▶ request ─▶ question ─▶ answer ─▶ reply ─▶ packet    pure; together: responder
//!   ▲                  (zone)                           │
//!   └───────────── udp (mmsg), tcp ◀────────────────────┘       sockets; started by server
//!                  socket_error: which errors are retried
//!                  metrics: what is counted
//! ```
//!
//! Data goes one way: a query never changes the plan, and no lock is held while it is answered. Two values change, by
//! one atomic addition each: the position in the sequence that a service's draws come from, and the number of answers
//! per cluster.

pub mod zone;
mod request;
pub mod question;
pub mod answer;
mod reply;
pub mod responder;
pub mod metrics;
mod socket_error;
mod mmsg;
mod udp;
mod tcp;
pub mod server;

pub use metrics::Metrics;
pub use responder::{Responder, Transport};
pub use server::{BindError, Config, ServeError, Server, bind};
pub use zone::{InvalidZone, Zone};
