//! Softmax of rows, and its gradient.

use crate::act::Buffer;
use crate::math::exp;
use crate::ops::channels::task_len;
use crate::ops::lanes;
use crate::simd::vectorized;
use crate::tasks::each;

/// `softmax(inverse * row)` of every row.
pub(super) fn softmax(x: &[f32], n_classes: usize, inverse: f32) -> Buffer {
    let mut y = Buffer::take(x.len());
    let len = task_len(n_classes);
    each(y.chunks_mut(len).zip(x.chunks(len)), |(y, x)| {
        vectorized(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(n_classes).zip(x.chunks_exact(n_classes)) {
                    row(x, inverse, y);
                }
            },
        );
    });
    y
}

#[inline(always)]
fn row(x: &[f32], inverse: f32, y: &mut [f32]) {
    let max = lanes::max(x);
    for (y, x) in y.iter_mut().zip(x) {
        *y = exp((x - max) * inverse);
    }
    let sum = lanes::sum([y], |[y]| y);
    for y in y {
        *y /= sum;
    }
}

/// From the gradient of the probabilities `y` to that of the logits, in place:
/// `inverse y (g - sum g y)`.
pub(super) fn backward(grad: &mut [f32], y: &[f32], n_classes: usize, inverse: f32) {
    let len = task_len(n_classes);
    each(grad.chunks_mut(len).zip(y.chunks(len)), |(grad, y)| {
        vectorized(
            #[inline(always)]
            || {
                for (grad, y) in grad.chunks_exact_mut(n_classes).zip(y.chunks_exact(n_classes)) {
                    let sum = lanes::sum([grad, y], |[g, y]| g * y);
                    for (g, y) in grad.iter_mut().zip(y) {
                        *g = inverse * y * (*g - sum);
                    }
                }
            },
        );
    });
}
