//! The transforms of F(4x4, 3x3), in one direction and in both.
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

/// A linear map of vectors in one direction. A trait, not a function that is passed: the compiler inlines
/// it, and only then compiles it for the processor's vectors.
pub(super) trait Transform<const FROM: usize, const TO: usize> {
    fn apply<S: Simd>(simd: S, values: [S::f32s; FROM]) -> [S::f32s; TO];
}

/// Inputs `d` at the points: `B^T d`.
pub(super) struct Inputs;

impl Transform<IN, IN> for Inputs {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, d: [S::f32s; IN]) -> [S::f32s; IN] {
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
}

/// Outputs from the products `m` at the points: `A^T m`.
pub(super) struct Outputs;

impl Transform<IN, OUT> for Outputs {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, m: [S::f32s; IN]) -> [S::f32s; OUT] {
        let (sum_a, odd_a) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
        let (sum_b, odd_b) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
        [
            simd.add_f32s(m[0], simd.add_f32s(sum_a, sum_b)),
            add(simd, A, odd_a, times(simd, B, odd_b)),
            add(simd, A2, sum_a, times(simd, B2, sum_b)),
            add(simd, A2 * A, odd_a, add(simd, B2 * B, odd_b, m[5])),
        ]
    }
}

/// Gradients `y` of outputs at the points: `A y`.
pub(super) struct OutputGradients;

impl Transform<OUT, IN> for OutputGradients {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, y: [S::f32s; OUT]) -> [S::f32s; IN] {
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
}

/// Weights `g` at the points: `G g`.
pub(super) struct Weights;

impl Transform<TAPS, IN> for Weights {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, g: [S::f32s; TAPS]) -> [S::f32s; IN] {
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
}

/// Gradients of weights from those at the points: `G^T s`.
pub(super) struct WeightGradients;

impl Transform<IN, TAPS> for WeightGradients {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, s: [S::f32s; IN]) -> [S::f32s; TAPS] {
        let (sum_a, odd_a) = (simd.add_f32s(s[1], s[2]), simd.sub_f32s(s[1], s[2]));
        let (sum_b, odd_b) = (simd.add_f32s(s[3], s[4]), simd.sub_f32s(s[3], s[4]));
        [
            add(simd, AT_0, s[0], add(simd, AT_A, sum_a, times(simd, AT_B, sum_b))),
            add(simd, AT_A * A, odd_a, times(simd, AT_B * B, odd_b)),
            add(simd, AT_A * A2, sum_a, add(simd, AT_B * B2, sum_b, s[5])),
        ]
    }
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

/// `T` in both directions. The value in row `y` and column `x` lies `y * strides[0] + x *
/// strides[1]` behind the first; of the results only those in the first `size` rows and columns are
/// written.
///
/// # Safety
/// All values that are read or written lie where this says.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "an iterator would take the values' address")]
#[expect(unsafe_code, reason = "bounds checks would cost more than the arithmetic")]
pub(super) unsafe fn square<S: Simd, T: Transform<FROM, TO>, const FROM: usize, const TO: usize>(
    simd: S,
    (from, strides): (*const f32, [usize; 2]),
    (to, to_strides): (*mut f32, [usize; 2]),
    size: [usize; 2],
) {
    let mut half = [[simd.splat_f32s(0.0); TO]; FROM];
    for x in 0..FROM {
        let mut column = [simd.splat_f32s(0.0); FROM];
        for y in 0..FROM {
            // SAFETY: asked of the caller.
            column[y] = unsafe { read::<S>(from.add(y * strides[0] + x * strides[1])) };
        }
        half[x] = T::apply(simd, column);
    }
    for y in 0..TO {
        let mut row = [simd.splat_f32s(0.0); FROM];
        for x in 0..FROM {
            row[x] = half[x][y];
        }
        let values = T::apply(simd, row);
        for x in 0..TO {
            if y < size[0] && x < size[1] {
                // SAFETY: asked of the caller.
                unsafe { write::<S>(to.add(y * to_strides[0] + x * to_strides[1]), values[x]) };
            }
        }
    }
}

/// # Safety
/// A vector lies at `from`.
#[inline(always)]
#[expect(unsafe_code, reason = "vectors lie anywhere")]
pub(super) unsafe fn read<S: Simd>(from: *const f32) -> S::f32s {
    // SAFETY: asked of the caller.
    unsafe { from.cast::<S::f32s>().read_unaligned() }
}

/// # Safety
/// A vector lies at `to`.
#[inline(always)]
#[expect(unsafe_code, reason = "vectors lie anywhere")]
pub(super) unsafe fn write<S: Simd>(to: *mut f32, value: S::f32s) {
    // SAFETY: asked of the caller.
    unsafe { to.cast::<S::f32s>().write_unaligned(value) }
}
