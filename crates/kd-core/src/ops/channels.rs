//! Arithmetic on activations whose channels are contiguous: biases, sums, clamps.
//!
//! Key decision: where channels are few, several rows are taken as one (`widened`). A loop over 16
//! values is all overhead, and a sum of 16 channels waits for itself in every row.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;

use rayon::prelude::*;

use crate::act::Clamp;
use crate::simd::vectorized;
use crate::tasks::each;

/// Values that one task takes.
pub(crate) const TASK: usize = 1 << 16;

/// The same in whole rows of `n_channels` values.
pub(crate) fn task_len(n_channels: usize) -> usize {
    (TASK / n_channels.max(1)).max(1) * n_channels.max(1)
}

/// Values that a loop over channels takes at least: eight vectors of sixteen.
const WIDE: usize = 128;

/// One value per channel, repeated for as many rows as are taken as one.
pub(crate) fn widened(per_channel: &[f32]) -> Vec<f32> {
    per_channel.repeat(WIDE.div_ceil(per_channel.len().max(1)))
}

/// Sums of several rows taken as one, for each channel.
pub(crate) fn narrowed(wide: &[f32], n_channels: usize) -> Vec<f32> {
    let mut rows = wide.chunks_exact(n_channels);
    let mut sums = rows.next().map_or(Vec::new(), <[f32]>::to_vec);
    rows.for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v));
    sums
}

/// `row = clamp(row + shift + residual)`, in place; `shift` has one value a channel.
pub(crate) fn finish(
    rows: &mut [f32],
    shift: Option<&[f32]>,
    residual: Option<&[f32]>,
    clamp: Clamp,
) {
    let shift = shift.map(widened);
    vectorized(
        #[inline(always)]
        || {
            if let Some(shift) = &shift {
                for row in rows.chunks_mut(shift.len()) {
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
            clamp.apply(rows);
        },
    );
}

/// `sum += values`.
pub(crate) fn add(sum: &mut [f32], values: &[f32]) {
    add_and_clamp(sum, values, Clamp::NONE);
}

/// `sum = clamp(sum + values)`.
pub(crate) fn add_and_clamp(sum: &mut [f32], values: &[f32], clamp: Clamp) {
    each(sum.chunks_mut(TASK).zip(values.chunks(TASK)), |(sum, values)| {
        finish(sum, None, Some(values), clamp);
    });
}

/// Sum over rows of `n_channels` values.
pub(crate) fn sums(rows: &[f32], n_channels: usize) -> Vec<f32> {
    let parts = rows.par_chunks(task_len(n_channels)).map(|rows| {
        let mut sums = widened(&vec![0.0; n_channels]);
        vectorized(
            #[inline(always)]
            || {
                for row in rows.chunks(sums.len()) {
                    for (sum, v) in sums.iter_mut().zip(row) {
                        *sum += v;
                    }
                }
            },
        );
        narrowed(&sums, n_channels)
    });
    // Added in the order of the rows, whichever thread made them.
    parts.collect::<Vec<_>>().iter().fold(vec![0.0; n_channels], |mut total, part| {
        total.iter_mut().zip(part).for_each(|(total, sum)| *total += sum);
        total
    })
}
