//! Fleets of real pipelines around a simulated broker, in simulated time: from the measurements in each cluster to the
//! shares that all clusters serve.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod agreement;
mod cluster;
mod demand;
mod faults;
mod manifests;
mod scenarios;
mod trust;
mod world;
