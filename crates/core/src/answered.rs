//! Counts how often answers named each cluster. The demand of a source cluster and its achieved split are measured from
//! these counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::name::{ByCluster, ClusterId};

/// Number of clusters of one service above which clusters that no longer export it are forgotten. No fleet has as many,
/// and clusters that come and go under ever new names must not fill the memory.
const MAX_CLUSTERS: usize = 1024;

/// Counter that all plans of a service share, and all threads that answer from them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of one service. They only grow, and the next plan continues them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answered {
    /// Answers with clusterset IPs, which belong to no cluster.
    clusterset: Counter,
    /// Includes clusters that no longer export the service: they may come back.
    clusters: Arc<ByCluster<Counter>>,
}

impl Answered {
    /// Returns the same counters, with a counter for each of `clusters`.
    pub(crate) fn with_counters_for<'c>(&self, clusters: impl Iterator<Item = &'c ClusterId> + Clone) -> Self {
        let mut new = clusters.clone().filter(|cluster| !self.clusters.contains_key(*cluster)).peekable();
        if new.peek().is_none() {
            return self.clone();
        }
        let mut counters = ByCluster::clone(&self.clusters);
        counters.extend(new.map(|cluster| (cluster.clone(), Counter::default())));
        if counters.len() > MAX_CLUSTERS {
            let kept = |cluster: &ClusterId| Some((cluster.clone(), counters.get(cluster)?.clone()));
            counters = clusters.filter_map(kept).collect();
        }
        Self { clusterset: self.clusterset.clone(), clusters: Arc::new(counters) }
    }

    /// Returns the counter of a cluster.
    pub(crate) fn of(&self, cluster: &ClusterId) -> Counter {
        self.clusters.get(cluster).cloned().unwrap_or_default()
    }

    pub(crate) fn clusterset(&self) -> &Counter {
        &self.clusterset
    }

    /// Returns the count of each cluster, and under `None` that of the clusterset IPs.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (Option<&ClusterId>, u64)> {
        let clusters = self.clusters.iter().map(|(cluster, counter)| (Some(cluster), counter.count()));
        std::iter::once((None, self.clusterset.count())).chain(clusters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(cluster: &str) -> ClusterId {
        ClusterId::new(cluster).unwrap()
    }

    fn count(answered: &Answered, cluster: &str) -> Option<u64> {
        answered.counts().find(|(of, _)| *of == Some(&id(cluster))).map(|(_, count)| count)
    }

    #[test]
    fn counters_continue_and_are_not_copied_without_a_new_cluster() {
        let (a, b) = (id("a"), id("b"));
        let first = Answered::default().with_counters_for([&a].into_iter());
        let counter = first.of(&a);
        let second = first.with_counters_for([&b].into_iter());
        counter.add();
        assert_eq!((count(&first, "a"), count(&second, "a"), count(&second, "b")), (Some(1), Some(1), Some(0)));
        assert!(Arc::ptr_eq(&second.clusters, &second.with_counters_for([&a, &b].into_iter()).clusters));
    }

    #[test]
    fn clusters_under_ever_new_names_do_not_fill_the_memory() {
        let stays = id("stays");
        let mut answered = Answered::default().with_counters_for([&stays].into_iter());
        answered.of(&stays).add();
        for i in 0..3 * MAX_CLUSTERS {
            answered = answered.with_counters_for([&stays, &id(&format!("c{i}"))].into_iter());
            assert!(answered.clusters.len() <= MAX_CLUSTERS);
        }
        assert_eq!(count(&answered, "stays"), Some(1));
    }
}
