//! `exp` and `ln` from additions and multiplications alone.
//!
//! Every agent must compute the same shares from the same facts. The agents of a fleet run on different processors and
//! C libraries, whose `exp` differ in the last bit. IEEE 754 fixes addition, multiplication, division and the square
//! root, so functions built from them agree everywhere. Without a branch they can also be vectorized, and are faster: a
//! small problem spends most of its time here.

use std::f64::consts::{LN_2, LOG2_E, SQRT_2};

/// Exponent below which a share is 0: adding e⁻⁴⁰ to 1 changes no bit.
const VANISHES: f64 = -40.0;

/// Adding this pushes the fraction of a number out of its mantissa and leaves the nearest integer, in the lowest bits.
const TO_INTEGER: f64 = 1.5 * (1_u64 << 52) as f64;

/// The upper bits of ln 2, so that a small integer times it is exact, and the rest.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

const EXPONENT_BITS: u32 = 52;
const EXPONENT_BIAS: u64 = 1023;

/// 1/13!, 1/12!, … 1/0!: the Taylor series, which is exact to the last bit or two for |r| ≤ ln 2 / 2.
const TAYLOR: [f64; 14] = [
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];

/// Returns eˣ for x ≤ 0, and 0 below [`VANISHES`].
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    let shifted = x * LOG2_E + TO_INTEGER;
    let whole = shifted - TO_INTEGER;
    let rest = (x - whole * LN_2_HIGH) - whole * LN_2_LOW;
    let series = TAYLOR.iter().fold(0.0, |sum, term| sum * rest + term);
    let power_of_two =
        f64::from_bits((shifted.to_bits() << EXPONENT_BITS).wrapping_add(EXPONENT_BIAS << EXPONENT_BITS));
    if x < VANISHES { 0.0 } else { series * power_of_two }
}

/// Returns ln x for a positive, normal x: x = m·2ᵏ with m around 1, and ln m = 2 artanh((m−1)/(m+1)).
pub(super) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mantissa = f64::from_bits((bits & ((1 << EXPONENT_BITS) - 1)) | (EXPONENT_BIAS << EXPONENT_BITS));
    let exponent = f64::from(u32::try_from(bits >> EXPONENT_BITS).unwrap_or(0)) - 1023.0;
    let (m, k) = if mantissa > SQRT_2 { (mantissa / 2.0, exponent + 1.0) } else { (mantissa, exponent) };
    let s = (m - 1.0) / (m + 1.0);
    let series = (0..12).rev().fold(0.0, |sum, n| sum * s * s + 1.0 / f64::from(2 * n + 1));
    k * LN_2 + 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_ln_agree_with_the_library_to_the_last_bits() {
        for i in 0..=40_000 {
            let x = -f64::from(i) / 1000.0;
            let (ours, theirs) = (exp(x), x.exp());
            assert!((ours - theirs).abs() <= 4.0 * f64::EPSILON * theirs, "exp({x}) = {ours}, not {theirs}");
        }
        for i in 1..=40_000 {
            for x in [f64::from(i) / 1000.0, 1.0 / f64::from(i), 1e9 / f64::from(i)] {
                let (ours, theirs) = (ln(x), x.ln());
                assert!((ours - theirs).abs() <= 4.0 * f64::EPSILON * theirs.abs().max(0.1), "ln({x}) = {ours}");
            }
        }
    }

    #[test]
    fn exp_below_the_limit_is_zero() {
        assert_eq!(exp(0.0).to_bits(), 1.0_f64.to_bits());
        assert!(exp(-40.0) > 0.0);
        for x in [-40.001, -1e9, -1e300, f64::NEG_INFINITY] {
            assert_eq!(exp(x).to_bits(), 0, "{x}");
        }
    }
}
