//! Arithmetic on activations whose channels are contiguous: biases, sums, ReLU.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use crate::simd::vectorized;

use super::slices;

/// Values that one task takes.
pub(super) const TASK: usize = 1 << 16;

/// The same in whole rows of `n_channels` values.
pub(super) fn task_len(n_channels: usize) -> usize {
    (TASK / n_channels.max(1)).max(1) * n_channels.max(1)
}

/// `row = relu?(row + shift + residual)`, in place, row by row of `n_channels` values.
pub(super) fn finish(
    rows: &mut [f32],
    n_channels: usize,
    shift: Option<&[f32]>,
    residual: Option<&[f32]>,
    relu: bool,
) {
    vectorized(
        #[inline(always)]
        || {
            if let Some(shift) = shift {
                for row in rows.chunks_exact_mut(n_channels) {
                    for (y, b) in row.iter_mut().zip(shift) {
                        *y += b;
                    }
                }
            }
            if let Some(residual) = residual {
                for (y, r) in rows.iter_mut().zip(residual) {
                    *y += r;
                }
            }
            if relu {
                for y in rows {
                    *y = y.max(0.0);
                }
            }
        },
    );
}

/// `to = grad` where the ReLU's output `y` is positive, else 0; for loops that are vectorized.
#[inline(always)]
pub(super) fn mask(to: &mut [f32], grad: &[f32], y: &[f32]) {
    for ((to, g), y) in to.iter_mut().zip(grad).zip(y) {
        *to = if *y > 0.0 { *g } else { 0.0 };
    }
}

/// The gradient before a ReLU whose output is `y`; the derivative at 0 is 0, as in PyTorch.
pub(super) fn through_relu(grad: &Tensor, y: &Tensor) -> Result<Tensor> {
    let mut g = vec![0.0; grad.elem_count()];
    slices::with(grad, |grad| {
        slices::with(y, |y| {
            let tasks = g.par_chunks_mut(TASK).zip(grad.par_chunks(TASK)).zip(y.par_chunks(TASK));
            tasks.for_each(|((g, grad), y)| {
                vectorized(
                    #[inline(always)]
                    || mask(g, grad, y),
                );
            });
            Ok(())
        })
    })?;
    Tensor::from_vec(g, grad.shape(), grad.device())
}

/// Sum over all but the last dimension: `(.., C)` -> `(C,)`.
pub(super) fn sums(rows: &Tensor) -> Result<Tensor> {
    let n_channels = rows.dims().last().copied().unwrap_or(1);
    let sums = slices::with(rows, |rows| {
        let parts = rows.par_chunks(task_len(n_channels)).map(|rows| {
            let mut sums = vec![0.0; n_channels];
            vectorized(
                #[inline(always)]
                || {
                    for row in rows.chunks_exact(n_channels) {
                        for (sum, v) in sums.iter_mut().zip(row) {
                            *sum += v;
                        }
                    }
                },
            );
            sums
        });
        // Added in the order of the rows, whichever thread made them.
        Ok(parts.collect::<Vec<_>>().iter().fold(vec![0.0; n_channels], |mut total, part| {
            total.iter_mut().zip(part).for_each(|(total, sum)| *total += sum);
            total
        }))
    })?;
    Tensor::from_vec(sums, n_channels, rows.device())
}
