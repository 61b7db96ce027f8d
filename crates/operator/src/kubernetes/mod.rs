//! Talks to the API server of this cluster.

pub mod cluster_property;
mod patience;

pub mod connect;
pub mod discovery;
pub mod identity;
pub mod lease;
pub mod outbox;
pub mod watch;
pub mod writer;
