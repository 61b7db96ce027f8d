//! Promises about several clusters around a broker that take minutes to test: rounds, faults, and recovery.
//!
//! Run `make e2e-fleet` on a machine that is otherwise idle, because the tests measure time.

mod agreement;
mod broker_faults;
mod cluster_faults;
mod pod_metrics;
mod prometheus_load;
mod scene;
mod single_cluster;
