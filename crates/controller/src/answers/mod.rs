//! Answers counted by DNS replicas.

pub mod report;
pub mod counters;
