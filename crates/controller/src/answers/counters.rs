//! Turns the total counts of DNS replicas into the answers since the previous report.

use std::collections::BTreeMap;

use crate::answers::report::{AnswersReport, Counts};

/// After this time without a report, the time of a process's new answers is unknown. A collector that has run for this
/// time knows all older processes.
pub const SILENCE_TIMEOUT_SECONDS: u64 = 600;
/// Limit of remembered processes: enough for the largest DNS deployments, with restarts.
const MAX_PROCESSES: usize = 1024;

/// Last counts of each DNS process, by process id. Addresses are no key: a process can have several addresses, and an
/// address can have several processes in turn.
#[derive(Debug, Default)]
pub struct AnswerCounters {
    /// Time of the first report, in seconds.
    started: Option<u64>,
    processes: BTreeMap<Box<str>, Process>,
}

#[derive(Debug)]
struct Process {
    /// Address of the last report.
    replica: Box<str>,
    /// Time of the last report, in seconds.
    seen: u64,
    /// `None` if the last report is too old.
    counts: Option<Counts>,
}

impl AnswerCounters {
    /// Handles a report of the replica at an address, at `now` seconds. Returns its answers since the previous report.
    ///
    /// A process counts from 0 if it replaced another one at the same address, or if it appears after the collector
    /// knows all older processes. The first report of any other process is only a starting point: the time of its
    /// answers is unknown, and the answers of days must not count as those of one round.
    pub fn step(&mut self, replica: &str, report: AnswersReport, now: u64) -> Counts {
        let started = *self.started.get_or_insert(now);
        self.forget(now);
        let successor = self.processes.values().any(|process| &*process.replica == replica);
        let before = match self.processes.remove(&report.process_id) {
            Some(process) => process.counts,
            None if successor || now.saturating_sub(started) > SILENCE_TIMEOUT_SECONDS => Some(Counts::new()),
            None => None,
        };
        let new = before.map(|before| since(&before, &report.answers)).unwrap_or_default();
        let process = Process { replica: replica.into(), seen: now, counts: Some(report.answers) };
        self.processes.insert(report.process_id, process);
        new
    }

    /// Drops the counts of processes whose last report is too old. The process itself stays known, so that it is not
    /// taken for a new one later.
    fn forget(&mut self, now: u64) {
        for process in
            self.processes.values_mut().filter(|process| now.saturating_sub(process.seen) > SILENCE_TIMEOUT_SECONDS)
        {
            process.counts = None;
        }
        while self.processes.len() >= MAX_PROCESSES {
            let oldest = self.processes.iter().min_by_key(|(_, process)| process.seen);
            let Some(process_id) = oldest.map(|(process_id, _)| process_id.clone()) else { break };
            self.processes.remove(&process_id);
        }
    }
}

/// Adds the answers of one replica to a sum.
pub fn add(sum: &mut Counts, more: Counts) {
    for (service, counts) in more {
        let of_service = sum.entry(service).or_default();
        for (cluster, count) in counts {
            let total = of_service.entry(cluster).or_default();
            *total = total.saturating_add(count);
        }
    }
}

