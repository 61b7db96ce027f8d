//! The end-to-end bed: real API servers, the real `landfall` binary, and real clients as judges.
//!
//! A *cluster* is an etcd and an API server on loopback with the CRDs and the chart's identities installed; there
//! are no nodes, because nothing here needs a running pod. A test plays the part of a Lighthouse agent: it writes
//! the ServiceImports and EndpointSlices that an agent would leave, and asks DNS what came of them.
//!
//! ```text
//! run(scenario) ── two_clusters() ── Member { cluster, operator, dns }     shared by tests that break nothing
//!               ├─ Member::start() ─ the same, alone                       for tests that stop things
//!               └─ Fleet::start() ── Members, a broker, and a Network between them whose links take time
//! ```
//!
//! In a fleet, what a test [`Exported`] is served by [`backend`]s of a bounded capacity, and
//! [`load`] plays the clients; [`optimum`] says what they should come to. A [`lighthouse`] agent is a real one, and so are
//! [`prometheus`] and [`metrics_server`]; the [`kubelet`] that the latter asks is not.
//!
//! `make e2e` builds what is missing and runs everything. A single behaviour, with programs that are built already:
//! `cargo test -p landfall-e2e --test behaviour outage`. After a run, `target/e2e/run-*` has the logs.
//!
//! Nothing here sleeps for luck: [`await_condition`] polls until what should be seen is seen, and its error says
//! what was seen last.

pub mod dns_client;
pub mod backend;
pub mod broker;
pub mod certificates;
pub mod cluster;
pub mod control_plane;
pub mod dig;
pub mod dump;
pub mod exported;
pub mod files;
pub mod fleet;
pub mod api_proxy;
pub mod http;
pub mod kubelet;
pub mod landfall;
pub mod lighthouse;
pub mod load;
pub mod member;
pub mod metrics_server;
pub mod objects;
pub mod optimum;
pub mod process;
pub mod prometheus;
pub mod network;
pub mod wait;

pub use cluster::Cluster;
pub use dns_client::{Question, Reply};
pub use exported::Exported;
pub use fleet::Fleet;
pub use member::{Member, run, two_clusters, with_temp_ns};
pub use wait::{await_condition, now};
