//! Runs the optimizer and simpler policies in a simulated world with a simulated clock, and judges them.
//!
//! ```text
//! scenario, generate    a file, or random numbers, as a Scenario
//!    │
//! world, trace          Scenario → World: demand, capacity and round trips of every round, from a seed or a recording
//!    │
//! judge, foresight      exact M/M/c queues, and the lowest possible cost of every round
//!    │
//! policy, run           World, SharingPolicy → one RoundOutcome per round
//!    │
//! agents, baselines     policies: the optimizer's agents, and the rules that they are compared with
//! contender             all of them by name
//!    │
//! summary, report       RoundOutcomes → a row of a table, pictures, a page
//! ```
//!
//! A policy sees only the past: [`policy::Moment`] has nothing of the round that it decides about. The judge is an exact
//! queueing model and not the optimizer's own approximation. `matrix` holds one value per source and exporter;
//! `constraints` those of a linear program.

pub mod matrix;

// A world.
pub mod scenario;
pub mod generate;
pub mod world;
pub mod trace;

// What its requests cost, and what they could cost at best.
pub mod judge;
mod constraints;
pub mod foresight;

// Policies, and their runs.
pub mod policy;
pub mod run;
pub mod agents;
pub mod baselines;
pub mod contender;

// Results.
pub mod summary;
pub mod report;
