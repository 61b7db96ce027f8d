//! Tests of the pipeline without a cluster: objects in, plan out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod support;
mod whatif;

mod changes;
mod explain;
mod lighthouse;
mod optimized;
mod peers;
mod places;
mod pods;
mod policies;
