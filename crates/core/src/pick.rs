//! From shares and a number to one of them.
//!
//! The numbers are the multiples of the golden ratio, modulo 1: any run of them, however short, falls into every
//! interval nearly as often as its length says, whatever the intervals are. So answers follow the weights as smoothly as
//! a weighted round-robin does, without a state that is mutated under a lock, or that must be reset when weights change.

use std::sync::atomic::{AtomicU64, Ordering};

/// 2⁶⁴ / φ, the step between two points.
const GOLDEN_STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The points of one service, shared by all threads of a replica. A replica adds a random offset of its own.
#[derive(Debug, Default)]
pub struct Sequence(AtomicU64);

impl Sequence {
    /// A point is a fraction of 2⁶⁴.
    pub fn next_point(&self) -> u64 {
        self.0.fetch_add(GOLDEN_STEP, Ordering::Relaxed)
    }
}

/// Points that follow each other in a [`Sequence`] fall into runs of 128. The answer is the same for all points of a run
/// and has nothing to do with those of other runs, whatever offset was added to the sequence.
///
/// A client asks for A and AAAA one right after the other, and so gets points of one run, but for one time in a hundred.
pub fn run_of(point: u64) -> u64 {
    scatter(point.wrapping_mul(inverse(GOLDEN_STEP)) >> 7)
}

/// The number that `odd` times which is 1, modulo 2⁶⁴ (Newton: each step doubles the bits that are right, from 3 on).
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut bits = 3;
    while bits < u64::BITS {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

/// Weights, ready to be drawn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draw {
    /// Where the interval of each weight ends; the last one is the total.
    ends: Box<[u32]>,
}

/// What a draw hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// Which of the weights.
    pub index: usize,
    /// Where within its interval, as a fraction of 2⁶⁴: a point for the next level.
    pub point: u64,
}

impl Draw {
    /// `None` when there is nothing to draw: the weights add up to 0.
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Option<Self> {
        let mut total = 0_u32;
        let mut end = |weight: u32| {
            total = total.saturating_add(weight);
            total
        };
        let ends: Box<[u32]> = weights.into_iter().map(&mut end).collect();
        (total > 0).then_some(Self { ends })
    }

    /// Never hits a weight of 0.
    pub fn hit(&self, point: u64) -> Hit {
        let total = self.ends.last().copied().unwrap_or(0);
        let (whole, rest) = scale(point, u64::from(total));
        let index = self.ends.partition_point(|&end| u64::from(end) <= whole);
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let within = (u128::from(whole - u64::from(start)) << 64) + u128::from(rest);
        let width = u128::from(self.ends[index] - start);
        Hit { index, point: u64::try_from(within / width).unwrap_or(u64::MAX) }
    }
}

/// `point`, a fraction of 2⁶⁴, times `total`: the whole part, below `total`, and the fraction that is left.
#[expect(clippy::cast_possible_truncation, reason = "the upper and the lower half of 128 bits")]
pub fn scale(point: u64, total: u64) -> (u64, u64) {
    let scaled = u128::from(point) * u128::from(total);
    ((scaled >> 64) as u64, scaled as u64)
}

/// Which of `count` equally likely things a point falls on. `count` must not be 0.
#[expect(clippy::cast_possible_truncation, reason = "below a count, which is a usize")]
pub fn index_of(point: u64, count: usize) -> usize {
    scale(point, count as u64).0 as usize
}

/// A point that has nothing to do with `point`, for the draws that follow the first one of an answer (SplitMix64's
/// finaliser).
pub fn scatter(point: u64) -> u64 {
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
        let draw = Draw::new(weights).unwrap();
        let sequence = Sequence::default();
        for run in [100_u32, 1_000, 10_000] {
            let mut hits = [0_u32; 4];
            (0..run).for_each(|_| hits[draw.hit(sequence.next_point()).index] += 1);
            for (hits, weight) in hits.iter().zip(weights) {
                let expected = f64::from(weight) / 1000.0 * f64::from(run);
                assert!((f64::from(*hits) - expected).abs() <= 4.0, "{hits} of {run}, expected {expected}");
            }
        }
    }

    #[test]
    fn points_in_a_row_belong_to_one_run_of_128() {
        assert_eq!(GOLDEN_STEP.wrapping_mul(inverse(GOLDEN_STEP)), 1);
        for offset in [0, 0x1234_5678_9ABC_DEF0, u64::MAX] {
            let sequence = Sequence::default();
            let runs: Vec<u64> = (0..1280).map(|_| run_of(sequence.next_point().wrapping_add(offset))).collect();
            let changes = runs.windows(2).filter(|pair| pair[0] != pair[1]).count();
            assert!((9..=10).contains(&changes), "{changes} changes in 1280 points");
        }
    }

    #[test]
    fn a_weight_of_zero_is_never_hit_and_no_weights_make_no_draw() {
        let draw = Draw::new([0, 1, 0]).unwrap();
        for point in [0, 1, u64::MAX / 2, u64::MAX] {
            assert_eq!(draw.hit(point).index, 1);
        }
        assert_eq!(Draw::new([0, 0]), None);
        assert_eq!(Draw::new([]), None);
    }

    #[test]
    fn the_point_within_an_interval_covers_all_of_it() {
        let draw = Draw::new([1, 3]).unwrap();
        assert_eq!(draw.hit(0), Hit { index: 0, point: 0 });
        assert_eq!(draw.hit(1 << 62), Hit { index: 1, point: 0 });
        assert!(draw.hit(u64::MAX).point > u64::MAX - 8);
        assert_eq!((index_of(0, 3), index_of(1 << 63, 3), index_of(u64::MAX, 3)), (0, 1, 2));
    }
}
