//! The API server of this cluster: connecting, watching, leading and writing.

mod patience;
pub mod discovery;
pub mod cluster_property;
pub mod connect;
pub mod identity;
pub mod watch;
pub mod lease;
pub mod outbox;
pub mod writer;
