//! The transforms of F(4x4, 3x3), one direction at a time.
//!
//! Polynomials are compared at 0, ±5/8, ±3/2 and infinity. All factors but the weights' are exact
//! in f32, and the error of a sum is half of that at the usual points 0, ±1, ±2 and infinity.

use pulp::Simd;

/// Outputs of a tile, in each direction.
pub(super) const OUT: usize = 4;
/// Inputs of a tile, and points at which polynomials are compared, in each direction.
pub(super) const IN: usize = 6;
/// Points in both directions.
pub(super) const POINTS: usize = IN * IN;
/// Taps of the window, in each direction.
pub(super) const TAPS: usize = 3;

const A: f64 = 0.625;
const B: f64 = 1.5;
const A2: f64 = A * A;
const B2: f64 = B * B;
/// Factors of the weights at the points 0, ±A and ±B.
const AT_0: f64 = 1.0 / (A2 * B2);
const AT_A: f64 = 1.0 / (2.0 * A2 * (A2 - B2));
const AT_B: f64 = 1.0 / (2.0 * B2 * (B2 - A2));

/// Inputs `d` at the points: `B^T d`.
#[inline(always)]
pub(super) fn inputs<S: Simd>(simd: S, d: [S::f32s; IN]) -> [S::f32s; IN] {
    let (even_a, odd_a) = (add(simd, -B2, d[2], d[4]), add(simd, -B2, d[1], d[3]));
    let (even_b, odd_b) = (add(simd, -A2, d[2], d[4]), add(simd, -A2, d[1], d[3]));
    [
        add(simd, A2 * B2, d[0], add(simd, -A2 - B2, d[2], d[4])),
        add(simd, A, odd_a, even_a),
        add(simd, -A, odd_a, even_a),
        add(simd, B, odd_b, even_b),
        add(simd, -B, odd_b, even_b),
        add(simd, A2 * B2, d[1], add(simd, -A2 - B2, d[3], d[5])),
    ]
}

/// Outputs from the products `m` at the points: `A^T m`.
#[inline(always)]
pub(super) fn outputs<S: Simd>(simd: S, m: [S::f32s; IN]) -> [S::f32s; OUT] {
    let (sum_a, odd_a) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (sum_b, odd_b) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    [
        simd.add_f32s(m[0], simd.add_f32s(sum_a, sum_b)),
        add(simd, A, odd_a, times(simd, B, odd_b)),
        add(simd, A2, sum_a, times(simd, B2, sum_b)),
        add(simd, A2 * A, odd_a, add(simd, B2 * B, odd_b, m[5])),
    ]
}

/// Gradients `y` of outputs at the points: `A y`.
#[inline(always)]
pub(super) fn output_gradients<S: Simd>(simd: S, y: [S::f32s; OUT]) -> [S::f32s; IN] {
    let (even_a, odd_a) = (add(simd, A2, y[2], y[0]), add(simd, A2, y[3], y[1]));
    let (even_b, odd_b) = (add(simd, B2, y[2], y[0]), add(simd, B2, y[3], y[1]));
    [
        y[0],
        add(simd, A, odd_a, even_a),
        add(simd, -A, odd_a, even_a),
        add(simd, B, odd_b, even_b),
        add(simd, -B, odd_b, even_b),
        y[3],
    ]
}

/// Weights `g` at the points: `G g`.
#[inline(always)]
pub(super) fn weights<S: Simd>(simd: S, g: [S::f32s; TAPS]) -> [S::f32s; IN] {
    let even_a = times(simd, AT_A, add(simd, A2, g[2], g[0]));
    let even_b = times(simd, AT_B, add(simd, B2, g[2], g[0]));
    [
        times(simd, AT_0, g[0]),
        add(simd, AT_A * A, g[1], even_a),
        add(simd, -AT_A * A, g[1], even_a),
        add(simd, AT_B * B, g[1], even_b),
        add(simd, -AT_B * B, g[1], even_b),
        g[2],
    ]
}

/// Gradients of weights from those at the points: `G^T s`.
#[inline(always)]
pub(super) fn weight_gradients<S: Simd>(simd: S, s: [S::f32s; IN]) -> [S::f32s; TAPS] {
    let (sum_a, odd_a) = (simd.add_f32s(s[1], s[2]), simd.sub_f32s(s[1], s[2]));
    let (sum_b, odd_b) = (simd.add_f32s(s[3], s[4]), simd.sub_f32s(s[3], s[4]));
    [
        add(simd, AT_0, s[0], add(simd, AT_A, sum_a, times(simd, AT_B, sum_b))),
        add(simd, AT_A * A, odd_a, times(simd, AT_B * B, odd_b)),
        add(simd, AT_A * A2, sum_a, add(simd, AT_B * B2, sum_b, s[5])),
    ]
}

/// `factor * x + to`.
#[inline(always)]
fn add<S: Simd>(simd: S, factor: f64, x: S::f32s, to: S::f32s) -> S::f32s {
    simd.mul_add_f32s(simd.splat_f32s(factor as f32), x, to)
}

#[inline(always)]
fn times<S: Simd>(simd: S, factor: f64, x: S::f32s) -> S::f32s {
    simd.mul_f32s(simd.splat_f32s(factor as f32), x)
}
