//! Watches, observes, publishes: the only place where Kubernetes and servers meet.
//!
//! ```text
//! watch, files ─Change─▶ stores ─observe─▶ Snapshot ─plan─▶ Plan ─watch channel─▶ dns
//!  object, accept          (one owner)        (core)          └─publish─▶ outbox ─apply─▶ API server
//! ```

pub mod object;
pub mod manifest;
pub mod files;
pub mod discovery;
pub mod watch;
pub mod accept;
pub mod stores;
pub mod precedence;
pub mod observe;
pub mod pipeline;
pub mod publish;
pub mod status;
pub mod outbox;
pub mod apply;
pub mod lease;
pub mod reconcile;
pub mod metrics;
pub mod admin;
pub mod start;
pub mod run;