/// Returns the answers between two reports. A lower count restarted from 0, because the service was gone in between.
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

    fn report(process_id: &str, answers: &[(&str, &str, u64)]) -> AnswersReport {
        AnswersReport { process_id: process_id.into(), probe: Vec::new(), answers: counts(answers) }
    }

    /// Report with one service and one cluster.
    fn web(process_id: &str, count: u64) -> AnswersReport {
        report(process_id, &[("web", "east", count)])
    }

    fn new(counts: &Counts) -> u64 {
        counts.values().flat_map(BTreeMap::values).sum()
    }

    #[test]
    fn new_answers_are_those_since_the_previous_report() {
        let mut counters = AnswerCounters::default();
        let first = [("web", "east", 10), ("web", "", 1), ("db", "west", 5)];
        assert_eq!(counters.step("r1", report("a", &first), 0), Counts::new());
        let second = [("web", "east", 12), ("web", "west", 3), ("web", "", 1), ("db", "west", 9)];
        let expected = counts(&[("web", "east", 2), ("web", "west", 3), ("db", "west", 4)]);
        assert_eq!(counters.step("r1", report("a", &second), 15), expected);
        assert_eq!(counters.step("r1", report("a", &second), 30), Counts::new());
    }

    #[test]
    fn older_replica_counts_from_its_first_report_and_a_new_one_from_0() {
        let mut counters = AnswerCounters::default();
        assert_eq!(new(&counters.step("r1", web("a", 1_000_000), 0)), 0);
        assert_eq!(new(&counters.step("r2", web("b", 1_000_000), 30)), 0, "it may have been silent before");
        assert_eq!(new(&counters.step("r2", web("b", 1_000_007), 45)), 7);
        assert_eq!(new(&counters.step("r3", web("c", 20), 601)), 20);
    }

    #[test]
    fn restarted_replica_counts_from_0() {
        let mut counters = AnswerCounters::default();
        counters.step("r1", web("a", 100), 0);
        assert_eq!(new(&counters.step("r1", web("b", 130), 15)), 130);
        assert_eq!(new(&counters.step("r1", web("b", 131), 30)), 1);
    }

    #[test]
    fn count_that_decreased_counts_from_0() {
        let mut counters = AnswerCounters::default();
        counters.step("r1", report("a", &[("web", "east", 100), ("web", "west", 100)]), 0);
        let after = counters.step("r1", report("a", &[("web", "east", 4), ("web", "west", 101)]), 15);
        assert_eq!(after, counts(&[("web", "east", 4), ("web", "west", 1)]));
        counters.step("r1", report("a", &[]), 30);
        assert_eq!(new(&counters.step("r1", web("a", 2), 45)), 2, "the service was gone and is back");
    }

    #[test]
    fn process_with_two_addresses_counts_once() {
        let mut counters = AnswerCounters::default();
        assert_eq!(new(&counters.step("10.0.0.1:8081", web("a", 100), 0)), 0);
        assert_eq!(new(&counters.step("[fd00::1]:8081", web("a", 101), 0)), 1);
        assert_eq!(new(&counters.step("10.0.0.1:8081", web("a", 103), 15)), 2);
        assert_eq!(new(&counters.step("[fd00::1]:8081", web("a", 103), 15)), 0);
    }

    #[test]
    fn answers_of_a_process_that_was_silent_for_ten_minutes_are_dropped() {
        let mut counters = AnswerCounters::default();
        counters.step("r1", web("a", 100), 0);
        assert_eq!(new(&counters.step("r1", web("a", 110), 600)), 10);
        assert_eq!(new(&counters.step("r1", web("a", 1_000_000), 1201)), 0);
        assert_eq!(new(&counters.step("r1", web("a", 1_000_003), 1216)), 3);
    }

    #[test]
    fn clock_set_back_does_no_harm_and_the_number_of_processes_is_bounded() {
        let mut counters = AnswerCounters::default();
        counters.step("r0", web("a", 1), 5000);
        assert_eq!(new(&counters.step("r0", web("a", 3), 10)), 2);
        for i in 0..3 * MAX_PROCESSES {
            counters.step(&format!("r{i}"), web(&format!("b{i}"), 1), 5000 + i as u64);
            assert!(counters.processes.len() <= MAX_PROCESSES);
        }
    }

    #[test]
    fn counts_of_replicas_are_added() {
        let mut sum = counts(&[("web", "east", u64::MAX - 1), ("web", "", 1)]);
        add(&mut sum, counts(&[("web", "east", 7), ("db", "west", 2), ("web", "", 1)]));
        assert_eq!(sum, counts(&[("web", "east", u64::MAX), ("web", "", 2), ("db", "west", 2)]));
    }
}
