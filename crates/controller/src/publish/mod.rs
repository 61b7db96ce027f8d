//! Builds the objects, statuses and conditions that should be in the API server.

pub mod write;
pub mod conditions;
pub mod selection;
pub mod desired;
