//! How often answers named each cluster: what a source cluster's demand and its achieved split are measured from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::name::{ByCluster, ClusterId};

/// Beyond this many clusters of one service, those that export it no more are forgotten. No fleet has as many, and
/// clusters that come and go under ever new names must not fill the memory.
const MOST: usize = 1024;

/// Shared by all plans of a service, and by all threads that answer from them.
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

/// The counters of one service. They only grow, and go on with a plan's successor.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answered {
    /// Answers with clusterset IPs, which are of no cluster.
    clusterset: Counter,
    /// Also clusters that export the service no more: they may come back.
    clusters: Arc<ByCluster<Counter>>,
}

impl Answered {
    /// The same counters, and one for each of `clusters`.
    pub(crate) fn covering<'c>(&self, clusters: impl Iterator<Item = &'c ClusterId> + Clone) -> Self {
        let mut new = clusters.clone().filter(|cluster| !self.clusters.contains_key(*cluster)).peekable();
        if new.peek().is_none() {
            return self.clone();
        }
        let mut counters = ByCluster::clone(&self.clusters);
        counters.extend(new.map(|cluster| (cluster.clone(), Counter::default())));
        if counters.len() > MOST {
            let kept = |cluster: &ClusterId| Some((cluster.clone(), counters.get(cluster)?.clone()));
            counters = clusters.filter_map(kept).collect();
        }
        Self { clusterset: self.clusterset.clone(), clusters: Arc::new(counters) }
    }

    pub(crate) fn of(&self, cluster: &ClusterId) -> Counter {
        self.clusters.get(cluster).cloned().unwrap_or_default()
    }

    pub(crate) fn clusterset(&self) -> &Counter {
        &self.clusterset
    }

    /// `None`: the clusterset IPs.
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
    fn counters_go_on_and_nothing_is_copied_when_nobody_is_new() {
        let (a, b) = (id("a"), id("b"));
        let first = Answered::default().covering([&a].into_iter());
        let counter = first.of(&a);
        let second = first.covering([&b].into_iter());
        counter.add();
        assert_eq!((count(&first, "a"), count(&second, "a"), count(&second, "b")), (Some(1), Some(1), Some(0)));
        assert!(Arc::ptr_eq(&second.clusters, &second.covering([&a, &b].into_iter()).clusters));
    }

    #[test]
    fn clusters_under_ever_new_names_do_not_fill_the_memory() {
        let stays = id("stays");
        let mut answered = Answered::default().covering([&stays].into_iter());
        answered.of(&stays).add();
        for i in 0..3 * MOST {
            answered = answered.covering([&stays, &id(&format!("c{i}"))].into_iter());
            assert!(answered.clusters.len() <= MOST);
        }
        assert_eq!(count(&answered, "stays"), Some(1));
    }
}
