//! Polling for a condition, which is the only way in which a test spends time.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};

/// First pause between two attempts. Each pause is half as long again as the one before.
const MIN_PAUSE: Duration = Duration::from_millis(2);

/// Longest pause: short compared with every timeout of the tests, and long enough not to load two cores with polling.
const MAX_PAUSE: Duration = Duration::from_millis(25);

/// Clock of the tests, which measure elapsed time.
#[expect(clippy::disallowed_methods, reason = "a test bed measures real time; this is the one place that reads it")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Returns the seconds since 1970, as heartbeats in annotations have them.
pub fn unix_seconds() -> Result<u64> {
    Ok(since_1970()?.as_secs())
}

/// Returns the time since 1970, by the clock that all programs of a test share.
pub fn since_1970() -> Result<Duration> {
    #[expect(clippy::disallowed_methods, reason = "as above")]
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

/// Calls `look` until it succeeds, and returns its value.
///
/// A failed `look` reports what it saw instead. The last such error is part of this function's error, so a failed test
/// shows the state and not only the timeout.
pub async fn await_condition<T>(what: &str, timeout: Duration, mut look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let started = now();
    let mut pause = MIN_PAUSE;
    let mut last_seen = anyhow!("nothing: the first attempt did not finish");
    while let Some(left) = timeout.checked_sub(started.elapsed()) {
        match tokio::time::timeout(left, look()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) => last_seen = seen,
            Err(_) => break,
        }
        tokio::time::sleep(pause).await;
        pause = MAX_PAUSE.min(pause + pause / 2);
    }
    Err(last_seen.context(format!("{what}: not within {timeout:?}; last seen")))
}

/// Runs `action` while calling `look` repeatedly, and fails with the first error of `look`: for conditions that must
/// hold meanwhile.
pub async fn while_it_holds<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<()>,
    action: impl Future<Output = Result<T>>,
) -> Result<T> {
    let started = now();
    let broken = async {
        loop {
            if let Err(seen) = look().await {
                break seen.context(format!("{what}: no longer so after {:?}", started.elapsed()));
            }
            tokio::time::sleep(MAX_PAUSE).await;
        }
    };
    tokio::select! {
        done = action => done,
        broken = broken => Err(broken),
    }
}

/// Checks a condition for `span`, as [`while_it_holds`] does.
pub async fn holds_for(what: &str, span: Duration, look: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    while_it_holds(what, look, async {
        tokio::time::sleep(span).await;
        Ok(())
    })
    .await
}

/// Prints a measured figure past the test runner, which captures the output of passed tests.
pub fn report(figure: &str) {
    // A closed standard error does not fail the test.
    let _ = writeln!(std::io::stderr(), "measured: {figure}");
}

/// Returns the nearest-rank percentile, where `p` is from 0 to 1. Sorts the samples.
///
/// # Panics
/// Panics if there is no sample.
#[must_use]
pub fn percentile(samples: &mut [Duration], p: f64) -> Duration {
    samples.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ≤ p ≤ 1, so the rank fits")]
    let rank = (p * samples.len() as f64).ceil() as usize;
    samples[rank.clamp(1, samples.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_one_of_the_samples() {
        let mut samples: Vec<Duration> = (1..=50).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut samples, 0.5), Duration::from_millis(25));
        assert_eq!(percentile(&mut samples, 0.99), Duration::from_millis(50));
        assert_eq!(percentile(&mut samples[..1], 0.5), Duration::from_millis(1));
    }

    #[tokio::test]
    async fn condition_that_never_holds_reports_what_was_seen_last() {
        let mut looks = 0;
        let outcome: Result<()> = await_condition("the door opens", Duration::from_millis(20), async || {
            looks += 1;
            Err(anyhow!("still shut"))
        })
        .await;
        let message = format!("{:#}", outcome.unwrap_err());
        assert!(message.contains("the door opens: not within 20ms; last seen: still shut"), "{message}");
        assert!(looks > 1);
    }
}
