//! Products whose first operand is mostly zero, as ReLU and dropout leave activations and their gradients: of the
//! 1200 units of Hinton's first layer, a trained teacher uses 80 for a digit.
//!
//! Key decision: each element of C is the plain product's chain of multiply-adds without the terms that are zero.
//! These change no sum of finite numbers, so that it is the same bits, and may be chosen by what the operand happens
//! to hold.

use std::cell::Cell;
use std::sync::OnceLock;

use pulp::{Simd, WithSimd};

use super::pack::{in_blocks, pack_transposed};
use super::{Matrix, Out, TileWidth, store};
use crate::simd::{constant, dispatch};
use crate::tasks::each;

/// A value other than zero, and its column.
type Entry = (u32, f32);

/// Fewer columns of the other operand do not repay the lists.
const MIN_COLS: usize = 24;
/// Fewer multiply-adds do not, either.
const MIN_WORK: usize = 1 << 18;
/// Rows and columns that are looked at to see how much of an operand is zero.
const SAMPLED: (usize, usize) = (16, 32);
/// A larger share of values other than zero costs as much as the plain product.
const WORTH_LISTING: f32 = 0.4;
/// What it costs to write C across its rows, as a share of the plain product.
const ACROSS: f32 = 0.1;
/// Rows whose lists one task makes.
const GROUP: usize = 32;
/// Values that are passed over together where all are zero.
const SKIPPED: usize = 16;
/// Panels of B that are multiplied at once: eight sums, as many as hide the latency of each.
const MAX_PANELS: usize = 4;

/// The operand whose zeros are left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum First {
    A,
    B,
}

/// The one with fewer values other than zero, if these are few enough.
pub(super) fn first(a: Matrix<'_>, b: Matrix<'_>) -> Option<First> {
    if a.size() * b.n_cols < MIN_WORK {
        return None;
    }
    let of_a = if b.n_cols < MIN_COLS { 1.0 } else { used(a) };
    let of_b = if a.n_rows < MIN_COLS { 1.0 } else { used(b.t()) + ACROSS };
    let (first, used) = if of_a <= of_b { (First::A, of_a) } else { (First::B, of_b) };
    (used < WORTH_LISTING).then_some(first)
}

/// The share of `a` that is not zero, by a sample.
fn used(a: Matrix<'_>) -> f32 {
    let spread = |n: usize, n_sampled| (0..n).step_by(n.div_ceil(n_sampled));
    let cols = spread(a.n_cols, SAMPLED.1);
    let n_used = |row| cols.clone().filter(|&col| a.at(row, col) != 0.0).count();
    let rows = spread(a.n_rows, SAMPLED.0);
    let n_sampled = rows.len() * cols.len();
    rows.map(n_used).sum::<usize>() as f32 / n_sampled as f32
}

