//! Decides when a denial is final, and how often a server is asked again.
//!
//! A server that is starting does not know all of its kinds and permissions yet. The fleet must not vanish because of
//! that, so "not found" and "forbidden" are final only after several attempts.

use std::time::Duration;

use crate::retry::Backoff;

/// Result of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server answers "not found" or "forbidden".
    Denied,
    /// The server answers with another error.
    Refused,
    /// The server does not answer.
    Lost,
}

/// Limits for one kind of request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Denials in a row after which the denial is final.
    pub denials: u32,
    /// The same if the server was silent before, and so is probably just starting.
    pub denials_after_silence: u32,
    /// Pauses while the server is away or starting.
    pub backoff: Backoff,
    /// Attempts after which a server that answers is asked less often.
    pub slow_after: u32,
    /// Pause between two of the later attempts.
    pub slow_pause: Duration,
}

/// Counts of the attempts so far.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    limits: Limits,
    attempts: u32,
    denials: u32,
    was_silent: bool,
}

/// Decision after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    /// True if the denial is final.
    pub is_final: bool,
    pub pause: Duration,
}

impl Patience {
    pub(super) const fn new(limits: Limits) -> Self {
        Self { limits, attempts: 0, denials: 0, was_silent: false }
    }

    /// Counts an attempt that succeeded at first, and ended later. Denials before it no longer count. If it lasted, the
    /// attempts before it do not either.
    pub(super) fn succeed(&mut self, lasted: bool) {
        self.denials = 0;
        if lasted {
            *self = Self::new(self.limits);
        }
    }

    /// Counts an attempt, and decides what follows.
    pub(super) fn step(&mut self, outcome: Outcome) -> Next {
        let limits = &self.limits;
        self.denials = if outcome == Outcome::Denied { self.denials.saturating_add(1) } else { 0 };
        self.was_silent |= outcome == Outcome::Lost;
        let slow = self.attempts >= limits.slow_after && outcome != Outcome::Lost;
        let pause = if slow { limits.slow_pause } else { limits.backoff.pause(self.attempts) };
        self.attempts = self.attempts.saturating_add(1);
        let enough = if self.was_silent { limits.denials_after_silence } else { limits.denials };
        Next { is_final: self.denials >= enough, pause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn patience() -> Patience {
        let backoff = Backoff::new(MS(50), MS(500));
        Patience::new(Limits { denials: 3, denials_after_silence: 5, backoff, slow_after: 4, slow_pause: MS(5000) })
    }

    fn are_final(patience: &mut Patience, outcomes: &[Outcome]) -> Vec<bool> {
        outcomes.iter().map(|outcome| patience.step(*outcome).is_final).collect()
    }

    #[test]
    fn denial_is_final_after_enough_in_a_row() {
        use Outcome::{Denied, Refused};
        let outcomes = [Denied, Denied, Refused, Denied, Denied, Denied, Denied];
        assert_eq!(are_final(&mut patience(), &outcomes), [false, false, false, false, false, true, true]);
    }

    #[test]
    fn denial_by_a_server_that_was_silent_is_final_later() {
        use Outcome::{Denied, Lost};
        let outcomes = [Lost, Denied, Denied, Denied, Denied, Denied];
        assert_eq!(are_final(&mut patience(), &outcomes), [false, false, false, false, false, true]);
    }

    #[test]
    fn server_that_denies_for_long_is_asked_less_often_and_silent_server_is_not() {
        let mut patience = patience();
        let pauses: Vec<Duration> = (0..6).map(|_| patience.step(Outcome::Denied).pause).collect();
        assert_eq!(pauses, [MS(50), MS(100), MS(200), MS(400), MS(5000), MS(5000)]);
        assert_eq!(patience.step(Outcome::Lost).pause, MS(500));
        patience.succeed(false);
        assert_eq!(patience.step(Outcome::Lost).pause, MS(500), "it succeeded for a moment only");
        patience.succeed(true);
        assert_eq!(patience.step(Outcome::Denied).pause, MS(50), "it was healthy in between");
    }

    #[test]
    fn denials_before_a_success_do_not_count() {
        use Outcome::Denied;
        for lasted in [false, true] {
            let mut patience = patience();
            assert_eq!(are_final(&mut patience, &[Denied, Denied]), [false, false]);
            patience.succeed(lasted);
            assert_eq!(are_final(&mut patience, &[Denied, Denied, Denied]), [false, false, true]);
        }
    }
}
