//! Matrix products for the shapes of small networks: `C = A B` or `C += A B`, f32, on the CPU.
//!
//! Key decision: only one operand is packed, the one for which less memory moves. A tile of C
//! (12x32 with AVX-512, 6x16 with AVX2) stays in registers while one value of the first operand,
//! read where it lies, is multiplied with a packed row of the second. General-purpose libraries
//! pack both; at batch 128 the weights are used too few times to pay for that.
//!
//! Each element of C is one chain of fused multiply-adds in the order of the inner dimension,
//! whatever the tile, the thread count and the size of the batch: results are the same bits. Terms
//! that are zero may be left out ([`sparse`]): they change no sum.

mod lists;
mod pack;
mod sparse;
#[cfg(test)]
mod tests;

use std::cell::Cell;

use pulp::{Simd, WithSimd};

use self::lists::Kept;
pub(crate) use self::lists::Listed;
use self::pack::{Pack, in_blocks, with_packed};
use self::sparse::First;
use crate::simd::{constant, dispatch};
use crate::tasks::each;

/// A read-only matrix with arbitrary strides.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    n_rows: usize,
    n_cols: usize,
    row_stride: usize,
    col_stride: usize,
    /// Where what is not zero in its rows and in its columns is kept.
    kept: Option<[&'a Kept; 2]>,
}

impl<'a> Matrix<'a> {
    /// `data` as `n_rows` rows of `n_cols` values.
    pub(crate) fn new(data: &'a [f32], n_rows: usize, n_cols: usize) -> Self {
        assert_eq!(data.len(), n_rows * n_cols, "matrix of {n_rows} x {n_cols}");
        Self { data, n_rows, n_cols, row_stride: n_cols, col_stride: 1, kept: None }
    }

    /// The same, of which what is not zero is kept in `listed` for other products.
    pub(crate) fn listed(self, listed: Option<&'a Listed>) -> Self {
        Self { kept: listed.map(Listed::of_rows_and_columns), ..self }
    }

    /// The transpose; nothing moves.
    pub(crate) fn t(self) -> Self {
        Self {
            n_rows: self.n_cols,
            n_cols: self.n_rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            kept: self.kept.map(|[rows, columns]| [columns, rows]),
            ..self
        }
    }

    fn size(&self) -> usize {
        self.n_rows * self.n_cols
    }

    fn at(&self, row: usize, col: usize) -> f32 {
        self.data[row * self.row_stride + col * self.col_stride]
    }
}

/// What a product does with what C held before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// `C = A B`
    Set,
    /// `C += A B`
    Add,
}

/// `C = A B` or `C += A B`, with C row-major in `c`. A zero of one times an infinity or NaN of the other may
/// count as zero.
pub(crate) fn gemm(c: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, write: Write) {
    assert_eq!(a.n_cols, b.n_rows, "inner dimensions");
    assert_eq!(c.len(), a.n_rows * b.n_cols, "size of the product");
    let out =
        Out { data: c.as_mut_ptr(), len: c.len(), row_stride: b.n_cols, col_stride: 1, write };
    // C^T = B^T A^T is the same product with the operands' roles exchanged.
    let exchanged = Out { row_stride: 1, col_stride: b.n_cols, ..out };
    match sparse::first(a, b) {
        Some(First::A) => sparse::run(a, b, out),
        Some(First::B) => sparse::run(b.t(), a.t(), exchanged),
        None if traffic(b.t(), a.t()) + a.n_rows * b.n_cols < traffic(a, b) => {
            run(b.t(), a.t(), exchanged);
        }
        None => run(a, b, out),
    }
}

/// Floats moved to pack `b`, and for reading `a` against the grain.
fn traffic(a: Matrix<'_>, b: Matrix<'_>) -> usize {
    let pack = if b.col_stride == 1 { b.size() } else { 4 * b.size() };
    let strided_read = if a.col_stride == 1 { 0 } else { 2 * a.size() };
    pack + strided_read
}

