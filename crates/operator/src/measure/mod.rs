//! What this cluster learns of itself and of its surroundings.
//!
//! ```text
//! DNS replicas of all clusters ◀─ probe ── links ──▶ Change::Links          (every process)
//! own DNS replicas ◀─ answers ─┐
//! Prometheus, metrics.k8s.io ◀─┴─ collect ─────────▶ Change::Measured       (the leader)
//! ```
//!
//! What does I/O here decides nothing; `load` and `answers` are pure in all that decides.

pub mod echo;
pub mod links;
pub mod loads;
pub mod pod_metrics;
pub mod probe;
pub mod prometheus;
pub mod replicas;
