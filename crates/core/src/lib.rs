//! What is the fleet, and who should get how much.
//!
//! Data goes one way, and every step here is a function of its arguments: no clock, no random numbers, no I/O.
//!
//! ```text
//! Snapshot ── what each cluster exports, what is ready, who is reachable, which policy applies
//!    │  rule      what the policy gives each exporter, whoever is healthy          (rule)
//!    │  resolve   who is eligible right now, and the 1000 parts shared among them  (resolve)
//!    ▼
//! Plan ────── per service: the shares, and a table to draw answers from            (plan, pick)
//! ```
//!
//! The operator makes a [`Rule`](rule::Rule) from the policy and publishes it together with the shares. The DNS replicas
//! take the published rule and resolve it again whenever an endpoint changes, so that health needs no operator.
//!
//! In the optimised mode the rule is the local cluster's row of a plan for all clusters, which [`optimize`] computes from
//! what all of them published.

// Values: names, endpoints, and a whole number shared in parts.
pub mod apportion;
pub mod export;
pub mod name;

// Prices between places, and the optimizer.
pub mod optimize;
pub mod pricing;

// From a policy to a plan.
pub mod policy;

pub mod rule;

pub mod snapshot;

pub mod resolve;

mod answered;
pub mod pick;

pub mod plan;

// What follows from measurements and plans.
pub mod achieved;
pub mod drain;
pub mod reach;
pub mod savings;
pub mod sensitivity;
