//! `landfall crds`: prints the custom resource definitions.

use anyhow::Result;

use crate::output::{self, print};

pub fn run() -> Result<u8> {
    for crd in landfall_api::crds() {
        print(&format!("---\n{}", serde_saphyr::to_string(&crd)?))?;
    }
    Ok(output::OK)
}
