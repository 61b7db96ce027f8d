//! The processes and all input and output. What decides is in `landfall-controller`.
//!
//! ```text
//! API server ─ kubernetes ─┐                                    ┌─▶ kubernetes::outbox ─ writer ─▶ API server
//! folder ───── files ──────┤                                    ├─▶ broker ─────────────────────▶ broker
//! broker ───── broker ─────┼─ Change ─▶ control_loop ─ observer ┼─▶ measure (what to measure)
//! the world ── measure ────┘            (one Pipeline)          └─▶ admin (what a scrape shows)
//!                                            └──────── plans ─────▶ DNS server
//!
//! run: one process each   actions: commands that look or act once
//! clock, error_chain, log_once, retry, metrics: what all of them use
//! ```

pub mod clock;
pub mod error_chain;
pub mod log_once;
pub mod retry;
pub mod metrics;

pub mod control_loop;

pub mod kubernetes;
pub mod files;
pub mod broker;
pub mod measure;
pub mod admin;

pub mod actions;
pub mod run;
