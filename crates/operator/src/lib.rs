//! The processes, and all input and output. The decisions are in `landfall-controller`.
//!
//! ```text
//! API server ─ kubernetes ─┐                                    ┌─▶ kubernetes::outbox ─ writer ─▶ API server
//! folder ───── files ──────┤                                    ├─▶ broker ─────────────────────▶ broker
//! broker ───── broker ─────┼─ Change ─▶ control_loop ─ observer ┼─▶ measure (what to measure)
//! network ──── measure ────┘            (one Pipeline)          └─▶ admin (metrics of the fleet)
//!                                            └──────── plans ─────▶ DNS server
//!
//! run: one function per process   actions: commands that read or change a cluster once
//! clock, error_chain, log_once, retry, stopping, metrics: used by all of them
//! ```

pub mod clock;
pub mod error_chain;
pub mod log_once;
pub mod retry;
pub mod stopping;
pub mod metrics;

pub mod control_loop;

pub mod kubernetes;
pub mod files;
pub mod broker;
pub mod measure;
pub mod admin;

pub mod actions;
pub mod run;