thread_local! {
    /// A buffer for the lists of one product, kept from call to call.
    static ENTRIES: Cell<Vec<Entry>> = const { Cell::new(Vec::new()) };
    /// A buffer for the rows of a task, likewise.
    static ROWS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// The lists of a matrix and their lengths, once they are made.
pub(super) type Kept = OnceLock<(Vec<Entry>, Vec<usize>)>;

/// What is not zero in a matrix that several products read: in its rows, and in its columns.
#[derive(Debug, Default)]
pub(crate) struct Listed([Kept; 2]);

impl Listed {
    pub(super) fn of_rows_and_columns(&self) -> [&Kept; 2] {
        self.0.each_ref()
    }
}

/// The product, whatever `a` holds.
pub(super) fn run(a: Matrix<'_>, b: Matrix<'_>, out: Out) {
    let listed = |entries: &[Entry], lens: &[usize]| {
        multiply(Lists { entries, lens, stride: a.n_cols + 1 }, b, out);
    };
    if let Some([of_rows, _]) = a.kept {
        let (entries, lens) = kept(of_rows, a);
        return listed(entries, lens);
    }
    let mut entries = ENTRIES.take();
    let lens = list(a, &mut entries);
    listed(&entries, &lens);
    ENTRIES.set(entries);
}

/// The lists of `a`, which are made by the first who needs them.
fn kept<'k>(of_rows: &'k Kept, a: Matrix<'_>) -> &'k (Vec<Entry>, Vec<usize>) {
    if let Some(known) = of_rows.get() {
        return known;
    }
    // Not while others wait: a thread that waits for a part of this work may begin with another product.
    let mut entries = Vec::new();
    let lens = list(a, &mut entries);
    of_rows.get_or_init(|| (entries, lens))
}

fn multiply(lists: Lists<'_>, b: Matrix<'_>, out: Out) {
    let width = dispatch(TileWidth);
    let n_blocks = b.n_cols.div_ceil(MAX_PANELS * width);
    in_blocks(b, width, n_blocks, |panels, cols| {
        dispatch(Multiply { lists, panels, cols, out });
    });
}

/// Writes what is not zero in each row to `entries`, and gives how much that is. A row has a place more than it
/// may need: its list is written one beyond its end.
fn list(a: Matrix<'_>, entries: &mut Vec<Entry>) -> Vec<usize> {
    let mut lens = vec![0; a.n_rows];
    let stride = a.n_cols + 1;
    entries.resize(entries.len().max(a.n_rows * stride), (0, 0.0));
    let groups = entries.chunks_mut(GROUP * stride).zip(lens.chunks_mut(GROUP));
    each(groups.enumerate(), |(i, (entries, lens))| {
        with_rows(a, (i * GROUP, lens.len()), |rows| {
            let lists = entries.chunks_exact_mut(stride).zip(lens);
            for ((list, len), row) in lists.zip(rows.chunks_exact(a.n_cols)) {
                *len = list_row(row, list);
            }
        });
    });
    lens
}

/// Calls `f` with rows `row..row + n_rows` of `a`, one after the other.
fn with_rows(a: Matrix<'_>, (row, n_rows): (usize, usize), f: impl FnOnce(&[f32])) {
    let len = n_rows * a.n_cols;
    if a.col_stride == 1 && a.row_stride == a.n_cols {
        return f(&a.data[row * a.n_cols..][..len]);
    }
    let mut buffer = ROWS.take();
    buffer.resize(buffer.len().max(len), 0.0);
    let rows = Matrix { data: &a.data[row * a.row_stride..], n_rows, kept: None, ..a };
    pack_transposed(&mut buffer[..len], rows, (0, a.n_cols), a.n_cols);
    f(&buffer[..len]);
    ROWS.set(buffer);
}

/// Writes what is not zero in `row` to `list`, and gives its length.
fn list_row(row: &[f32], list: &mut [Entry]) -> usize {
    let mut len = 0;
    for (i, values) in row.chunks(SKIPPED).enumerate() {
        if are_zero(values) {
            continue;
        }
        for (j, &value) in values.iter().enumerate() {
            // Written always and kept if need be: no branch to be guessed.
            list[len] = ((i * SKIPPED + j) as u32, value);
            len += usize::from(value != 0.0);
        }
    }
    len
}

/// Whether all are +0 or -0.
fn are_zero(values: &[f32]) -> bool {
    values.iter().fold(0, |bits, value| bits | value.to_bits()) << 1 == 0
}

/// What is not zero in each row of A.
#[derive(Clone, Copy)]
struct Lists<'a> {
    /// Those of row i begin at `i * stride`.
    entries: &'a [Entry],
    lens: &'a [usize],
    stride: usize,
}

/// At most [`MAX_PANELS`] panels of C, all rows.
struct Multiply<'a> {
    lists: Lists<'a>,
    /// The columns `cols` of B.
    panels: &'a [f32],
    cols: (usize, usize),
    out: Out,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { lists, panels, cols, out } = self;
        let width = 2 * S::F32_LANES;
        for (row, &len) in lists.lens.iter().enumerate() {
            let list = &lists.entries[row * lists.stride..][..len];
            let n_panels = (cols.1 - cols.0).div_ceil(width);
            constant!(P = n_panels, MAX_PANELS, {
                let sums = sums::<S, P>(simd, list, panels, lists.stride - 1);
                for (p, sum) in sums.into_iter().enumerate() {
                    let col = cols.0 + p * width;
                    store(simd, out, sum, row, (col, width.min(cols.1 - col)));
                }
            });
        }
    }
}

/// A row of A times `P` panels of `inner` rows.
#[expect(clippy::needless_range_loop, reason = "an iterator would take the sums' address")]
#[inline(always)]
fn sums<S: Simd, const P: usize>(
    simd: S,
    list: &[Entry],
    panels: &[f32],
    inner: usize,
) -> [[S::f32s; 2]; P] {
    let (vectors, _) = S::as_simd_f32s(panels);
    assert!(vectors.len() == 2 * P * inner);
    let mut sums = [[simd.splat_f32s(0.0); 2]; P];
    for &(col, value) in list {
        let value = simd.splat_f32s(value);
        for p in 0..P {
            let at = 2 * (p * inner + col as usize);
            #[expect(unsafe_code, reason = "bounds checks would cost as much as the arithmetic")]
            // SAFETY: `list_row` lists columns below `inner`, and p < P, so that the assert bounds both.
            let [left, right] =
                unsafe { [*vectors.get_unchecked(at), *vectors.get_unchecked(at + 1)] };
            sums[p][0] = simd.mul_add_f32s(value, left, sums[p][0]);
            sums[p][1] = simd.mul_add_f32s(value, right, sums[p][1]);
        }
    }
    sums
}
