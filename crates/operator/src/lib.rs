//! Watches, observes, publishes: the only place where Kubernetes and servers meet.
//!
//! ```text
//! watch, files ─Change─▶ stores ─observe─▶ Snapshot ─plan─▶ Plan ─watch channel─▶ dns
//!  object, accept          (one owner)        (core)          └─publish─▶ outbox ─apply─▶ API server
//! ```

pub mod accept;
pub mod admin;
pub mod answers;
pub mod broker;
pub mod change;
pub mod clock;
pub mod control_loop;
pub mod error_chain;
pub mod explain;
pub mod facts;
pub mod files;
pub mod fleet_metrics;
pub mod kubernetes;
pub mod log_once;
pub mod manifest;
pub mod measure;
pub mod measured;
pub mod metrics;
pub mod object;
pub mod observe;
pub mod pipeline;
pub mod publish;
pub mod retry;
pub mod rounds;
pub mod run;
pub mod stores;
pub mod targets;
pub mod whatif;
