//! How facts age across outages of the broker: pure.

/// Connection to the broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BrokerConnection {
    /// There is no broker. No more facts are expected.
    #[default]
    None,
    /// There is a broker, and its facts have not been read yet.
    Pending,
    /// Facts are being watched. There may have been outages.
    Connected(Outages),
    /// Facts have not been readable since this time, in seconds since 1970. They do not age during an outage.
    Lost { since: u64, before: Outages },
}

/// Start and end of the last outages, oldest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outages {
    times: [Option<(u64, u64)>; Self::MAX_OUTAGES],
}

impl Outages {
    /// More outages are merged: a broker that comes and goes for hours counts as unavailable for all of them.
    const MAX_OUTAGES: usize = 8;

    /// Adds an outage. If there is no space, the two oldest ones are merged.
    fn with(mut self, time: (u64, u64)) -> Self {
        if let [Some((from, _)), Some((_, to)), ..] = self.times
            && self.times.iter().all(Option::is_some)
        {
            self.times[1] = Some((from, to));
            self.times.rotate_left(1);
            self.times[Self::MAX_OUTAGES - 1] = None;
        }
        if let Some(free) = self.times.iter_mut().find(|known| known.is_none()) {
            *free = Some(time);
        }
        self
    }

    /// Returns the total duration of outages since `at`.
    fn since(self, at: u64) -> u64 {
        self.times.iter().flatten().map(|&(from, to)| to.saturating_sub(from.max(at))).sum()
    }
}

impl BrokerConnection {
    /// Returns the next state. `lost` is true if facts cannot be read now, and `None` if there is no broker.
    #[must_use]
    pub fn step(self, lost: Option<bool>, now: u64) -> Self {
        match (self, lost) {
            (_, None) => Self::None,
            (Self::None | Self::Pending, Some(true)) => Self::Pending,
            (Self::None | Self::Pending, Some(false)) => Self::Connected(Outages::default()),
            (Self::Connected(before), Some(true)) => Self::Lost { since: now, before },
            (Self::Lost { since, before }, Some(false)) => Self::Connected(before.with((since, now))),
            (same @ (Self::Connected(_) | Self::Lost { .. }), _) => same,
        }
    }

    /// Returns true if plans can be made: the facts on the broker have been read, or there is no broker.
    pub fn has_facts(self) -> bool {
        self != Self::Pending
    }

    /// Returns the time from which facts dated `at` age: outages are added, because no newer facts could arrive in
    /// them.
    pub fn effective_time(self, at: u64, now: u64) -> u64 {
        let outage = match self {
            _ if at == 0 => 0,
            Self::None | Self::Pending => 0,
            Self::Connected(outages) => outages.since(at),
            // The clock was set back during the outage: the facts keep the age that they had when it began.
            Self::Lost { since, .. } if now < since => return now.saturating_sub(since.saturating_sub(at)).max(1),
            Self::Lost { since, before } => before.since(at) + now.saturating_sub(since.max(at)),
        };
        // The clock may have been set back to before an outage that is over.
        (at + outage).min(at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_do_not_age_during_an_outage_and_do_not_catch_up_after_it() {
        let clear = BrokerConnection::Pending.step(Some(false), 1000);
        assert_eq!(clear.effective_time(900, 1000), 900);
        let lost = clear.step(Some(true), 1000);
        assert_eq!(lost.effective_time(900, 5000), 4900, "100 s old, as when the outage began");
        assert_eq!(lost.step(Some(true), 6000), lost, "one outage");
        let back = lost.step(Some(false), 6000);
        assert_eq!(back.effective_time(900, 6000), 5900);
        assert_eq!(back.effective_time(900, 6300), 5900, "it ages from now on");
        assert_eq!(back.effective_time(3000, 6300), 6000, "written during the outage");
        assert_eq!(back.effective_time(6100, 6300), 6100);
        assert_eq!(back.effective_time(0, 6300), 0, "without a date");
    }

    #[test]
    fn many_short_outages_count_in_full() {
        let mut connection = BrokerConnection::Pending.step(Some(false), 1000);
        for i in 1..=20 {
            connection = connection.step(Some(true), 1000 * i);
            let age = 1000 * i + 990 - connection.effective_time(900, 1000 * i + 990);
            assert!((100..=100 + 10 * (i - 1)).contains(&age), "{i}: {age} s old");
            connection = connection.step(Some(false), 1000 * i + 990);
        }
        let age = 21_000 - connection.effective_time(900, 21_000);
        assert!((100..=400).contains(&age), "{age} s, with a connection for 10 of every 1000 s");
    }

    #[test]
    fn clock_set_back_during_an_outage_makes_no_facts_newer() {
        let lost = BrokerConnection::Lost { since: 5000, before: Outages::default() };
        assert_eq!(lost.effective_time(4900, 1400), 1300, "100 s old, as before");
        assert_eq!(lost.effective_time(900, 1400), 1, "too old, but not undated");
        let back = lost.step(Some(false), 9000);
        assert_eq!(back.effective_time(1390, 1400), 1400, "not in the future");
    }

    #[test]
    fn connection_has_facts_once_the_broker_was_read_or_if_there_is_none() {
        assert!(!BrokerConnection::Pending.step(Some(true), 5).has_facts());
        assert!(BrokerConnection::None.has_facts() && BrokerConnection::Pending.step(None, 5).has_facts());
        assert!(BrokerConnection::Pending.step(Some(false), 5).step(Some(true), 6).has_facts());
    }
}
