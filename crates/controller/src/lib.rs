//! Decides for one cluster, and does nothing else: no clock, no file, no socket, no client, no log.
//!
//! ```text
//! Change, now ─▶ pipeline ─▶ Plan, Write, own ClusterFacts, ProbeTargets, FleetMetrics, Explanation
//! ```

pub mod object;
pub mod manifest;
pub mod facts;
pub mod accept;
pub mod measured;
pub mod answers;
pub mod change;
pub mod broker;
pub mod stores;
pub mod rounds;
pub mod observe;
pub mod pipeline;
pub mod publish;
pub mod targets;
pub mod findings;
pub mod drain;
pub mod summary;
pub mod fleet_metrics;
pub mod explain;
pub mod whatif;