/// Where tiles are written. Tasks share it, each with its own rows and columns.
#[derive(Clone, Copy)]
struct Out {
    data: *mut f32,
    len: usize,
    row_stride: usize,
    col_stride: usize,
    write: Write,
}

#[expect(unsafe_code, reason = "tasks write disjoint tiles of one buffer")]
// SAFETY: `run` gives every task its own rectangle of C, so no element is shared.
unsafe impl Send for Out {}
#[expect(unsafe_code, reason = "tasks write disjoint tiles of one buffer")]
// SAFETY: as above.
unsafe impl Sync for Out {}

/// Products smaller than this many multiply-adds stay on one thread.
const PARALLEL_FROM: usize = 1 << 21;
/// Rows of the largest tile.
const MAX_HEIGHT: usize = 12;
/// A packed block of B should stay in a core's second-level cache.
const BLOCK_FLOATS: usize = 1 << 18;

fn run(a: Matrix<'_>, b: Matrix<'_>, out: Out) {
    let width = dispatch(TileWidth);
    let (all_rows, all_cols) = ((0, a.n_rows), (0, b.n_cols));
    if a.n_cols * a.n_rows * b.n_cols < PARALLEL_FROM {
        return with_packed(b, width, all_cols, |panels| {
            dispatch(Pack { b, cols: all_cols, panels });
            dispatch(Multiply { a, panels, rows: all_rows, cols: all_cols, out });
        });
    }
    let n_panels = b.n_cols.div_ceil(width);
    let n_blocks = (a.n_cols * n_panels * width).div_ceil(BLOCK_FLOATS);
    if n_blocks == 1 {
        // Packed once for all threads, each of which takes some rows of A.
        let row_step = a.n_rows.div_ceil(4 * rayon::current_num_threads());
        let row_step = row_step.next_multiple_of(MAX_HEIGHT);
        with_packed(b, width, all_cols, |panels| {
            each(panels.chunks_mut(a.n_cols * width).enumerate(), |(i, panels)| {
                let cols = (i * width, b.n_cols.min((i + 1) * width));
                dispatch(Pack { b, cols, panels });
            });
            each(0..a.n_rows.div_ceil(row_step), |i| {
                let rows = (i * row_step, a.n_rows.min((i + 1) * row_step));
                dispatch(Multiply { a, panels, rows, cols: all_cols, out });
            });
        });
    } else {
        in_blocks(b, width, (n_blocks, n_panels), |panels, cols| {
            dispatch(Multiply { a, panels, rows: all_rows, cols, out });
        });
    }
}

/// Columns of a tile: two SIMD registers.
struct TileWidth;

impl WithSimd for TileWidth {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        2 * S::F32_LANES
    }
}

thread_local! {
    /// A buffer for a tile of A, kept from call to call.
    static TILE: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// One rectangle of C.
struct Multiply<'a> {
    a: Matrix<'a>,
    /// The columns `cols` of B.
    panels: &'a [f32],
    rows: (usize, usize),
    cols: (usize, usize),
    out: Out,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = 2 * S::F32_LANES;
        let panel_len = self.a.n_cols * width;
        let mut tile_of_a = TILE.take();
        let step = height::<S>();
        for row in (self.rows.0..self.rows.1).step_by(step) {
            let n_rows = step.min(self.rows.1 - row);
            let a = rows_of(self.a, (row, n_rows), &mut tile_of_a);
            for (i, col) in (self.cols.0..self.cols.1).step_by(width).enumerate() {
                let panel = &self.panels[i * panel_len..][..panel_len];
                let n_cols = width.min(self.cols.1 - col);
                constant!(R = n_rows, height::<S>(), {
                    tile::<S, R>(simd, a, panel, self.out, row, (col, n_cols));
                });
            }
        }
        TILE.set(tile_of_a);
    }
}

