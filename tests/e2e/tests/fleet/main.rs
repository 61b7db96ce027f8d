//! What is promised of several clusters around a broker, and takes minutes to see: rounds, faults, and recovery.
//!
//! `make e2e-fleet`, on a machine that does little else: what is measured here is time.

mod agreement;
mod broker_faults;
mod cluster_faults;
mod pod_metrics;
mod prometheus_load;
mod scene;
mod single_cluster;
