//! What should be in the API server.

pub mod conditions;
pub mod desired;
pub mod selection;
pub mod write;
