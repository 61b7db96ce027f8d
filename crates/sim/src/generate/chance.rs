//! Numbers as a person would have written them.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

pub(super) struct Chance(ChaCha8Rng);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(super) fn of(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    /// With so many digits after the point.
    pub(super) fn between(&mut self, least: f64, most: f64, digits: i32) -> f64 {
        rounded(least + (most - least) * self.0.random::<f64>(), digits)
    }

    pub(super) fn count(&mut self, least: usize, most: usize) -> usize {
        self.0.random_range(least..=most.max(least))
    }

    /// `None` of nothing.
    pub(super) fn one_of<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() {
            return None;
        }
        Some(of[self.0.random_range(0..of.len())].clone())
    }

    /// As many as there are, at most, each once, in random order.
    pub(super) fn some_of<T: Clone>(&mut self, of: &[T], how_many: usize) -> Vec<T> {
        let mut left = of.to_vec();
        let how_many = how_many.min(left.len());
        (0..how_many).map(|_| left.swap_remove(self.0.random_range(0..left.len()))).collect()
    }

    pub(super) fn normal(&mut self) -> f64 {
        self.0.sample(StandardNormal)
    }
}

pub(super) fn rounded(value: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (value * unit).round() / unit
}
