//! What a cluster finds out about its surroundings.
//!
//! ```text
//! DNS replica: counters ─page─▶ GET /answers ─collect─▶ Page ─answers─▶ what is new      (operator, leader)
//!              echo ◀──────────────────────────── probe ─▶ core::reach                   (every process)
//! ```

pub mod answers;
pub mod collect;
pub mod echo;
pub mod page;
pub mod probe;
