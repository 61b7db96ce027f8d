//! Collects the counts of answers from the DNS replicas every two seconds.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::replicas::{collect, replicas};
use super::sources::{REQUEST_TIMEOUT, Replicas, Sources, log_not_measured};
use crate::error_chain::chain;
use crate::log_once::LogOnce;
use landfall_controller::answers::counters::{AnswerCounters, SILENCE_TIMEOUT_SECONDS, add};
use landfall_controller::change::Change;
use landfall_controller::measured::Measured;

/// Interval of reading the counts. A replica that dies loses at most the answers of one interval.
const COLLECT_INTERVAL: Duration = Duration::from_secs(2);
/// Reads after which replicas are searched again.
const READS_PER_SEARCH: u32 = 10;
/// Topic of log lines about the search.
const REPLICAS: &str = "DNS replicas";

pub(super) async fn run(sources: &Sources, changes: &mpsc::Sender<Change>) {
    let mut ticks = interval(COLLECT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut state = Collector::default();
    for read in 0_u32.. {
        ticks.tick().await;
        if read % READS_PER_SEARCH == 0 || state.replicas.is_empty() {
            state.search(sources).await;
        }
        let measured = state.collect(sources).await;
        if changes.send(Change::Measured(Box::new(measured))).await.is_err() {
            return;
        }
    }
}

/// State of the collection.
#[derive(Default)]
struct Collector {
    counters: AnswerCounters,
    replicas: Vec<SocketAddr>,
    /// Time of the last read that any replica answered.
    last_read: Option<Instant>,
    log: LogOnce,
}

impl Collector {
    /// Finds the replicas. Keeps the known ones if that fails.
    async fn search(&mut self, sources: &Sources) {
        match &sources.replicas {
            Replicas::Given(replicas) => self.replicas.clone_from(replicas),
            Replicas::Found { namespace, service } => {
                match timeout(REQUEST_TIMEOUT, replicas(&sources.client, (namespace, service))).await {
                    Ok(Ok(found)) => {
                        match found.is_empty() {
                            true => self.log(REPLICAS, &format!("none is ready behind Service {namespace}/{service}")),
                            false => self.log.resolve(REPLICAS),
                        }
                        self.replicas = found;
                    }
                    Ok(Err(error)) => self.log(REPLICAS, &chain(&error)),
                    Err(_) => self.log(REPLICAS, "no answer in time"),
                }
            }
        }
    }

    /// Reads the counts of all replicas.
    async fn collect(&mut self, sources: &Sources) -> Measured {
        let mut measured = Measured::default();
        let mut any_answered = false;
        let mut probes = BTreeSet::new();
        for (replica, report) in collect(&self.replicas).await {
            match report {
                Ok(report) => {
                    any_answered = true;
                    probes.extend(report.probe.iter().copied());
                    add(&mut measured.answers, self.counters.step(&replica.to_string(), report, (sources.clock)()));
                    self.log.resolve(&replica.to_string());
                }
                Err(error) => self.log(&replica.to_string(), &chain(&error)),
            }
        }
        let now = Instant::now();
        if any_answered {
            let since = self.last_read.replace(now).unwrap_or(now);
            // After a longer gap the answers in between are unknown.
            let seconds = (now - since).as_secs_f64();
            measured.seconds = if seconds > SILENCE_TIMEOUT_SECONDS as f64 { 0.0 } else { seconds };
            measured.probe_addresses = probes.into_iter().collect();
        }
        measured
    }

    fn log(&mut self, of: &str, why: &str) {
        if self.log.is_new(of, why) {
            log_not_measured(of, why);
        }
    }
}
