//! Answers counted by DNS replicas.

pub mod counters;
pub mod report;
