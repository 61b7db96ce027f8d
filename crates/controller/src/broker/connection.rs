//! How old facts are, when the one who tells of them was away for a while: pure.

/// Whether the broker tells what the others say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hearing {
    /// There is no broker: what is known is all there is.
    #[default]
    NoBroker,
    /// There is one, and it has told nothing yet.
    Nothing,
    /// It tells, and was away now and then.
    Clear(Away),
    /// It has been away since, in seconds since 1970. What it said stays as old as it was then.
    Lost { since: u64, before: Away },
}

/// When it was away, from and to: the last times, the oldest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Away {
    times: [Option<(u64, u64)>; Self::MOST],
}

impl Away {
    /// A broker that comes and goes for hours is away for all of them.
    const MOST: usize = 8;

    fn and(mut self, time: (u64, u64)) -> Self {
        if let [Some((from, _)), Some((_, to)), ..] = self.times
            && self.times.iter().all(Option::is_some)
        {
            self.times[1] = Some((from, to));
            self.times.rotate_left(1);
            self.times[Self::MOST - 1] = None;
        }
        if let Some(free) = self.times.iter_mut().find(|known| known.is_none()) {
            *free = Some(time);
        }
        self
    }

    /// For how long it was away since then.
    fn since(self, at: u64) -> u64 {
        self.times.iter().flatten().map(|&(from, to)| to.saturating_sub(from.max(at))).sum()
    }
}

impl Hearing {
    /// `lost`: it does not tell at the moment. `None`: there is no broker.
    #[must_use]
    pub fn step(self, lost: Option<bool>, now: u64) -> Self {
        match (self, lost) {
            (_, None) => Self::NoBroker,
            (Self::NoBroker | Self::Nothing, Some(true)) => Self::Nothing,
            (Self::NoBroker | Self::Nothing, Some(false)) => Self::Clear(Away::default()),
            (Self::Clear(before), Some(true)) => Self::Lost { since: now, before },
            (Self::Lost { since, before }, Some(false)) => Self::Clear(before.and((since, now))),
            (same @ (Self::Clear(_) | Self::Lost { .. }), _) => same,
        }
    }

    /// Whether there is anything to plan from.
    pub fn knows(self) -> bool {
        self != Self::Nothing
    }

    /// When something counts as said that was said at `at`: only the time counts in which there could have been news.
    pub fn counts_as_of(self, at: u64, now: u64) -> u64 {
        let away = match self {
            _ if at == 0 => 0,
            Self::NoBroker | Self::Nothing => 0,
            Self::Clear(away) => away.since(at),
            // The clock was set back meanwhile: it is as old as it was when the broker went.
            Self::Lost { since, .. } if now < since => return now.saturating_sub(since.saturating_sub(at)).max(1),
            Self::Lost { since, before } => before.since(at) + now.saturating_sub(since.max(at)),
        };
        // The clock may have been set back into a time that is over.
        (at + away).min(at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_does_not_age_while_the_broker_is_away_nor_all_at_once_when_it_is_back() {
        let clear = Hearing::Nothing.step(Some(false), 1000);
        assert_eq!(clear.counts_as_of(900, 1000), 900);
        let lost = clear.step(Some(true), 1000);
        assert_eq!(lost.counts_as_of(900, 5000), 4900, "100 s old, as it was when the broker went");
        assert_eq!(lost.step(Some(true), 6000), lost, "it went once");
        let back = lost.step(Some(false), 6000);
        assert_eq!(back.counts_as_of(900, 6000), 5900);
        assert_eq!(back.counts_as_of(900, 6300), 5900, "from now on it ages");
        assert_eq!(back.counts_as_of(3000, 6300), 6000, "written while nobody could read it");
        assert_eq!(back.counts_as_of(6100, 6300), 6100);
        assert_eq!(back.counts_as_of(0, 6300), 0, "it does not say");
    }

    #[test]
    fn a_broker_that_comes_and_goes_is_away_for_all_of_the_time_that_it_was() {
        let mut hearing = Hearing::Nothing.step(Some(false), 1000);
        for i in 1..=20 {
            hearing = hearing.step(Some(true), 1000 * i);
            let age = 1000 * i + 990 - hearing.counts_as_of(900, 1000 * i + 990);
            assert!((100..=100 + 10 * (i - 1)).contains(&age), "{i}: {age} s old");
            hearing = hearing.step(Some(false), 1000 * i + 990);
        }
        let age = 21_000 - hearing.counts_as_of(900, 21_000);
        assert!((100..=400).contains(&age), "{age} s, of which 10 in a thousand could be heard");
    }

    #[test]
    fn a_clock_that_is_set_back_while_the_broker_is_away_makes_nothing_newer_or_of_the_future() {
        let lost = Hearing::Lost { since: 5000, before: Away::default() };
        assert_eq!(lost.counts_as_of(4900, 1400), 1300, "100 s old, as it was");
        assert_eq!(lost.counts_as_of(900, 1400), 1, "too old, and not unknown");
        let back = lost.step(Some(false), 9000);
        assert_eq!(back.counts_as_of(1390, 1400), 1400, "not of the future");
    }

    #[test]
    fn a_broker_that_was_never_heard_leaves_nothing_to_plan_from_and_none_is_no_loss() {
        assert!(!Hearing::Nothing.step(Some(true), 5).knows());
        assert!(Hearing::NoBroker.knows() && Hearing::Nothing.step(None, 5).knows());
        assert!(Hearing::Nothing.step(Some(false), 5).step(Some(true), 6).knows());
    }
}
