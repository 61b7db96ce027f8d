//! From what DNS replicas have counted in all their life to what was answered since they were asked last.

use std::collections::BTreeMap;

use crate::answers::report::{Counts, Page};

/// After so many seconds of silence it is not known when what a process counts happened. And who has collected for so long
/// knows all processes that are older.
pub const FORGET: u64 = 600;
/// Processes that are known by their id: those of a fleet's largest DNS deployments, restarts included.
const MOST: usize = 1024;

/// What each process of the replicas has counted so far. By process and not by address: one process can have several
/// addresses, and an address several processes one after the other.
#[derive(Debug, Default)]
pub struct Tallies {
    /// When the first page came, in seconds.
    began: Option<u64>,
    processes: BTreeMap<Box<str>, Process>,
}

#[derive(Debug)]
struct Process {
    /// Where it was found.
    replica: Box<str>,
    /// When, in seconds.
    seen: u64,
    /// `None`: too long ago.
    counts: Option<Counts>,
}

impl Tallies {
    /// Takes in what the replica at an address says, at `now` seconds. Returns what it has answered since it was asked last.
    ///
    /// A process that took the place of another one, or that appears after all that are older would be known, has counted
    /// from 0 since. Of any other the first page only says where it stands: when it counted that is not known, and days of
    /// answers must not become those of a round.
    pub fn step(&mut self, replica: &str, page: Page, now: u64) -> Counts {
        let began = *self.began.get_or_insert(now);
        self.forget(now);
        let successor = self.processes.values().any(|process| &*process.replica == replica);
        let before = match self.processes.remove(&page.boot) {
            Some(process) => process.counts,
            None if successor || now.saturating_sub(began) > FORGET => Some(Counts::new()),
            None => None,
        };
        let new = before.map(|before| since(&before, &page.answers)).unwrap_or_default();
        let process = Process { replica: replica.into(), seen: now, counts: Some(page.answers) };
        self.processes.insert(page.boot, process);
        new
    }

    /// Counts of who was silent for too long. That there is such a process remains known, so that it is not taken for a new
    /// one when it comes back.
    fn forget(&mut self, now: u64) {
        for process in self.processes.values_mut().filter(|process| now.saturating_sub(process.seen) > FORGET) {
            process.counts = None;
        }
        while self.processes.len() >= MOST {
            let oldest = self.processes.iter().min_by_key(|(_, process)| process.seen);
            let Some(boot) = oldest.map(|(boot, _)| boot.clone()) else { break };
            self.processes.remove(&boot);
        }
    }
}

/// Adds up what several replicas answered.
pub fn add(sum: &mut Counts, more: Counts) {
    for (service, counts) in more {
        let of_service = sum.entry(service).or_default();
        for (cluster, count) in counts {
            let total = of_service.entry(cluster).or_default();
            *total = total.saturating_add(count);
        }
    }
}

