//! What clusters report to each other over the broker: as objects, as facts, and how old it is.

pub mod state;

pub mod connection;

pub mod objects;

pub mod inbox;
