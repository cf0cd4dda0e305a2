//! Products whose first operand is mostly zero, as ReLU and dropout leave activations and their gradients: of the
//! 1200 units of Hinton's first layer, a trained teacher uses 80 for a digit.
//!
//! Key decision: each element of C is the plain product's chain of multiply-adds without the terms that are zero.
//! These change no sum of finite numbers, so that it is the same bits, and may be chosen by what the operand happens
//! to hold.

use pulp::{Simd, WithSimd};

use super::lists::{Entry, Lists, MAX_PANELS, with_lists};
use super::pack::in_blocks;
use super::{Matrix, Out, TileWidth, store};
use crate::scratch::with_buffer;
use crate::simd::{constant, dispatch};

/// Fewer columns of the other operand do not repay the lists.
const MIN_COLS: usize = 24;
/// Fewer multiply-adds do not, either.
const MIN_WORK: usize = 1 << 18;
/// Rows and columns that are looked at to see how much of an operand is zero.
const SAMPLED: (usize, usize) = (16, 32);
/// A larger share of values other than zero costs as much as the plain product.
const WORTH_LISTING: f32 = 0.6;
/// What it costs to write C across its rows, as a share of the plain product.
const ACROSS: f32 = 0.1;

/// The operand whose zeros are left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum First {
    A,
    B,
}

/// The one with fewer values other than zero, if these are few enough.
pub(super) fn first(a: Matrix<'_>, b: Matrix<'_>) -> Option<First> {
    if a.size() * b.n_cols < MIN_WORK {
        return None;
    }
    let of_a = if b.n_cols < MIN_COLS { 1.0 } else { used(a) };
    let of_b = if a.n_rows < MIN_COLS { 1.0 } else { used(b.t()) + ACROSS };
    let (first, used) = if of_a <= of_b { (First::A, of_a) } else { (First::B, of_b) };
    (used < WORTH_LISTING).then_some(first)
}

/// The share of `a` that is not zero, by a sample.
fn used(a: Matrix<'_>) -> f32 {
    let spread = |n: usize, n_sampled| (0..n).step_by(n.div_ceil(n_sampled));
    let cols = spread(a.n_cols, SAMPLED.1);
    let n_used = |row| cols.clone().filter(|&col| a.at(row, col) != 0.0).count();
    let rows = spread(a.n_rows, SAMPLED.0);
    let n_sampled = rows.len() * cols.len();
    rows.map(n_used).sum::<usize>() as f32 / n_sampled as f32
}

/// The product, whatever `a` holds.
pub(super) fn run(a: Matrix<'_>, b: Matrix<'_>, out: Out) {
    with_lists(a, |lists| {
        let width = dispatch(TileWidth);
        let n_panels = b.n_cols.div_ceil(width);
        // One panel alone would wait for its sums: two in a block at least.
        let n_blocks = (n_panels.div_ceil(MAX_PANELS), n_panels.div_ceil(2));
        in_blocks(b, width, n_blocks, |panels, cols| {
            let n_waiting = if lists.n_parts > 1 { a.n_rows * panels.len() / b.n_rows } else { 0 };
            with_buffer(n_waiting, |waiting| {
                dispatch(Multiply { lists, panels, cols, waiting, out });
            });
        });
    });
}

/// At most [`MAX_PANELS`] panels of C, all rows.
struct Multiply<'a> {
    lists: &'a Lists,
    /// The columns `cols` of B.
    panels: &'a [f32],
    cols: (usize, usize),
    /// Sums that are not complete between two parts of the rows, if there are several.
    waiting: &'a mut [f32],
    out: Out,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let n_panels = (self.cols.1 - self.cols.0).div_ceil(2 * S::F32_LANES);
        constant!(P = n_panels, MAX_PANELS, {
            self.panels::<S, P>(simd);
        });
    }
}

impl Multiply<'_> {
    /// Part by part of the rows of B, which all rows of A find near.
    #[inline(always)]
    fn panels<S: Simd, const P: usize>(&mut self, simd: S) {
        let (n_rows, n_parts) = (self.lists.n_rows, self.lists.n_parts);
        let (waiting, _) = S::as_mut_simd_f32s(&mut *self.waiting);
        for part in 0..n_parts {
            for row in 0..n_rows {
                let list = self.lists.of(row, part);
                let mut sums = [[simd.splat_f32s(0.0); 2]; P];
                if part > 0 {
                    sums = std::array::from_fn(|p| {
                        [waiting[2 * (row * P + p)], waiting[2 * (row * P + p) + 1]]
                    });
                }
                let sums = add(simd, sums, list, self.panels, self.lists.n_cols);
                if part + 1 < n_parts {
                    waiting[2 * row * P..][..2 * P].copy_from_slice(sums.as_flattened());
                } else {
                    store_row(simd, self.out, sums, row, self.cols);
                }
            }
        }
    }
}

/// Writes a row of C, columns `cols`.
#[inline(always)]
fn store_row<S: Simd, const P: usize>(
    simd: S,
    out: Out,
    sums: [[S::f32s; 2]; P],
    row: usize,
    (first_col, end): (usize, usize),
) {
    let width = 2 * S::F32_LANES;
    for (p, sum) in sums.into_iter().enumerate() {
        let col = first_col + p * width;
        store(simd, out, sum, row, (col, width.min(end - col)));
    }
}

/// `sums` and what a part of a row of A gives with `P` panels of `inner` rows.
#[expect(clippy::needless_range_loop, reason = "an iterator would take the sums' address")]
#[inline(always)]
fn add<S: Simd, const P: usize>(
    simd: S,
    mut sums: [[S::f32s; 2]; P],
    list: &[Entry],
    panels: &[f32],
    inner: usize,
) -> [[S::f32s; 2]; P] {
    let (vectors, _) = S::as_simd_f32s(panels);
    assert!(vectors.len() == 2 * P * inner);
    for &(col, value) in list {
        let value = simd.splat_f32s(value);
        for p in 0..P {
            let at = 2 * (p * inner + col as usize);
            #[expect(unsafe_code, reason = "bounds checks would cost as much as the arithmetic")]
            // SAFETY: `Lists` has columns below `inner` only, and p < P, so that the assert bounds both.
            let [left, right] =
                unsafe { [*vectors.get_unchecked(at), *vectors.get_unchecked(at + 1)] };
            sums[p][0] = simd.mul_add_f32s(value, left, sums[p][0]);
            sums[p][1] = simd.mul_add_f32s(value, right, sums[p][1]);
        }
    }
    sums
}
