//! One operand of a product, in panels of one tile's width.

use pulp::{Simd, WithSimd};

use super::Matrix;
use crate::scratch::{LINE, with_buffer};
use crate::simd::dispatch;
use crate::tasks::each;

/// Packs `b` in blocks of columns of equal size, between `least` and `most`, as many for each thread if that allows
/// it, and calls `multiply` with each block and its columns, on the thread that packed it.
pub(super) fn in_blocks(
    b: Matrix<'_>,
    width: usize,
    (least, most): (usize, usize),
    multiply: impl Fn(&[f32], (usize, usize)) + Sync,
) {
    let n_panels = b.n_cols.div_ceil(width);
    let n_blocks = least.next_multiple_of(rayon::current_num_threads()).min(most);
    let first_col = |block: usize| b.n_cols.min(block * n_panels / n_blocks * width);
    each(0..n_blocks, |i| {
        let cols = (first_col(i), first_col(i + 1));
        with_packed(b, width, cols, |panels| {
            dispatch(Pack { b, cols, panels });
            multiply(panels, cols);
        });
    });
}

/// Calls `f` with a buffer for the panels of columns `cols` of `b`.
pub(super) fn with_packed(
    b: Matrix<'_>,
    width: usize,
    cols: (usize, usize),
    f: impl FnOnce(&mut [f32]),
) {
    with_buffer((cols.1 - cols.0).div_ceil(width) * b.n_rows * width, f);
}

/// Copies the columns `cols` of `b` into panels of one tile's width, each row-major and contiguous.
/// What pads the last panel is never stored in C.
pub(super) struct Pack<'a> {
    pub(super) b: Matrix<'a>,
    pub(super) cols: (usize, usize),
    pub(super) panels: &'a mut [f32],
}

impl WithSimd for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { b, cols, panels } = self;
        let width = 2 * S::F32_LANES;
        let panel_len = (b.n_rows * width).max(1);
        if b.col_stride == 1 {
            // A few panels at a time: long reads, and not all panels' lines in one cache set.
            for (group, to) in panels.chunks_mut(4 * panel_len).enumerate() {
                let col = cols.0 + group * 4 * width;
                let n_cols = (4 * width).min(cols.1 - col);
                for row in 0..b.n_rows {
                    let from = &b.data[row * b.row_stride + col..][..n_cols];
                    for (i, from) in from.chunks(width).enumerate() {
                        copy::<S>(from, &mut to[i * panel_len + row * width..][..width]);
                    }
                }
            }
        } else {
            for (i, panel) in panels.chunks_exact_mut(panel_len).enumerate() {
                let col = cols.0 + i * width;
                pack_transposed(panel, b, (col, width.min(cols.1 - col)), width);
            }
        }
    }
}

/// Copies a row of a panel, or the part of one that `from` has; whole rows without a call.
#[inline(always)]
fn copy<S: Simd>(from: &[f32], to: &mut [f32]) {
    let (from_vectors, _) = S::as_simd_f32s(from);
    let (to_vectors, _) = S::as_mut_simd_f32s(to);
    match (from_vectors, to_vectors) {
        ([left, right], [to_left, to_right]) => {
            *to_left = *left;
            *to_right = *right;
        }
        _ => to[..from.len()].copy_from_slice(from),
    }
}

/// Copies `n_cols` columns of `b` from `col` on, whose values lie in columns, into rows of `width` floats of `panel`: as
/// many rows as it holds, squares of 4x4 at a time.
#[inline(always)]
pub(super) fn pack_transposed(
    panel: &mut [f32],
    b: Matrix<'_>,
    (col, n_cols): (usize, usize),
    width: usize,
) {
    for (block, to) in panel.chunks_mut(SQUARE * width).enumerate() {
        let n_rows = to.len() / width;
        for j in (0..n_cols).step_by(SQUARE) {
            let start = (col + j) * b.col_stride + block * SQUARE * b.row_stride;
            if b.row_stride == 1 && n_rows == SQUARE && n_cols - j >= SQUARE {
                let from = &b.data[start..];
                if block.is_multiple_of(LINE / SQUARE) {
                    (0..SQUARE).for_each(|i| prefetch(from, i * b.col_stride + AHEAD));
                }
                transpose_square(from, b.col_stride, &mut to[j..], width);
                continue;
            }
            for j in j..n_cols.min(j + SQUARE) {
                let start = (col + j) * b.col_stride + block * SQUARE * b.row_stride;
                for i in 0..n_rows {
                    to[i * width + j] = b.data[start + i * b.row_stride];
                }
            }
        }
    }
}

/// Side of the squares in which matrices are transposed.
const SQUARE: usize = 4;
/// Values of a column that are asked for before they are needed: as many columns as a panel has are more streams than
/// a processor foresees.
const AHEAD: usize = 4 * LINE;

type Square = [[f32; SQUARE]; SQUARE];

#[inline(always)]
fn transpose_square(from: &[f32], from_stride: usize, to: &mut [f32], to_stride: usize) {
    let row = |i: usize| {
        let row = &from[i * from_stride..][..SQUARE];
        std::array::from_fn(|j| row[j])
    };
    let square = transposed(std::array::from_fn(row));
    for (i, row) in square.iter().enumerate() {
        to[i * to_stride..][..SQUARE].copy_from_slice(row);
    }
}

/// Asks memory for what lies `ahead` of the first of `values`, if anything does.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch(values: &[f32], ahead: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    #[expect(unsafe_code, reason = "the compiler asks for it even where all processors have it")]
    // SAFETY: SSE is part of x86-64, and nothing is read: any address will do.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(ahead).cast());
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn prefetch(_: &[f32], _: usize) {}

/// With the instructions that every x86-64 processor has; from plain loops compilers make single moves, which take
/// twice as long.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transposed(rows: Square) -> Square {
    use std::arch::x86_64::{
        __m128, _mm_movehl_ps, _mm_movelh_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
    };
    let [a, b, c, d] = rows.map(bytemuck::cast::<_, __m128>);
    #[expect(unsafe_code, reason = "the compiler asks for it even where all processors have them")]
    // SAFETY: SSE is part of x86-64.
    let columns = unsafe {
        let (left_ab, right_ab) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
        let (left_cd, right_cd) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
        [
            _mm_movelh_ps(left_ab, left_cd),
            _mm_movehl_ps(left_cd, left_ab),
            _mm_movelh_ps(right_ab, right_cd),
            _mm_movehl_ps(right_cd, right_ab),
        ]
    };
    columns.map(bytemuck::cast)
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn transposed(rows: Square) -> Square {
    std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
}
