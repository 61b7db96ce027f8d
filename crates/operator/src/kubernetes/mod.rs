//! Talks to the API server of this cluster.

pub mod cluster_property;
pub mod connect;
pub mod discovery;
pub mod lease;
pub mod outbox;
pub mod watch;
pub mod writer;
