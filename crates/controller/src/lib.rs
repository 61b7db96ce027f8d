//! Decides for one cluster, and does nothing else: no clock, no file, no socket, no client, no log.
//!
//! Changes and the time go in. Plans, own facts, desired writes, targets of measurements and reasons come out. What does
//! input and output is in `landfall-operator`.
//!
//! ```text
//! text, manifest ─▶ object ─┐                        ┌─ measured ◀─ answers
//!                           ▼                        ▼
//!          broker ──────▶ change ─▶ pipeline ─┬─▶ stores (by accept, facts) ─▶ observe ─▶ core::Plan
//!                                             └─▶ rounds ─▶ own facts ─▶ broker
//!
//! from a pipeline:  publish (desired writes)   targets, probed_links (measurements)   fleet_metrics (what a scrape shows)
//!                   findings, drain, summary, explain, whatif (what a user asks)
//! ```
//!
//! Modules stand in reading order: each uses only modules before it.

pub mod text;
pub mod object;
pub mod manifest;
pub mod facts;
pub mod accept;
pub mod measured;
pub mod answers;
pub mod change;
pub mod broker;
pub mod stores;
pub mod rounds;
pub mod observe;
pub mod pipeline;
pub mod publish;
pub mod targets;
pub mod probed_links;
pub mod findings;
pub mod drain;
pub mod summary;
pub mod fleet_metrics;
pub mod explain;
pub mod whatif;
