//! What clusters report to each other over the broker: as objects, as facts, and how old it is.

pub mod connection;

pub mod objects;

mod rejection;

pub mod inbox;

pub mod host_clock;
