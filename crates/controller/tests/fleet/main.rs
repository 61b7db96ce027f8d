//! Fleets of real pipelines around a broker that is none, in a time that is a number: from what is measured in each cluster
//! to what all of them serve.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod agreement;
mod cluster;
mod demand;
mod faults;
mod manifests;
mod scenarios;
mod trust;
mod world;
