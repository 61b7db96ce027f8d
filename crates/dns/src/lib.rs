//! Answers DNS from a plan.
//!
//! ```text
//! packet ─Request::parse─▶ question ─▶ answer ─▶ reply     pure, and all of it `Responder::reply`
//!    ▲    (request)        (question)  (answer)  (reply)
//!    └──────────────── udp, tcp: sockets ◀───────────┘     server
//! ```
//!
//! Data goes one way here as well: a question never changes what is planned, and no lock is held while one is answered.
//! Two things move, by one atomic addition each: the sequence that a service's draws come from, and how many answers
//! named the cluster that was drawn.

pub mod answer;
pub mod metrics;
mod mmsg;
pub mod question;
mod reply;
mod request;
pub mod responder;
pub mod server;
mod socket_error;
mod tcp;
mod udp;
pub mod zone;

pub use metrics::Metrics;
pub use responder::{Responder, Transport};
pub use server::{BindError, Config, ServeError, Server, bind};
pub use zone::{InvalidZone, Zone};
