//! Layer norm of pixels, forward and backward.

use rayon::prelude::*;

use crate::act::Buffer;
use crate::ops::channels::task_len;
use crate::ops::lanes;
use crate::simd::vectorized;
use crate::tasks::each;

/// Of each pixel the mean, and 1 over the standard deviation.
pub(super) type Statistics = Vec<[f32; 2]>;

/// `weight (x - mean) r + bias` with `r = 1 / sqrt(variance + eps)`, and each pixel's statistics.
pub(super) fn forward(
    x: &[f32],
    (weight, bias): (&[f32], &[f32]),
    eps: f32,
) -> (Buffer, Statistics) {
    let n_channels = weight.len();
    let mut y = Buffer::take(x.len());
    let mut statistics = vec![[0.0; 2]; x.len() / n_channels];
    let len = task_len(n_channels);
    let tasks = y.chunks_mut(len).zip(statistics.chunks_mut(len / n_channels));
    each(tasks.zip(x.chunks(len)), |((y, statistics), x)| {
        vectorized(
            #[inline(always)]
            || {
                let pixels = y.chunks_exact_mut(n_channels).zip(x.chunks_exact(n_channels));
                for ((y, x), statistics) in pixels.zip(statistics) {
                    *statistics = normalize(x, (weight, bias), eps, y);
                }
            },
        );
    });
    (y, statistics)
}

#[inline(always)]
fn normalize(x: &[f32], (weight, bias): (&[f32], &[f32]), eps: f32, y: &mut [f32]) -> [f32; 2] {
    let inverse = 1.0 / x.len() as f32;
    let mean = lanes::sum([x], |[x]| x) * inverse;
    let variance = lanes::sum([x], |[x]| (x - mean) * (x - mean)) * inverse;
    let r = 1.0 / (variance + eps).sqrt();
    for ((y, x), (weight, bias)) in y.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
        *y = ((x - mean) * r).mul_add(*weight, *bias);
    }
    [mean, r]
}

/// From the gradient of the output to that of `x`, in place, and the gradients of weight and bias:
/// with `x^ = (x - mean) r` and `h = weight g`, `dx = r (h - mean(h) - x^ mean(h x^))`,
/// `dweight = sum g x^`, `dbias = sum g`.
pub(super) fn backward(
    grad: &mut [f32],
    x: &[f32],
    weight: &[f32],
    statistics: &Statistics,
) -> [Vec<f32>; 2] {
    let n_channels = weight.len();
    let len = task_len(n_channels);
    let tasks = grad.par_chunks_mut(len).zip(x.par_chunks(len));
    let parts =
        tasks.zip(statistics.par_chunks(len / n_channels)).map(|((grad, x), statistics)| {
            let mut sums = [0; 2].map(|_| vec![0.0; n_channels]);
            vectorized(
                #[inline(always)]
                || {
                    let pixels = grad.chunks_exact_mut(n_channels).zip(x.chunks_exact(n_channels));
                    for ((grad, x), statistics) in pixels.zip(statistics) {
                        undo(grad, x, weight, *statistics, &mut sums);
                    }
                },
            );
            sums
        });
    let parts: Vec<_> = parts.collect();
    // Added in the order of the pixels, whichever thread made them.
    [0, 1].map(|i| {
        let total = |c: usize| parts.iter().map(|part| f64::from(part[i][c])).sum::<f64>() as f32;
        (0..n_channels).map(total).collect()
    })
}

#[inline(always)]
fn undo(
    grad: &mut [f32],
    x: &[f32],
    weight: &[f32],
    [mean, r]: [f32; 2],
    [to_weight, to_bias]: &mut [Vec<f32>; 2],
) {
    let inverse = 1.0 / x.len() as f32;
    let mean_h = lanes::sum([grad, weight], |[g, w]| g * w) * inverse;
    let mean_hx = lanes::sum([grad, weight, x], |[g, w, x]| g * w * (x - mean)) * r * inverse;
    let sums = to_weight.iter_mut().zip(to_bias);
    for (((g, x), w), (to_weight, to_bias)) in grad.iter_mut().zip(x).zip(weight).zip(sums) {
        let normal = (x - mean) * r;
        *to_weight += *g * normal;
        *to_bias += *g;
        *g = r * (*g * w - mean_h - normal * mean_hx);
    }
}
