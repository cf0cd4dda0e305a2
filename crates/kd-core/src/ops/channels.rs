//! Arithmetic on activations whose channels are contiguous: biases, sums, ReLU.

use rayon::prelude::*;

use crate::simd::vectorized;

/// Values that one task takes.
pub(super) const TASK: usize = 1 << 16;

/// The same in whole rows of `n_channels` values.
pub(super) fn task_len(n_channels: usize) -> usize {
    (TASK / n_channels.max(1)).max(1) * n_channels.max(1)
}

/// `row = relu?(row + shift + residual)`, in place, row by row of `n_channels` values.
pub(crate) fn finish(
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

/// `grad = 0` where the ReLU's output `y` is not positive; for loops that are vectorized.
#[inline(always)]
pub(super) fn mask(grad: &mut [f32], y: &[f32]) {
    for (g, y) in grad.iter_mut().zip(y) {
        *g = if *y > 0.0 { *g } else { 0.0 };
    }
}

/// The gradient before a ReLU whose output is `y`, in place; the derivative at 0 is 0, as in
/// PyTorch.
pub(crate) fn through_relu(grad: &mut [f32], y: &[f32]) {
    grad.par_chunks_mut(TASK).zip(y.par_chunks(TASK)).for_each(|(grad, y)| {
        vectorized(
            #[inline(always)]
            || mask(grad, y),
        );
    });
}

/// Sum over rows of `n_channels` values.
pub(crate) fn sums(rows: &[f32], n_channels: usize) -> Vec<f32> {
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
    parts.collect::<Vec<_>>().iter().fold(vec![0.0; n_channels], |mut total, part| {
        total.iter_mut().zip(part).for_each(|(total, sum)| *total += sum);
        total
    })
}
