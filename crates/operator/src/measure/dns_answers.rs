//! Answers of the DNS replicas, collected every two seconds.

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

/// Between two looks at the counters of the DNS replicas: what one that dies takes with it.
const COLLECT: Duration = Duration::from_secs(2);
/// In looks: how often replicas are searched.
const SEARCH_EVERY: u32 = 10;
/// Topic of the log.
const REPLICAS: &str = "DNS replicas";

pub(super) async fn run(sources: &Sources, changes: &mpsc::Sender<Change>) {
    let mut ticks = interval(COLLECT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut state = Collector::default();
    for turn in 0_u32.. {
        ticks.tick().await;
        if turn % SEARCH_EVERY == 0 || state.replicas.is_empty() {
            state.search(sources).await;
        }
        let measured = state.collect(sources).await;
        if changes.send(Change::Measured(Box::new(measured))).await.is_err() {
            return;
        }
    }
}

#[derive(Default)]
struct Collector {
    tallies: AnswerCounters,
    replicas: Vec<SocketAddr>,
    /// When counters were last read.
    last: Option<Instant>,
    log: LogOnce,
}

impl Collector {
    async fn search(&mut self, sources: &Sources) {
        match &sources.replicas {
            Replicas::Given(replicas) => self.replicas.clone_from(replicas),
            Replicas::Found { namespace, service } => {
                match timeout(REQUEST_TIMEOUT, replicas(&sources.client, (namespace, service))).await {
                    Ok(Ok(found)) => {
                        match found.is_empty() {
                            true => {
                                self.complain(REPLICAS, &format!("none is ready behind Service {namespace}/{service}"))
                            }
                            false => self.log.resolve(REPLICAS),
                        }
                        self.replicas = found;
                    }
                    Ok(Err(error)) => self.complain(REPLICAS, &chain(&error)),
                    Err(_) => self.complain(REPLICAS, "no answer in time"),
                }
            }
        }
    }

    async fn collect(&mut self, sources: &Sources) -> Measured {
        let mut measured = Measured::default();
        let mut heard = false;
        let mut probes = BTreeSet::new();
        for (replica, page) in collect(&self.replicas).await {
            match page {
                Ok(page) => {
                    heard = true;
                    probes.extend(page.probe.iter().copied());
                    add(&mut measured.answers, self.tallies.step(&replica.to_string(), page, (sources.clock)()));
                    self.log.resolve(&replica.to_string());
                }
                Err(error) => self.complain(&replica.to_string(), &chain(&error)),
            }
        }
        let now = Instant::now();
        if heard {
            let since = self.last.replace(now).unwrap_or(now);
            // After a longer silence it is not known what was answered meanwhile.
            let seconds = (now - since).as_secs_f64();
            measured.seconds = if seconds > SILENCE_TIMEOUT_SECONDS as f64 { 0.0 } else { seconds };
            measured.probe_addresses = probes.into_iter().collect();
        }
        measured
    }

    fn complain(&mut self, of: &str, why: &str) {
        if self.log.is_new(of, why) {
            log_not_measured(of, why);
        }
    }
}
