//! Builds the objects, statuses and conditions that should be in the API server.

pub mod conditions;
pub mod desired;
pub mod selection;
pub mod write;