/// Rows `row..row + n_rows` of `a`: in place when they are contiguous, else copied, inner index
/// first, so that a tile does not touch a page of memory for each of its steps.
#[inline(always)]
fn rows_of<'a>(
    a: Matrix<'a>,
    (row, n_rows): (usize, usize),
    buffer: &'a mut Vec<f32>,
) -> Matrix<'a> {
    if a.col_stride == 1 {
        let data = &a.data[(row * a.row_stride).min(a.data.len())..];
        return Matrix { data, n_rows, kept: None, ..a };
    }
    buffer.clear();
    for p in 0..a.n_cols {
        let start = row * a.row_stride + p * a.col_stride;
        match a.data[start..].first_chunk::<MAX_HEIGHT>() {
            Some(whole) if n_rows == MAX_HEIGHT && a.row_stride == 1 => buffer.extend(whole),
            _ => buffer.extend((0..n_rows).map(|r| a.data[start + r * a.row_stride])),
        }
    }
    Matrix { data: buffer, n_rows, n_cols: a.n_cols, row_stride: 1, col_stride: n_rows, kept: None }
}

/// Rows of a tile: many registers (AVX-512) take 12, few (AVX2) half of it.
const fn height<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MAX_HEIGHT } else { MAX_HEIGHT / 2 }
}

/// A tile of `R` rows and two vectors of columns, written to rows `row..` and columns `cols`.
#[expect(clippy::needless_range_loop, reason = "an iterator would take the sums' address")]
#[inline(always)]
fn tile<S: Simd, const R: usize>(
    simd: S,
    a: Matrix<'_>,
    panel: &[f32],
    out: Out,
    row: usize,
    cols: (usize, usize),
) {
    let inner = a.n_cols;
    let mut sums = [[simd.splat_f32s(0.0); 2]; R];
    let (vectors, _) = S::as_simd_f32s(panel);
    assert!(vectors.len() >= 2 * inner && a.n_rows == R);
    assert!(inner == 0 || (R - 1) * a.row_stride + (inner - 1) * a.col_stride < a.data.len());
    for p in 0..inner {
        #[expect(unsafe_code, reason = "bounds checks would cost more than the arithmetic")]
        // SAFETY: p < inner and r < R, so both asserts above bound the indices.
        unsafe {
            let left = *vectors.get_unchecked(2 * p);
            let right = *vectors.get_unchecked(2 * p + 1);
            for r in 0..R {
                let value = *a.data.get_unchecked(r * a.row_stride + p * a.col_stride);
                let value = simd.splat_f32s(value);
                sums[r][0] = simd.mul_add_f32s(value, left, sums[r][0]);
                sums[r][1] = simd.mul_add_f32s(value, right, sums[r][1]);
            }
        }
    }
    for r in 0..R {
        // By value: the sums would leave their registers if their address were taken.
        store(simd, out, [sums[r][0], sums[r][1]], row + r, cols);
    }
}

#[inline(always)]
fn store<S: Simd>(simd: S, out: Out, sum: [S::f32s; 2], row: usize, (col, n_cols): (usize, usize)) {
    // Of -0, which a product too small for f32 leaves, a term of +0 makes +0. All sums get one, since
    // `sparse` leaves such terms out.
    let sum = sum.map(|half| simd.add_f32s(half, simd.splat_f32s(0.0)));
    let start = row * out.row_stride + col * out.col_stride;
    assert!(start + (n_cols - 1) * out.col_stride < out.len);
    let whole = n_cols == 2 * S::F32_LANES && out.col_stride == 1 && out.write == Write::Set;
    #[expect(unsafe_code, reason = "tasks write disjoint tiles of one buffer")]
    // SAFETY: bounded by the assert above; no other task writes these elements.
    unsafe {
        let to = out.data.add(start);
        if whole {
            return to.cast::<[S::f32s; 2]>().write_unaligned(sum);
        }
        let values: &[f32] = bytemuck::cast_slice(&sum);
        for (j, &value) in values[..n_cols].iter().enumerate() {
            let to = to.add(j * out.col_stride);
            *to = if out.write == Write::Add { *to + value } else { value };
        }
    }
}
