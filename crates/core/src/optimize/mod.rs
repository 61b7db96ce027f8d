//! The optimised policy: who should get how much, when everybody's demand, capacity and distances are known.
//!
//! Every cluster publishes facts that do not depend on what anybody decides. Every agent solves the same problem from them
//! and applies its own row. Nobody reacts to anybody, so nothing can oscillate, and the first round is at the optimum.
//!
//! ```text
//! probes, prices ── cost ──▶ Facts ── problem ──▶ joint ──▶ Solution ── weights ──▶ thousandths
//! measured loads ── filter ─▶   │   the door       │ congestion, cholesky, exponential
//!                               └─ fill: without demands, each for itself ─────────▶
//! ```
//!
//! **The same facts, the same bits.** Facts are maps by cluster id, and every sum runs in that order or in a fixed one made
//! of it. Only operations that IEEE 754 fixes are used (`exponential`). The one thing that can still differ is where the
//! solver started: an agent that was restarted starts cold, the others at their last prices. Both end within rounding of
//! the one optimum, and [`weights`] rounds in two steps so that this shows in no weight.

// Numerics with the same bits on every machine.
pub mod cholesky;
mod exponential;

// The problem in the words of the clusters.
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

// What a cluster does with it, and without it.
pub mod fill;
pub mod standby;

pub mod agent;

pub use problem::Unsolved;
pub use solution::{Planned, Row, Solution, Terms, optimize, weights};
