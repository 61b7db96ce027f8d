//! Reads clusters from folders of manifests.

pub mod folder;
pub mod fleet;
