//! How old facts are, when the one who tells of them was away for a while: pure.

/// Whether the broker tells what the others say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hearing {
    /// There is no broker: what is known is all there is.
    #[default]
    NoBroker,
    /// There is one, and it has told nothing yet.
    Nothing,
    /// It tells, and was away from and to, last time.
    Clear { away: Option<(u64, u64)> },
    /// It has been away since, in seconds since 1970. What it said stays as old as it was then.
    Lost { since: u64 },
}

impl Hearing {
    /// `lost`: it does not tell at the moment. `None`: there is no broker.
    #[must_use]
    pub fn step(self, lost: Option<bool>, now: u64) -> Self {
        match (self, lost) {
            (_, None) => Self::NoBroker,
            (Self::NoBroker | Self::Nothing, Some(true)) => Self::Nothing,
            (Self::NoBroker | Self::Nothing, Some(false)) => Self::Clear { away: None },
            (Self::Clear { .. }, Some(true)) => Self::Lost { since: now },
            (Self::Lost { since }, Some(false)) => Self::Clear { away: Some((since, now)) },
            (same @ (Self::Clear { .. } | Self::Lost { .. }), _) => same,
        }
    }

    /// Whether there is anything to plan from.
    pub fn knows(self) -> bool {
        self != Self::Nothing
    }

    /// When something counts as said that was said at `at`: only the time counts in which there could have been news.
    pub fn counts_as_of(self, at: u64, now: u64) -> u64 {
        let (from, to) = match self {
            Self::NoBroker | Self::Nothing | Self::Clear { away: None } => return at,
            Self::Clear { away: Some(away) } => away,
            Self::Lost { since } => (since, now),
        };
        if at == 0 || at >= to { at } else { at + to.saturating_sub(from.max(at)) }
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
    fn a_clock_that_is_set_back_while_the_broker_is_away_makes_nothing_newer() {
        let lost = Hearing::Lost { since: 5000 };
        assert_eq!((lost.counts_as_of(900, 1400), lost.counts_as_of(4900, 1400)), (900, 4900));
    }

    #[test]
    fn a_broker_that_was_never_heard_leaves_nothing_to_plan_from_and_none_is_no_loss() {
        assert!(!Hearing::Nothing.step(Some(true), 5).knows());
        assert!(Hearing::NoBroker.knows() && Hearing::Nothing.step(None, 5).knows());
        assert!(Hearing::Nothing.step(Some(false), 5).step(Some(true), 6).knows());
    }
}
