//! Computes the best shares for all source clusters together, from the demand, capacity and path costs of all.
//!
//! Every cluster publishes facts that do not depend on any decision. Every agent solves the same problem from them and
//! applies its own row. No agent reacts to another, so nothing can oscillate, and the first round is at the optimum.
//!
//! ```text
//! probes, prices ── cost ──▶ Facts ── problem ──▶ joint ──▶ Solution ── weights ──▶ thousandths
//! measured loads ── filter ─▶   │   sanitizer      │ congestion, cholesky, exponential
//!                               └─ fill: without demands, each source for itself ──▶
//! ```
//!
//! **The same facts give the same bits.** Facts are maps by cluster id, and every sum runs in that order or in a fixed
//! one derived from it. Only operations that IEEE 754 fixes are used (`exponential`). Only the start of the solver can
//! still differ: a restarted agent starts cold, the others at their last prices. Both end within rounding of the one
//! optimum, and [`weights`] rounds in two steps so that no weight shows the difference.

// Numerics with the same bits on every machine.
pub mod cholesky;
mod exponential;

// The problem, as clusters report it.
pub mod congestion;
pub mod cost;

pub mod facts;

pub mod objective;

pub mod report;

// From measurements to reports.
pub mod demand;
pub mod filter;
pub mod growth_limit;
pub mod rtt;
pub mod schedule;

// From the problem to a solution.
mod problem;

mod joint;

mod solution;

// Failover, the fallback without demands, and the steps of one cluster.
pub mod fill;
pub mod standby;

pub mod agent;

pub mod capacity;

pub use problem::SolveError;
pub use solution::{ExplainedShare, PlannedExporter, Solution, SolutionRow, solve_jointly, weights};
