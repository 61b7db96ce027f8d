//! Facts that clusters exchange over the broker: their objects, their checks, and their age.

pub mod connection;
pub mod objects;
mod rejection;
pub mod inbox;
pub mod host_clock;
