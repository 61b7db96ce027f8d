//! What should be written and is not yet. The pipeline fills it by comparing what should be with what is; the leader
//! empties it. It holds at most one entry per object, so it cannot grow beyond what there is.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::retry::Backoff;
use landfall_controller::publish::write::{Desired, Target, Write};

/// Waits after a failed write: an API server that is away should not be met with everything at once, and a namespace that
/// is being deleted refuses until it is gone.
const BACKOFF: Backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long a written object may take to come back by the watch before it is written again.
const ECHO: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Entry {
    write: Write,
    effect: u64,
    state: State,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Due(Instant),
    InFlight,
    /// It does no good to write it, until something else should be written.
    Parked,
}

/// How a write went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteResult {
    Written,
    Failed,
    /// The API server took it, and did not keep it.
    NotKept,
}

#[derive(Debug, Default)]
pub struct Outbox {
    entries: Mutex<BTreeMap<Target, Entry>>,
    filled: Notify,
}

impl Outbox {
    /// Stores what a target needs, in place of what it needed before.
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
            // The same, made from a newer version of the object.
            entry.write = write;
            return;
        }
        entries.insert(target, Entry { write, effect, state: State::Due(now), failures: 0 });
        drop(entries);
        self.filled.notify_one();
    }

    /// Forgets what is for objects that are not there any more.
    pub fn retain(&self, mut keep: impl FnMut(&Target) -> bool) {
        self.lock().retain(|target, _| keep(target));
    }

    /// A new term begins: what was under way when the last one ended is due again.
    pub fn begin_term(&self, now: Instant) {
        let mut entries = self.lock();
        let under_way = entries.values_mut().filter(|entry| entry.state == State::InFlight);
        under_way.for_each(|entry| entry.state = State::Due(now));
    }

    /// Something to write now, or how long until there is; `None`: not before something is put in.
    pub fn take(&self, now: Instant) -> Result<Write, Option<Duration>> {
        let mut entries = self.lock();
        let mut earliest: Option<Instant> = None;
        for entry in entries.values_mut() {
            match entry.state {
                State::Due(at) if at <= now => {
                    entry.state = State::InFlight;
                    return Ok(entry.write.clone());
                }
                State::Due(at) => earliest = Some(earliest.map_or(at, |earliest| earliest.min(at))),
                State::InFlight | State::Parked => {}
            }
        }
        Err(earliest.map(|at| at - now))
    }

    /// How a write went. A written object stays here until it has come back by the watch, so that what happens meanwhile
    /// does not write it again.
    pub fn done(&self, written: &Write, outcome: WriteResult, now: Instant) {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(&written.target()).filter(|entry| entry.effect == written.effect()) else {
            return;
        };
        let retry = BACKOFF.pause(entry.failures);
        (entry.state, entry.failures) = match outcome {
            WriteResult::Written => (State::Due(now + ECHO), 0),
            WriteResult::Failed => (State::Due(now + retry), entry.failures + 1),
            WriteResult::NotKept => (State::Parked, 0),
        };
    }

    /// Resolves when something was put in since the last call.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// How many objects are not yet as they should be, and can be.
    pub fn pending(&self) -> usize {
        self.lock().values().filter(|entry| entry.state != State::Parked).count()
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
    async fn what_was_put_in_is_given_out_once() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        outbox.set(Desired::Write(write("a")), now);
        assert_eq!(outbox.take(now), Ok(write("a")));
        assert_eq!(outbox.take(now), Err(None), "it is under way");
        outbox.filled().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_written_is_not_written_again_while_its_echo_is_awaited() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        outbox.set(Desired::Write(write("a")), now);
        outbox.take(now).unwrap();
        outbox.done(&write("a"), WriteResult::Written, now);
        outbox.set(Desired::Write(write("a")), now);
        assert_eq!(outbox.take(now), Err(Some(ECHO)));
        assert_eq!(outbox.take(now + ECHO), Ok(write("a")), "it never came");
        outbox.set(Desired::InSync(write("a").target()), now);
        assert_eq!(outbox.pending(), 0, "it came");
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_tried_again_later_and_later() {
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
    async fn what_changed_while_it_was_under_way_is_due_at_once() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        outbox.set(Desired::Write(write("a")), now);
        outbox.take(now).unwrap();
        outbox.set(Desired::Write(write("b")), now);
        outbox.done(&write("a"), WriteResult::Written, now);
        assert_eq!(outbox.take(now), Ok(write("b")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_leader_writes_what_was_under_way_when_the_last_term_ended() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        outbox.set(Desired::Write(write("a")), now);
        outbox.take(now).unwrap();
        outbox.begin_term(now);
        assert_eq!(outbox.take(now), Ok(write("a")));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_kept_is_not_written_again_until_something_else_should_be() {
        let (outbox, now) = (Outbox::default(), Instant::now());
        outbox.set(Desired::Write(write("a")), now);
        outbox.take(now).unwrap();
        outbox.done(&write("a"), WriteResult::NotKept, now);
        outbox.set(Desired::Write(write("a")), now);
        assert_eq!((outbox.take(now + ECHO), outbox.pending()), (Err(None), 0));
        outbox.set(Desired::Write(write("b")), now);
        assert_eq!(outbox.take(now), Ok(write("b")));
    }
}
