//! Test bed for end-to-end tests: real API servers, the real `landfall` binary, and real clients.
//!
//! A *cluster* is an etcd and an API server on loopback, with the CRDs and the chart's identities. It has no nodes,
//! because no test needs a running pod. A test takes the part of a Lighthouse agent: it writes the ServiceImports and
//! EndpointSlices that an agent would write, and then queries DNS.
//!
//! ```text
//! tools       wait   process   files   http   objects   dns_client   dig
//! a cluster   certificates ─▶ control_plane ─▶ landfall ─▶ cluster ─▶ dump ─▶ member
//! a fleet     broker, network ─▶ fleet      backend, load ─▶ exported      optimum
//! neighbors   api_proxy   lighthouse   prometheus   kubelet ─▶ metrics_server
//! ```
//!
//! A test begins with one of these:
//!
//! ```text
//! two_clusters()      two Members, shared by tests that stop nothing
//! Member::start()     a Member of its own, for tests that stop something
//! Fleet::start()      Members and a broker, and a Network between them whose links have delays
//! ```
//!
//! A [`Member`] is a cluster with an operator and a DNS server. In a [`Fleet`], [`backend`]s with a limited capacity
//! serve what a test has [`Exported`], [`load`] acts as the clients, and [`optimum`] computes the expected split. The
//! [`lighthouse`] agent, [`prometheus`] and [`metrics_server`] are real; the [`kubelet`] is not.
//!
//! `make e2e` builds the missing programs and runs all tests. To run one module with existing programs:
//! `cargo test -p landfall-e2e --test behaviour outage`. The logs of the last run are in `target/e2e/run-*`.
//!
//! No test sleeps and hopes: [`await_condition`] polls until the condition holds, and its error reports what was seen
//! last.

pub mod wait;
pub mod process;
pub mod files;
pub mod http;
pub mod objects;
pub mod dns_client;
pub mod dig;

pub mod certificates;
pub mod control_plane;
pub mod landfall;
pub mod cluster;
pub mod dump;
pub mod member;

pub mod broker;
pub mod network;
pub mod fleet;
pub mod backend;
pub mod load;
pub mod exported;
pub mod optimum;

pub mod api_proxy;
pub mod lighthouse;
pub mod prometheus;
pub mod kubelet;
pub mod metrics_server;

pub use cluster::Cluster;
pub use dns_client::{Question, Reply};
pub use exported::Exported;
pub use fleet::Fleet;
pub use member::{Member, run, two_clusters, with_temp_ns};
pub use wait::{await_condition, now};
