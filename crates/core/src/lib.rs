//! Decides how the exporting clusters of a service share the requests of one source cluster.
//!
//! Data goes one way, and every step is a function of its arguments: no clock, no random numbers, no I/O. Modules stand
//! in reading order, in floors: a module imports from floors above it alone.
//!
//! ```text
//! name, export, apportion      ids, endpoints, and a whole shared in parts
//!    │
//! pricing                      what traffic between two places costs
//! optimize                     the best shares for all source clusters together, from the reports of all
//!    │
//! policy                       what the user asked for
//!    │
//! rule (weighted, optimized)   what each exporter gets by the policy, with its failover priority
//!    │
//! snapshot                     which endpoints are ready, which clusters are reachable, where the rule comes from
//!    │
//! resolve                      which exporters are eligible now, and their weights out of 1000
//!    │
//! pick, answered               a weighted table to draw answers from, and counters of answers
//!    │
//! plan                         Snapshot → Plan: rule, shares and tables per service
//!
//! achieved, drain, reach, savings, sensitivity
//!                              what follows from measurements and from a plan
//! ```
//!
//! The operator makes a [`Rule`](rule::Rule) from the policy and publishes it together with the shares. The DNS replicas
//! read the published rule and resolve it again whenever an endpoint changes, so failover needs no operator.
//!
//! In optimized mode the rule is the local cluster's row of a plan for all clusters. [`optimize`] computes that plan from
//! the reports that all clusters publish.

// Values: ids, endpoints, and a whole shared in parts.
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

// What follows from measurements and from a plan.
pub mod achieved;
pub mod drain;
pub mod reach;
pub mod savings;
pub mod sensitivity;
