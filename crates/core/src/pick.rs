//! Weighted selection by a low-discrepancy sequence.
//!
//! The points are the multiples of the golden ratio, modulo 1. Any number of consecutive points, however few, falls
//! into every interval nearly in proportion to its length. So answers follow the weights as smoothly as weighted round
//! robin, without state that is mutated under a lock or reset when weights change.

use std::sync::atomic::{AtomicU64, Ordering};

/// Step between two points: 2⁶⁴ / φ.
const GOLDEN_STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Sequence of points of one service, shared by all threads of a replica. Each replica adds a random offset of its own.
#[derive(Debug, Default)]
pub struct Sequence(AtomicU64);

impl Sequence {
    /// Returns the next point, a fraction of 2⁶⁴.
    pub fn next_point(&self) -> u64 {
        self.0.fetch_add(GOLDEN_STEP, Ordering::Relaxed)
    }
}

/// Returns the id of the block of 128 consecutive points of a [`Sequence`] that contains `point`. Ids of different
/// blocks are unrelated, whatever offset was added to the sequence.
///
/// A client that queries A and AAAA one right after the other gets two points of one block in 99 of 100 cases.
pub fn block_of(point: u64) -> u64 {
    mix(point.wrapping_mul(inverse(GOLDEN_STEP)) >> 7)
}

/// Returns the inverse of `odd` modulo 2⁶⁴ (Newton: each step doubles the number of correct bits, from 3 on).
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut bits = 3;
    while bits < u64::BITS {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

/// Weights as a cumulative distribution, to draw from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedTable {
    /// End of the interval of each weight; the last one is the total.
    ends: Box<[u32]>,
}

/// Result of a draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    /// Index of the weight.
    pub index: usize,
    /// Position within the interval of the weight, as a fraction of 2⁶⁴: a point for the next level.
    pub point: u64,
}

impl WeightedTable {
    /// Returns `None` if the weights add up to 0.
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Option<Self> {
        let mut total = 0_u32;
        let mut end = |weight: u32| {
            total = total.saturating_add(weight);
            total
        };
        let ends: Box<[u32]> = weights.into_iter().map(&mut end).collect();
        (total > 0).then_some(Self { ends })
    }

    /// Draws a weight in proportion to its size, and never one of 0.
    pub fn draw(&self, point: u64) -> Drawn {
        let total = self.ends.last().copied().unwrap_or(0);
        let (whole, rest) = scale(point, u64::from(total));
        let index = self.ends.partition_point(|&end| u64::from(end) <= whole);
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let within = (u128::from(whole - u64::from(start)) << 64) + u128::from(rest);
        let width = u128::from(self.ends[index] - start);
        Drawn { index, point: u64::try_from(within / width).unwrap_or(u64::MAX) }
    }
}

/// Multiplies `point`, a fraction of 2⁶⁴, by `total`. Returns the whole part, below `total`, and the fraction that is
/// left.
#[expect(clippy::cast_possible_truncation, reason = "the upper and the lower half of 128 bits")]
pub fn scale(point: u64, total: u64) -> (u64, u64) {
    let scaled = u128::from(point) * u128::from(total);
    ((scaled >> 64) as u64, scaled as u64)
}

/// Returns the index, out of `count` equally likely ones, that a point falls on. `count` must not be 0.
#[expect(clippy::cast_possible_truncation, reason = "below a count, which is a usize")]
pub fn index_of(point: u64, count: usize) -> usize {
    scale(point, count as u64).0 as usize
}

/// Returns a point unrelated to `point`, for the draws after the first one of an answer (the finalizer of SplitMix64).
pub fn mix(point: u64) -> u64 {
    let mut z = point.wrapping_add(GOLDEN_STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_weights_to_a_few_parts_in_any_run() {
        let weights = [500, 333, 0, 167];
        let table = WeightedTable::new(weights).unwrap();
        let sequence = Sequence::default();
        for run in [100_u32, 1_000, 10_000] {
            let mut hits = [0_u32; 4];
            (0..run).for_each(|_| hits[table.draw(sequence.next_point()).index] += 1);
            for (hits, weight) in hits.iter().zip(weights) {
                let expected = f64::from(weight) / 1000.0 * f64::from(run);
                assert!((f64::from(*hits) - expected).abs() <= 4.0, "{hits} of {run}, expected {expected}");
            }
        }
    }

    #[test]
    fn consecutive_points_share_a_block_of_128() {
        assert_eq!(GOLDEN_STEP.wrapping_mul(inverse(GOLDEN_STEP)), 1);
        for offset in [0, 0x1234_5678_9ABC_DEF0, u64::MAX] {
            let sequence = Sequence::default();
            let blocks: Vec<u64> = (0..1280).map(|_| block_of(sequence.next_point().wrapping_add(offset))).collect();
            let changes = blocks.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert!((9..=10).contains(&changes), "{changes} changes in 1280 points");
        }
    }

    #[test]
    fn weight_of_zero_is_never_drawn_and_no_weights_make_no_table() {
        let table = WeightedTable::new([0, 1, 0]).unwrap();
        for point in [0, 1, u64::MAX / 2, u64::MAX] {
            assert_eq!(table.draw(point).index, 1);
        }
        assert_eq!(WeightedTable::new([0, 0]), None);
        assert_eq!(WeightedTable::new([]), None);
    }

    #[test]
    fn the_point_within_an_interval_covers_all_of_it() {
        let table = WeightedTable::new([1, 3]).unwrap();
        assert_eq!(table.draw(0), Drawn { index: 0, point: 0 });
        assert_eq!(table.draw(1 << 62), Drawn { index: 1, point: 0 });
        assert!(table.draw(u64::MAX).point > u64::MAX - 8);
        assert_eq!((index_of(0, 3), index_of(1 << 63, 3), index_of(u64::MAX, 3)), (0, 1, 2));
    }
}
