//! Bias, ReLU and dropout after the matrix product, and their backward; and what a constant that is added to each
//! input adds.

use crate::ops::lanes;
use crate::simd::vectorized;
use crate::tasks::each;

use super::Activation;
use crate::ops::dropout::cpu::Mask;

/// Rows are shared between threads from this many values on.
const PARALLEL_FROM: usize = 1 << 16;
/// Rows of a matrix that one thread takes at a time.
const ROWS: usize = 64;

/// `y = activation(y + bias)` in place; `y` is `(N, O)`, the rows of a batch from `first_row` on.
pub(crate) fn finish(y: &mut [f32], bias: &[f32], activation: Activation, first_row: usize) {
    let n_out = bias.len().max(1);
    let rows = y.len() / n_out;
    let min_rows = if y.len() < PARALLEL_FROM { rows.max(1) } else { rows.div_ceil(8) };
    each(y.chunks_mut(n_out * min_rows), |rows| {
        vectorized(
            #[inline(always)]
            || {
                for row in rows.chunks_exact_mut(n_out) {
                    bias_and_relu(row, bias, activation);
                }
            },
        );
    });
    if let Activation::ReluDropout { p, stream } = activation {
        Mask::new(p, stream).apply(first_row * n_out, y);
    }
}

#[inline(always)]
fn bias_and_relu(row: &mut [f32], bias: &[f32], activation: Activation) {
    if activation == Activation::Identity {
        for (y, b) in row.iter_mut().zip(bias) {
            *y += b;
        }
    } else {
        for (y, b) in row.iter_mut().zip(bias) {
            *y = (*y + b).max(0.0);
        }
    }
}

/// From the gradient of the output to that of `x Wᵀ + b`, in place, and its sum over the batch. `y`
/// is the output, where a ReLU made it, and `scale` what dropout multiplied by.
///
/// A positive output means that ReLU let the value pass and dropout kept it: no mask is stored.
pub(crate) fn undo(grad: &mut [f32], y: Option<&[f32]>, n_out: usize, scale: f32) -> Vec<f32> {
    let mut sums = vec![0.0; n_out];
    vectorized(
        #[inline(always)]
        || {
            for (i, g) in grad.chunks_exact_mut(n_out).enumerate() {
                if let Some(y) = y {
                    for (g, y) in g.iter_mut().zip(&y[i * n_out..]) {
                        // Multiplied always: what is chosen by a branch is not computed in vectors.
                        let scaled = *g * scale;
                        *g = if *y > 0.0 { scaled } else { 0.0 };
                    }
                }
                for (sum, g) in sums.iter_mut().zip(&*g) {
                    *sum += g;
                }
            }
        },
    );
    sums
}

/// Adds `scale` times the sum of each row of `matrix` to a value of `to`.
pub(crate) fn add_row_sums(to: &mut [f32], matrix: &[f32], scale: f32) {
    let len = (matrix.len() / to.len().max(1)).max(1);
    let rows = matrix.chunks(len * ROWS).zip(to.chunks_mut(ROWS));
    each(rows, |(rows, to)| {
        vectorized(
            #[inline(always)]
            || {
                for (row, to) in rows.chunks_exact(len).zip(to) {
                    *to += scale * lanes::sum([row], |[value]| value);
                }
            },
        );
    });
}

/// Adds `scale` times each of `values` to a row of `matrix`.
pub(crate) fn add_to_rows(matrix: &mut [f32], values: &[f32], scale: f32) {
    let len = (matrix.len() / values.len().max(1)).max(1);
    let rows = matrix.chunks_mut(len * ROWS).zip(values.chunks(ROWS));
    each(rows, |(rows, values)| {
        vectorized(
            #[inline(always)]
            || {
                for (row, value) in rows.chunks_exact_mut(len).zip(values) {
                    let added = scale * value;
                    row.iter_mut().for_each(|to| *to += added);
                }
            },
        );
    });
}
