//! Actions of commands that run once: read a cluster, or drain it.

pub mod options;
pub mod inspect;
pub mod drain;
