//! Random numbers of a scenario. Each kind of noise has its own stream: switching one on or off does not change the
//! others.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Exp1, StandardNormal};

use crate::matrix::Matrix;
use crate::scenario::{Noise, Scenario};

/// Bounds of the random walk of a demand.
const WALK: (f64, f64) = (0.6, 1.6);

/// Upper bound of a burst, as a multiple of the demand.
const MAX_BURST_FACTOR: f64 = 3.0;

const BURST_SCALE: f64 = 0.3;

/// Shortest spike, as a fraction of its scale.
const MIN_SPIKE: f64 = 0.1;

/// Upper bound of a spike. A longer median of probes would be a timeout.
const MAX_SPIKE_MS: f64 = 60_000.0;

/// Bounds of exp(N(0, σ)). No sensible σ reaches them; they keep finite values finite.
const LOG_NORMAL: (f64, f64) = (1e-3, 1e3);

/// Numbers of the streams. They are part of the meaning of a seed and must not change.
#[derive(Clone, Copy)]
enum Stream {
    Walk = 1,
    Demand = 2,
    Burst = 3,
    Exponential = 4,
    Rtt = 5,
    Spike = 6,
    Report = 7,
    Age = 8,
}

/// The random streams of one scenario.
pub(super) struct Dice<'a> {
    scenario: &'a Scenario,
    walk: ChaCha8Rng,
    demand: ChaCha8Rng,
    burst: ChaCha8Rng,
    exponential: ChaCha8Rng,
    rtt: ChaCha8Rng,
    spike: ChaCha8Rng,
    report: ChaCha8Rng,
    age: ChaCha8Rng,
    /// Position of the random walk of each source, as a logarithm.
    walked: Vec<f64>,
}

impl<'a> Dice<'a> {
    pub(super) fn new(scenario: &'a Scenario) -> Self {
        let stream = |stream: Stream| {
            let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed);
            rng.set_stream(stream as u64);
            rng
        };
        Self {
            scenario,
            walk: stream(Stream::Walk),
            demand: stream(Stream::Demand),
            burst: stream(Stream::Burst),
            exponential: stream(Stream::Exponential),
            rtt: stream(Stream::Rtt),
            spike: stream(Stream::Spike),
            report: stream(Stream::Report),
            age: stream(Stream::Age),
            walked: vec![0.0; scenario.clusters.len()],
        }
    }

    /// Returns the report factor of each source, the same for all rounds.
    pub(super) fn report_factors(&mut self) -> Vec<f64> {
        let sigma = self.scenario.model_error.demand_report_sigma;
        self.scenario.clusters.iter().map(|_| log_normal(&mut self.report, sigma)).collect()
    }

    /// Adds noise to the demands of a round. Must be called once per round, in order, because the random walk continues.
    pub(super) fn demand_rps(&mut self, mut demand: Vec<f64>) -> Vec<f64> {
        for (rps, walked) in demand.iter_mut().zip(&mut self.walked) {
            let noise = &self.scenario.noise;
            *walked += noise.demand_walk_sigma * self.walk.sample::<f64, _>(StandardNormal);
            let (least, most) = WALK;
            *rps *= walked.exp().clamp(least, most);
            *rps *= log_normal(&mut self.demand, noise.demand_log_sigma);
            *rps *= burst(&mut self.burst, noise);
            let part = noise.demand_exponential_part.clamp(0.0, 1.0);
            *rps *= 1.0 - part + part * self.exponential.sample::<f64, _>(Exp1);
        }
        demand
    }

    pub(super) fn measured_rtt_ms(&mut self, rtt_ms: &Matrix<f64>) -> Matrix<f64> {
        let noise = &self.scenario.noise;
        let mut measured = rtt_ms.clone();
        for i in 0..measured.size() {
            for ms in measured.row_mut(i) {
                *ms = *ms * log_normal(&mut self.rtt, noise.rtt_log_sigma) + spike_ms(&mut self.spike, noise);
            }
        }
        measured
    }

    pub(super) fn ages(&mut self) -> Matrix<usize> {
        let staleness = self.scenario.staleness;
        let mut ages = Matrix::filled(self.scenario.clusters.len(), staleness.rounds);
        if staleness.per_pair {
            for i in 0..ages.size() {
                ages.row_mut(i).fill_with(|| self.age.random_range(0..=staleness.rounds));
            }
        }
        ages
    }
}

fn log_normal(rng: &mut ChaCha8Rng, sigma: f64) -> f64 {
    if sigma <= 0.0 {
        return 1.0;
    }
    let (least, most) = LOG_NORMAL;
    (sigma * rng.sample::<f64, _>(StandardNormal)).exp().clamp(least, most)
}

fn burst(rng: &mut ChaCha8Rng, noise: &Noise) -> f64 {
    let hit = happens(rng, noise.demand_pareto_prob);
    let size = pareto(rng, noise.demand_pareto_alpha);
    if hit { (1.0 + BURST_SCALE * size).min(MAX_BURST_FACTOR) } else { 1.0 }
}

fn spike_ms(rng: &mut ChaCha8Rng, noise: &Noise) -> f64 {
    if noise.rtt_spike_prob <= 0.0 {
        return 0.0;
    }
    let hit = happens(rng, noise.rtt_spike_prob);
    let size = pareto(rng, noise.rtt_spike_alpha);
    if hit { (noise.rtt_spike_ms * (size + MIN_SPIKE)).min(MAX_SPIKE_MS) } else { 0.0 }
}

fn happens(rng: &mut ChaCha8Rng, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

/// Draws from the Lomax distribution, which is Pareto from 0 on, by inversion: P(X > x) = (1 + x)^−α.
fn pareto(rng: &mut ChaCha8Rng, alpha: f64) -> f64 {
    (1.0 - rng.random::<f64>()).powf(-1.0 / alpha) - 1.0
}
