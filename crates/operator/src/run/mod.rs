//! The processes. Each creates its components and runs them as one set of tasks; the first task to end ends all.

pub mod error;
pub mod options;
mod tasks;
mod pipeline_task;
mod publisher;
pub mod up;
mod dns;
mod operator;

pub use self::dns::dns;
pub use self::operator::operator;
