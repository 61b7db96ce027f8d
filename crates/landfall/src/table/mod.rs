mod plan;

pub use self::plan::*;
