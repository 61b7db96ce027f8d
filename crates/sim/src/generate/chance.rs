//! Random numbers, rounded as a user would write them.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// A random number generator.
pub(super) struct Chance(ChaCha8Rng);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Returns true with a probability.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    /// Returns a number in a range, with `digits` decimals.
    pub(super) fn between(&mut self, min: f64, max: f64, digits: i32) -> f64 {
        rounded(min + (max - min) * self.0.random::<f64>(), digits)
    }

    /// Returns a whole number in a range, both ends included.
    pub(super) fn count(&mut self, min: usize, max: usize) -> usize {
        self.0.random_range(min..=max.max(min))
    }

    /// Picks an element. Returns `None` if there is none.
    pub(super) fn one_of<T: Clone>(&mut self, elements: &[T]) -> Option<T> {
        if elements.is_empty() {
            return None;
        }
        Some(elements[self.0.random_range(0..elements.len())].clone())
    }

    /// Picks up to `how_many` different elements, in random order.
    pub(super) fn some_of<T: Clone>(&mut self, elements: &[T], how_many: usize) -> Vec<T> {
        let mut left = elements.to_vec();
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
