//! Watches, observes, publishes: the only place where Kubernetes and servers meet.
//!
//! ```text
//! watch, files ─Change─▶ stores ─observe─▶ Snapshot ─plan─▶ Plan ─watch channel─▶ dns
//!  object, accept          (one owner)        (core)          └─publish─▶ outbox ─apply─▶ API server
//! ```

pub mod accept;
pub mod admin;
pub mod apply;
pub mod broker;
pub mod clock;
pub mod discovery;
pub mod error_chain;
pub mod explain;
pub mod facts;
pub mod figures;
pub mod files;
pub mod hearing;
pub mod lease;
pub mod manifest;
pub mod measure;
pub mod metering;
pub mod metrics;
pub mod news;
pub mod object;
pub mod observe;
pub mod outbox;
pub mod pipeline;
pub mod precedence;
pub mod properties;
pub mod publish;
pub mod reconcile;
pub mod round_trips;
pub mod rounds;
pub mod run;
pub mod start;
pub mod status;
pub mod stores;
pub mod unknown_fields;
pub mod watch;
pub mod whatif;
