//! Matrices that are transposed: each image's, or each pixel's channels.

use super::channels::task_len;
use crate::act::Buffer;
use crate::simd::vectorized;
use crate::tasks::each;

/// Rows and columns that are copied together, so that no line of the cache is fetched twice.
const TILE: usize = 16;

/// Each of the matrices of `n_rows` rows and `n_cols` columns that lie one after the other,
/// transposed.
pub(crate) fn transposed(matrices: &[f32], [n_rows, n_cols]: [usize; 2]) -> Buffer {
    if n_rows == 1 || n_cols == 1 {
        return Buffer::copy_of(matrices);
    }
    let mut out = Buffer::take(matrices.len());
    let (size, len) = (n_rows * n_cols, task_len(n_rows * n_cols));
    each(out.chunks_mut(len).zip(matrices.chunks(len)), |(out, matrices)| {
        vectorized(
            #[inline(always)]
            || {
                for (to, from) in out.chunks_exact_mut(size).zip(matrices.chunks_exact(size)) {
                    match (n_rows, n_cols) {
                        (2, _) => interleave(from, to),
                        (_, 2) => separate(from, to),
                        _ => transpose(from, to, [n_rows, n_cols]),
                    }
                }
            },
        );
    });
    out
}

/// Two rows become two columns.
#[inline(always)]
fn interleave(from: &[f32], to: &mut [f32]) {
    let (first, second) = from.split_at(from.len() / 2);
    for (to, (a, b)) in to.chunks_exact_mut(2).zip(first.iter().zip(second)) {
        to[0] = *a;
        to[1] = *b;
    }
}

/// Two columns become two rows.
#[inline(always)]
fn separate(from: &[f32], to: &mut [f32]) {
    let (first, second) = to.split_at_mut(from.len() / 2);
    for (from, (a, b)) in from.chunks_exact(2).zip(first.iter_mut().zip(second)) {
        *a = from[0];
        *b = from[1];
    }
}

#[inline(always)]
fn transpose(from: &[f32], to: &mut [f32], [n_rows, n_cols]: [usize; 2]) {
    for first_row in (0..n_rows).step_by(TILE) {
        let last_row = n_rows.min(first_row + TILE);
        for (col, to) in to.chunks_exact_mut(n_rows).enumerate() {
            for (row, to) in (first_row..last_row).zip(&mut to[first_row..last_row]) {
                *to = from[row * n_cols + col];
            }
        }
    }
}
