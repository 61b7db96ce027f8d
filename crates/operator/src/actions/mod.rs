//! What a command does with a cluster once: reads it, or drains it.

pub mod options;
pub mod inspect;
pub mod drain;
