//! One copy of each cluster id, for all objects that name the cluster.

use std::collections::HashSet;

use landfall_core::name::ClusterId;

/// Far more ids than a fleet has clusters. Beyond this the interner begins anew.
const MAX_IDS: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Interner(HashSet<ClusterId>);

impl Interner {
    /// Returns the copy of the id that is kept.
    pub(super) fn intern(&mut self, cluster: &ClusterId) -> ClusterId {
        if let Some(kept) = self.0.get(cluster) {
            return kept.clone();
        }
        if self.0.len() >= MAX_IDS {
            self.0.clear();
        }
        self.0.insert(cluster.clone());
        cluster.clone()
    }
}
