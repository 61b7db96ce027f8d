//! Pending writes. The pipeline fills the outbox by comparing the desired state with the present one; the leader
//! empties it. The outbox has at most one entry per target, so its size is bounded by the number of objects.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::retry::Backoff;
use landfall_controller::publish::write::{Desired, Target, Write};

/// Pauses after a failed write. An API server that comes back must not get all writes at once, and a namespace that is
/// being deleted refuses writes until it is gone.
const BACKOFF: Backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Limit for a written object to come back by the watch. After that it is written again.
const WATCH_BACK: Duration = Duration::from_secs(10);

/// The pending write of one target.
#[derive(Debug)]
struct Entry {
    write: Write,
    effect: u64,
    state: EntryState,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryState {
    /// To be written from this time on.
    Due(Instant),
    InFlight,
    /// Not written until a different state is desired, because the API server drops it.
    Parked,
}

/// Result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteResult {
    Written,
    Failed,
    /// The API server accepted the write and did not store it.
    NotKept,
}

/// Pending writes by target.
#[derive(Debug, Default)]
pub struct Outbox {
    entries: Mutex<BTreeMap<Target, Entry>>,
    filled: Notify,
}

impl Outbox {
    /// Sets what a target needs, in place of what it needed before.
    pub fn set(&self, desired: Desired, now: Instant) {
        let mut entries = self.lock();
        let write = match desired {
            Desired::Write(write) => write,
            Desired::InSync(target) => {
                entries.remove(&target);
                return;
            }
        };
        let target = write.target();
        let effect = write.effect();
        if let Some(entry) = entries.get_mut(&target).filter(|entry| entry.effect == effect) {
            // The same effect, made from a newer version of the object.
            entry.write = write;
            return;
        }
        entries.insert(target, Entry { write, effect, state: EntryState::Due(now), failures: 0 });
        drop(entries);
        self.filled.notify_one();
    }

    /// Removes the entries for which `keep` returns false, because their objects do not exist any more.
    pub fn retain(&self, mut keep: impl FnMut(&Target) -> bool) {
        self.lock().retain(|target, _| keep(target));
    }

    /// Begins a new term of leadership: writes in flight at the end of the last term are due again.
    pub fn begin_term(&self, now: Instant) {
        let mut entries = self.lock();
        let in_flight = entries.values_mut().filter(|entry| entry.state == EntryState::InFlight);
        in_flight.for_each(|entry| entry.state = EntryState::Due(now));
    }

    /// Returns a write that is due, and marks it as in flight. If none is due, returns the time until the next one is,
    /// or `Err(None)` if none is scheduled.
    pub fn take(&self, now: Instant) -> Result<Write, Option<Duration>> {
        let mut entries = self.lock();
        let mut earliest: Option<Instant> = None;
        for entry in entries.values_mut() {
            match entry.state {
                EntryState::Due(at) if at <= now => {
                    entry.state = EntryState::InFlight;
                    return Ok(entry.write.clone());
                }
                EntryState::Due(at) => earliest = Some(earliest.map_or(at, |earliest| earliest.min(at))),
                EntryState::InFlight | EntryState::Parked => {}
            }
        }
        Err(earliest.map(|at| at - now))
    }

    /// Records the result of a write. The entry of a written object stays until the object comes back by the watch, so
    /// that other changes in between do not write it again.
    pub fn done(&self, written: &Write, outcome: WriteResult, now: Instant) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(&written.target()).filter(|entry| entry.effect == written.effect()) else {
            return;
        };
        let retry = BACKOFF.pause(entry.failures);
        (entry.state, entry.failures) = match outcome {
            WriteResult::Written => (EntryState::Due(now + WATCH_BACK), 0),
            WriteResult::Failed => (EntryState::Due(now + retry), entry.failures + 1),
            WriteResult::NotKept => (EntryState::Parked, 0),
        };
    }

    /// Waits until something was added since the last call.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Returns the number of targets that differ from their desired state and can still reach it.
    pub fn pending(&self) -> usize {
        self.lock().values().filter(|entry| entry.state != EntryState::Parked).count()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Target, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use landfall_api::ServiceSelectionStatus;
    use landfall_core::name::ServiceKey;

    use super::*;

    fn write(summary: &str) -> Write {
        let key = ServiceKey::new("shop", "web").unwrap();
        Write::Selection(key, Box::new(ServiceSelectionStatus { summary: summary.to_owned(), ..Default::default() }))
    }

    #[tokio::test(start_paused = true)]
    async fn write_is_taken_once() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        outbox.set(Desired::Write(write("a")), now);
        assert_eq!(outbox.take(now), Ok(write("a")));
        assert_eq!(outbox.take(now), Err(None), "it is in flight");
        outbox.filled().await;
    }

    #[tokio::test(start_paused = true)]
    async fn written_object_is_not_written_again_while_its_watch_event_is_awaited() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        outbox.set(Desired::Write(write("a")), now);
        outbox.take(now).unwrap();
        outbox.done(&write("a"), WriteResult::Written, now);
        outbox.set(Desired::Write(write("a")), now);
        assert_eq!(outbox.take(now), Err(Some(WATCH_BACK)));
        assert_eq!(outbox.take(now + WATCH_BACK), Ok(write("a")), "it never came");
        outbox.set(Desired::InSync(write("a").target()), now);
        assert_eq!(outbox.pending(), 0, "it came");
    }

    #[tokio::test(start_paused = true)]
    async fn failed_write_is_retried_after_growing_pauses() {
        let (outbox, mut now) = (Outbox::default(), Instant::now());
        outbox.set(Desired::Write(write("a")), now);
        let mut waits = Vec::new();
        for _ in 0..10 {
            outbox.take(now).unwrap();
            outbox.done(&write("a"), WriteResult::Failed, now);
            let wait = outbox.take(now).unwrap_err().unwrap();
            waits.push(wait);
            now += wait;
        }
        assert_eq!(waits[..3], [RETRY_MIN, RETRY_MIN * 2, RETRY_MIN * 4]);
        assert_eq!(waits[9], RETRY_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn change_during_a_write_is_due_at_once() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        outbox.set(Desired::Write(write("a")), now);
        outbox.take(now).unwrap();
        outbox.set(Desired::Write(write("b")), now);
        outbox.done(&write("a"), WriteResult::Written, now);
        assert_eq!(outbox.take(now), Ok(write("b")));
    }

    #[tokio::test(start_paused = true)]
    async fn write_in_flight_at_the_end_of_a_term_is_due_in_the_next_one() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        outbox.set(Desired::Write(write("a")), now);
        outbox.take(now).unwrap();
        outbox.begin_term(now);
        assert_eq!(outbox.take(now), Ok(write("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn write_that_is_not_kept_is_not_repeated_until_another_state_is_desired() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        outbox.set(Desired::Write(write("a")), now);
        outbox.take(now).unwrap();
        outbox.done(&write("a"), WriteResult::NotKept, now);
        outbox.set(Desired::Write(write("a")), now);
        assert_eq!((outbox.take(now + WATCH_BACK), outbox.pending()), (Err(None), 0));
        outbox.set(Desired::Write(write("b")), now);
        assert_eq!(outbox.take(now), Ok(write("b")));
    }
}
