//! Answers DNS from a plan.
//!
//! ```text
//! packet ─Request::parse─▶ question ─▶ answer ─▶ reply     pure, and all of it `Responder::reply`
//!    ▲    (request)        (question)  (answer)  (reply)
//!    └──────────────── udp, tcp: sockets ◀───────────┘     server
//! ```
//!
//! Data goes one way here as well: a question never changes the plan, and no lock is held while one is answered. The
//! only thing that moves is the sequence that a service's draws come from, by one atomic addition.

pub mod answer;
pub mod metrics;
mod mmsg;
pub mod question;
mod reply;
mod request;
pub mod responder;
pub mod server;
mod tcp;
mod udp;
pub mod zone;

pub use metrics::Metrics;
pub use responder::{Responder, Transport};
pub use server::{BindError, Config, ServeError, Server, bind};
pub use zone::{InvalidZone, Zone};
