//! What a command does with a cluster once: reads it, or drains it.

pub mod drain;
pub mod inspect;
pub mod options;
