//! Round-trip times for publication: without spikes, smoothed, and changed only beyond a dead band.

/// Gate on a measurement: at most this many times the smoothed value, plus this many ms.
const GATE: (f64, f64) = (1.5, 5.0);

/// Smoothing factor.
const GAIN: f64 = 0.3;

/// Dead band around the published value: in ms, and as a fraction of it.
const DEAD_BAND: (f64, f64) = (2.0, 0.1);

/// Upper limit of a round-trip time: more than ten minutes.
const MAX_MS: f64 = 1e6;

/// Exponential smoothing behind a gate. One spike moves it little; a route that became longer opens the gate round by
/// round.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rtt {
    /// Smoothed and published value; `None` before the first measurement.
    known: Option<(f64, f64)>,
}

impl Rtt {
    /// Takes in the median of the probes of a round. Ignores values that are not a valid duration.
    #[must_use]
    pub fn step(self, median_ms: f64) -> Self {
        if !(0.0..=MAX_MS).contains(&median_ms) {
            return self;
        }
        let Some((smoothed, published)) = self.known else {
            return Self { known: Some((median_ms, median_ms)) };
        };
        let gated = median_ms.min(GATE.0 * smoothed + GATE.1);
        let smoothed = smoothed + GAIN * (gated - smoothed);
        let published = if has_moved(published, smoothed) { smoothed } else { published };
        Self { known: Some((smoothed, published)) }
    }

    /// Returns the smoothed value.
    pub fn smoothed_ms(self) -> Option<f64> {
        self.known.map(|(smoothed, _)| smoothed)
    }

    /// Returns the published value.
    pub fn published_ms(self) -> Option<f64> {
        self.known.map(|(_, published)| published)
    }
}

/// Returns true if a round-trip time has left the dead band around the published one.
fn has_moved(published_ms: f64, now_ms: f64) -> bool {
    (now_ms - published_ms).abs() > DEAD_BAND.0.max(DEAD_BAND.1 * published_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(medians: &[f64]) -> f64 {
        medians.iter().fold(Rtt::default(), |rtt, median| rtt.step(*median)).published_ms().unwrap()
    }

    #[test]
    fn spike_moves_it_little_and_a_longer_route_is_followed() {
        assert!((published(&[20.0, 500.0]) - 24.5).abs() < 1e-9, "as much as the gate lets in");
        assert!((published(&[&[20.0][..], &[60.0; 30]].concat()) - 60.0).abs() < 3.0);
    }

    #[test]
    fn noise_within_the_dead_band_is_not_published() {
        let noise: Vec<f64> = (0..40).map(|i| if i % 2 == 0 { 49.0 } else { 52.0 }).collect();
        assert!((published(&noise) - 49.0).abs() < 1e-9);
        assert!((published(&[1.0, 4.0, 4.0, 4.0]) - 1.0).abs() < 1e-9, "2 ms are nothing");
    }

    #[test]
    fn invalid_duration_is_ignored() {
        for nonsense in [f64::NAN, f64::INFINITY, -1.0, 3.2e10] {
            assert_eq!(Rtt::default().step(nonsense), Rtt::default());
            assert!((published(&[20.0, nonsense]) - 20.0).abs() < 1e-9);
        }
    }
}
