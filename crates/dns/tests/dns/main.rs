//! Replies as clients see them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test should say where")]

mod counted;
mod regressions;
mod server;
mod support;
mod table;
mod weights;
mod wire;
