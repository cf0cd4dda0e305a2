//! Products of activations, and their gradients.

use rayon::prelude::*;

use crate::act::Buffer;
use crate::ops::channels::{TASK, narrowed, task_len, widened};
use crate::simd::vectorized;
use crate::tasks::each;

/// `x y`, value by value.
pub(super) fn product(x: &[f32], y: &[f32]) -> Buffer {
    let mut out = Buffer::copy_of(x);
    multiply(&mut out, y);
    out
}

/// `values *= factors`.
pub(super) fn multiply(values: &mut [f32], factors: &[f32]) {
    each(values.chunks_mut(TASK).zip(factors.chunks(TASK)), |(values, factors)| {
        vectorized(
            #[inline(always)]
            || {
                for (value, factor) in values.iter_mut().zip(factors) {
                    *value *= factor;
                }
            },
        );
    });
}

/// `x` times the factor of its image and channel; `factors` has `n_channels` for each image.
pub(super) fn scaled(x: &[f32], factors: &[f32], n_channels: usize) -> Buffer {
    let mut out = Buffer::take(x.len());
    let (image_len, len) = (image_len(x, factors, n_channels), task_len(n_channels));
    let images = out.chunks_mut(image_len).zip(x.chunks(image_len));
    each(images.zip(factors.chunks(n_channels)), |((out, x), factors)| {
        let factors = widened(factors);
        each(out.chunks_mut(len).zip(x.chunks(len)), |(out, x)| {
            vectorized(
                #[inline(always)]
                || {
                    let rows = out.chunks_mut(factors.len()).zip(x.chunks(factors.len()));
                    for (out, x) in rows {
                        for ((out, x), factor) in out.iter_mut().zip(x).zip(&factors) {
                            *out = x * factor;
                        }
                    }
                },
            );
        });
    });
    out
}

/// From the gradient of [`scaled`] to that of `x`, in place, and the gradient of the factors: sums
/// of `g x` over the pixels of each image.
pub(super) fn scaled_backward(
    grad: &mut [f32],
    x: &[f32],
    factors: &[f32],
    n_channels: usize,
) -> Buffer {
    let mut to_factors = Buffer::zeros(factors.len());
    let (image_len, len) = (image_len(x, factors, n_channels), task_len(n_channels));
    let images = grad.chunks_mut(image_len).zip(x.chunks(image_len));
    let factors = factors.chunks(n_channels).zip(to_factors.chunks_mut(n_channels));
    each(images.zip(factors), |((grad, x), (factors, to_factors))| {
        let factors = widened(factors);
        let tasks = grad.par_chunks_mut(len).zip(x.par_chunks(len));
        let parts = tasks.map(|(grad, x)| task_backward(grad, x, &factors, n_channels));
        // Added in the order of the pixels, whichever thread made them.
        for part in parts.collect::<Vec<_>>() {
            to_factors.iter_mut().zip(part).for_each(|(total, sum)| *total += sum);
        }
    });
    to_factors
}

fn task_backward(grad: &mut [f32], x: &[f32], factors: &[f32], n_channels: usize) -> Vec<f32> {
    let mut sums = vec![0.0; factors.len()];
    vectorized(
        #[inline(always)]
        || {
            for (grad, x) in grad.chunks_mut(factors.len()).zip(x.chunks(factors.len())) {
                let factors = factors.iter().zip(&mut sums);
                for ((g, x), (factor, sum)) in grad.iter_mut().zip(x).zip(factors) {
                    *sum += *g * x;
                    *g *= factor;
                }
            }
        },
    );
    narrowed(&sums, n_channels)
}

fn image_len(x: &[f32], factors: &[f32], n_channels: usize) -> usize {
    let n_images = factors.len() / n_channels;
    x.len() / n_images.max(1)
}
