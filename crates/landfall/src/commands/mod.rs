//! One file per command.

pub mod up;

pub mod serve;

pub mod plan;

pub mod crds;

pub mod explain;

pub mod simulate;

pub mod whatif;

pub mod drain;