/// A count that went back began anew: the service was gone in between.
fn since(before: &Counts, now: &Counts) -> Counts {
    let of_service = |(service, counts): (&_, &BTreeMap<_, u64>)| {
        let before = before.get(service);
        let new = counts.iter().map(|(cluster, &count)| {
            let counted = before.and_then(|before| before.get(cluster)).copied().unwrap_or(0);
            (Clone::clone(cluster), count.checked_sub(counted).unwrap_or(count))
        });
        (Clone::clone(service), new.filter(|(_, new)| *new > 0).collect::<BTreeMap<_, _>>())
    };
    now.iter().map(of_service).filter(|(_, new)| !new.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use landfall_core::name::{ClusterId, ServiceKey};

    use super::*;

    fn counts(counts: &[(&str, &str, u64)]) -> Counts {
        let mut all = Counts::new();
        for &(service, cluster, count) in counts {
            let cluster = (!cluster.is_empty()).then(|| ClusterId::new(cluster).unwrap());
            let service = ServiceKey::new("shop", service).unwrap();
            all.entry(service).or_default().insert(cluster, count);
        }
        all
    }

    fn page(boot: &str, answers: &[(&str, &str, u64)]) -> Page {
        Page { boot: boot.into(), probe: Vec::new(), answers: counts(answers) }
    }

    /// One service and cluster.
    fn web(boot: &str, count: u64) -> Page {
        page(boot, &[("web", "east", count)])
    }

    fn new(counts: &Counts) -> u64 {
        counts.values().flat_map(BTreeMap::values).sum()
    }

    #[test]
    fn what_is_new_is_what_was_counted_since_the_last_page() {
        let mut tallies = Tallies::default();
        let first = [("web", "east", 10), ("web", "", 1), ("db", "west", 5)];
        assert_eq!(tallies.step("r1", page("a", &first), 0), Counts::new());
        let second = [("web", "east", 12), ("web", "west", 3), ("web", "", 1), ("db", "west", 9)];
        let expected = counts(&[("web", "east", 2), ("web", "west", 3), ("db", "west", 4)]);
        assert_eq!(tallies.step("r1", page("a", &second), 15), expected);
        assert_eq!(tallies.step("r1", page("a", &second), 30), Counts::new());
    }

    #[test]
    fn a_replica_that_ran_before_us_counts_from_its_first_page_and_a_new_one_from_0() {
        let mut tallies = Tallies::default();
        assert_eq!(new(&tallies.step("r1", web("a", 1_000_000), 0)), 0);
        assert_eq!(new(&tallies.step("r2", web("b", 1_000_000), 30)), 0, "it may just have been silent");
        assert_eq!(new(&tallies.step("r2", web("b", 1_000_007), 45)), 7);
        assert_eq!(new(&tallies.step("r3", web("c", 20), 601)), 20);
    }

    #[test]
    fn a_replica_that_restarted_counts_from_0() {
        let mut tallies = Tallies::default();
        tallies.step("r1", web("a", 100), 0);
        assert_eq!(new(&tallies.step("r1", web("b", 130), 15)), 130);
        assert_eq!(new(&tallies.step("r1", web("b", 131), 30)), 1);
    }

    #[test]
    fn a_count_that_went_back_counts_from_0() {
        let mut tallies = Tallies::default();
        tallies.step("r1", page("a", &[("web", "east", 100), ("web", "west", 100)]), 0);
        let after = tallies.step("r1", page("a", &[("web", "east", 4), ("web", "west", 101)]), 15);
        assert_eq!(after, counts(&[("web", "east", 4), ("web", "west", 1)]));
        tallies.step("r1", page("a", &[]), 30);
        assert_eq!(new(&tallies.step("r1", web("a", 2), 45)), 2, "the service was gone and is back");
    }

    #[test]
    fn a_process_with_two_addresses_counts_once() {
        let mut tallies = Tallies::default();
        assert_eq!(new(&tallies.step("10.0.0.1:8081", web("a", 100), 0)), 0);
        assert_eq!(new(&tallies.step("[fd00::1]:8081", web("a", 101), 0)), 1);
        assert_eq!(new(&tallies.step("10.0.0.1:8081", web("a", 103), 15)), 2);
        assert_eq!(new(&tallies.step("[fd00::1]:8081", web("a", 103), 15)), 0);
    }

    #[test]
    fn who_was_silent_for_ten_minutes_starts_from_where_it_stands() {
        let mut tallies = Tallies::default();
        tallies.step("r1", web("a", 100), 0);
        assert_eq!(new(&tallies.step("r1", web("a", 110), 600)), 10);
        assert_eq!(new(&tallies.step("r1", web("a", 1_000_000), 1201)), 0);
        assert_eq!(new(&tallies.step("r1", web("a", 1_000_003), 1216)), 3);
    }

    #[test]
    fn a_clock_that_goes_back_and_ever_new_processes_do_no_harm() {
        let mut tallies = Tallies::default();
        tallies.step("r0", web("a", 1), 5000);
        assert_eq!(new(&tallies.step("r0", web("a", 3), 10)), 2);
        for i in 0..3 * MOST {
            tallies.step(&format!("r{i}"), web(&format!("b{i}"), 1), 5000 + i as u64);
            assert!(tallies.processes.len() <= MOST);
        }
    }

    #[test]
    fn replicas_add_up() {
        let mut sum = counts(&[("web", "east", u64::MAX - 1), ("web", "", 1)]);
        add(&mut sum, counts(&[("web", "east", 7), ("db", "west", 2), ("web", "", 1)]));
        assert_eq!(sum, counts(&[("web", "east", u64::MAX), ("web", "", 2), ("db", "west", 2)]));
    }
}
