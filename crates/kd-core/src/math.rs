//! Functions for loops that are vectorized: branch-free, so that they are computed for a whole SIMD
//! register at a time, and the same bits at every vector width.

/// `e^x` for x in `[-87, 88]`, within 2 units in the last place (Cephes' expf).
#[inline(always)]
pub fn exp_in_range(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 * 2^23 rounds to the nearest integer, which the last bits then are.
    const ROUND: f32 = 12_582_912.0;
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    (p * r * r + r + 1.0) * power
}

/// `e^x` for `x <= 0`, as precise; 0 below -87.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let y = exp_in_range(if x > -87.0 { x } else { -87.0 });
    // NaN stays NaN: a diverged network must be seen.
    if x.is_nan() {
        x
    } else if x > -87.0 {
        y
    } else {
        0.0
    }
}

/// `1 / (1 + e^-x)`, without overflow and without cancellation on either side.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let small = exp(-x.abs());
    let numerator = if x < 0.0 { small } else { 1.0 };
    numerator / (1.0 + small)
}

/// The normal distribution function at `x`, and `e^(-x^2 / 2)`.
///
/// For `a >= 0`, `Phi(-a) = e^(-a^2 / 2) t Q(t)` with `t = 1 / (1 + 0.275 a)`: the form of Abramowitz
/// and Stegun's 7.1.26, with a polynomial of degree 8 whose greatest relative error, 4e-8, is below
/// f32's own. Other than `(1 + erf) / 2` it loses no digits where `x` is far below 0.
#[inline(always)]
pub(crate) fn normal(x: f32) -> (f32, f32) {
    const Q: [f32; 9] = [
        2.624_936_2e-2,
        -1.060_207_1e-1,
        1.201_824_4e-1,
        -2.334_408_3e-2,
        7.960_244e-2,
        8.260_222e-2,
        1.012_360_3e-1,
        1.097_894_8e-1,
        1.097_027_4e-1,
    ];
    let t = 1.0 / (1.0 + 0.275 * x.abs());
    let mut q = Q[0];
    for c in &Q[1..] {
        q = q * t + c;
    }
    let bell = exp(-0.5 * x * x);
    let below = q * t * bell;
    (if x < 0.0 { below } else { 1.0 - below }, bell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let want = f64::from(x).exp();
            let error = (f64::from(exp_in_range(x)) - want).abs() / want;
            assert!(error < 2.0 * f64::from(f32::EPSILON), "exp({x}): relative error {error}");
        }
        assert_eq!((exp(0.0), exp(-87.5), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sigmoid_is_within_four_units_in_the_last_place() {
        for i in -80_000..80_000 {
            let x = i as f32 * 1e-3;
            let want = 1.0 / (1.0 + f64::from(-x).exp());
            let error = (f64::from(sigmoid(x)) - want).abs() / want;
            assert!(error < 4.0 * f64::from(f32::EPSILON), "sigmoid({x}): relative error {error}");
        }
        assert_eq!((sigmoid(f32::INFINITY), sigmoid(f32::NEG_INFINITY)), (1.0, 0.0));
        assert!(sigmoid(f32::NAN).is_nan());
    }

    /// `e^(x^2 / 2) (Phi(x) - 1/2) sqrt(2 pi) = x + x^3 / 3 + x^5 / (3 5) + ..` (Marsaglia 2004).
    fn exact_normal(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for i in 1..400 {
            term *= x * x / f64::from(2 * i + 1);
            sum += term;
        }
        0.5 + sum * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "each is exact")]
    fn the_normal_distribution_keeps_its_digits_on_both_sides() {
        for i in -4000..8000 {
            let x = i as f32 * 1e-3;
            let want = exact_normal(f64::from(x));
            let error = (f64::from(normal(x).0) - want).abs() / want;
            assert!(error < 2e-6, "Phi({x}): relative error {error}");
        }
        // Phi(-10), from R's pnorm.
        let far = f64::from(normal(-10.0).0) / 7.619_853_024_160_527e-24;
        assert!((far - 1.0).abs() < 1e-5);
        assert_eq!(normal(f32::INFINITY).0, 1.0);
        assert_eq!(normal(f32::NEG_INFINITY).0, 0.0);
        assert!(normal(f32::NAN).0.is_nan());
    }
}
