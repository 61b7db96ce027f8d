//! What a cluster reports of itself.

pub mod significance;
