//! What clients see.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod counted;
mod regressions;
mod server;
mod support;
mod table;
mod weights;
mod wire;
