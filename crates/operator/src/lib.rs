//! The processes and all input and output.

pub mod admin;
pub mod broker;
pub mod clock;
pub mod control_loop;
pub mod error_chain;
pub mod files;
pub mod kubernetes;
pub mod log_once;
pub mod measure;
pub mod metrics;
pub mod retry;
pub mod run;
