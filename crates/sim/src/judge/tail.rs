//! The 99th percentile over all requests of a run. Unlike means, percentiles cannot be added, so requests are sampled.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Exp1, StandardNormal};

use super::erlang::{MAX_WAIT_MS, Queue};

/// Sample size. The 2,000 slowest requests give the percentile to a few hundredths if the tail is thin.
const DRAWS: usize = 200_000;

/// Fixed seed, so that policies differ by their decisions and not by chance.
const SEED: u64 = 7;

/// Jitter of a round trip: σ of its logarithm.
const JITTER: f64 = 0.05;

/// Time after which a client whose request is rejected gives up.
const GIVEN_UP_MS: f64 = 1e4;

/// Requests from one source to one exporter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flow {
    pub rps: f64,
    pub rtt_ms: f64,
    pub service_ms: f64,
    /// Queue of the exporter.
    pub queue: Queue,
}

impl Flow {
    /// Returns the flow with its rate multiplied by a duration.
    #[must_use]
    pub fn lasting(self, seconds: f64) -> Self {
        Self { rps: self.rps * seconds, ..self }
    }
}

/// Returns the time that 99 of 100 requests do not exceed, weighted by `rps`. Returns 0 without requests.
pub fn p99_ms(flows: impl Iterator<Item = Flow> + Clone) -> f64 {
    let flows = flows.filter(|flow| flow.rps > 0.0);
    let all: f64 = flows.clone().map(|flow| flow.rps).sum();
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    // Sorted points find their flows in one pass, without a table of all flows of all rounds.
    let mut points: Vec<f64> = (0..DRAWS).map(|_| random.random::<f64>() * all).collect();
    points.sort_unstable_by(f64::total_cmp);
    let mut times = Vec::with_capacity(DRAWS);
    let mut reached = 0.0;
    for flow in flows {
        reached += flow.rps;
        while points.get(times.len()).is_some_and(|point| *point < reached) {
            times.push(flow.draw(&mut random));
        }
    }
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

impl Flow {
    /// Draws the time of one request.
    fn draw(&self, random: &mut ChaCha8Rng) -> f64 {
        let queue = &self.queue;
        if random.random::<f64>() < queue.rejected {
            return GIVEN_UP_MS;
        }
        let jitter = (JITTER * random.sample::<f64, _>(StandardNormal)).exp();
        let service = self.service_ms * random.sample::<f64, _>(Exp1);
        let waits = random.random::<f64>() < queue.busy;
        self.rtt_ms * jitter + service + if waits { self.wait(random) } else { 0.0 }
    }

    /// Draws the wait of a request that must wait. It is exponential in M/M/c.
    fn wait(&self, random: &mut ChaCha8Rng) -> f64 {
        let queue = &self.queue;
        if queue.wait_ms >= 0.999 * MAX_WAIT_MS {
            return MAX_WAIT_MS;
        }
        let mean = queue.wait_ms / queue.busy;
        (mean * random.sample::<f64, _>(Exp1)).min(MAX_WAIT_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(rps: f64, rtt_ms: f64, service_ms: f64, queue: Queue) -> Flow {
        Flow { rps, rtt_ms, service_ms, queue }
    }

    #[test]
    fn exponential_service_time_has_the_expected_percentile() {
        let p99 = p99_ms([flow(10.0, 0.0, 20.0, Queue::IDLE)].into_iter());
        assert!((p99 / (20.0 * 100.0_f64.ln()) - 1.0).abs() < 0.02, "{p99}");
    }

    #[test]
    fn slowest_hundredth_decides() {
        let near = flow(980.0, 1.0, 0.0, Queue::IDLE);
        let far = flow(20.0, 500.0, 0.0, Queue::IDLE);
        let p99 = p99_ms([near, far].into_iter());
        assert!((p99 / 500.0 - 1.0).abs() < 0.02, "{p99}");
        let rejected = p99_ms([near, flow(20.0, 0.0, 0.0, Queue::NONE)].into_iter());
        assert!((rejected - GIVEN_UP_MS).abs() < 1e-9);
        let rare = p99_ms([Flow { rps: 995.0, ..near }, Flow { rps: 5.0, ..far }].into_iter());
        assert!(rare < 2.0);
    }

    #[test]
    fn wait_of_delayed_requests_is_exponential() {
        let queue = Queue { utilization: 0.9, wait_ms: 50.0, busy: 0.5, rejected: 0.0 };
        let p99 = p99_ms([flow(1.0, 0.0, 0.0, queue)].into_iter());
        assert!((p99 / (100.0 * 50.0_f64.ln()) - 1.0).abs() < 0.02, "{p99}");
    }

    #[test]
    fn percentile_without_requests_is_zero() {
        assert!(p99_ms(std::iter::empty()).abs() < 1e-12);
        assert!(p99_ms([flow(0.0, 1.0, 1.0, Queue::IDLE)].into_iter()).abs() < 1e-12);
    }
}
