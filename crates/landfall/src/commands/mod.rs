pub mod drain;
pub mod explain;
pub mod plan;
pub mod serve;
pub mod simulate;
pub mod up;
pub mod whatif;
