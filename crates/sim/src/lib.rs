//! Runs the optimizer and its rivals in a made-up world with a made-up clock, and judges them.
//!
//! ```text
//! Scenario ── world ──▶ World ── run(policy) ──▶ one RoundOutcome per round ── summary ──▶ Summary
//!  (a file)    seeded     │                              │ judge: exact M/M/c, not the optimizer's model
//!                         └── optimum ──▶ the least cost of each round, by a linear programme
//! ```
//!
//! What a policy may know is in [`policy::Moment`]: the past, and nothing of the round that it decides about.

pub mod baselines;
pub mod contender;
pub mod generate;
pub mod judge;
pub mod matrix;
pub mod agents;
pub mod foresight;
pub mod policy;
pub mod report;
pub mod run;
pub mod scenario;
pub mod summary;
pub mod trace;
pub mod world;
