//! What is not zero in a matrix, row by row.

use std::cell::Cell;
use std::sync::OnceLock;

use super::pack::pack_transposed;
use super::{Matrix, TileWidth};
use crate::scratch::with_buffer;
use crate::simd::dispatch;
use crate::tasks::each;

/// A value other than zero, and its column.
pub(super) type Entry = (u32, f32);

/// Rows whose lists one task makes.
const GROUP: usize = 32;
/// Values that are passed over together where all are zero.
const SKIPPED: usize = 16;
/// Panels of B that are multiplied at once: eight sums, as many as hide the latency of each.
pub(super) const MAX_PANELS: usize = 4;
/// Floats of so many panels that stay near while all rows of A are multiplied with them: a first-level cache's 32 KiB.
const NEAR: usize = 1 << 13;

/// What is not zero in each row of a matrix.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Those of row i begin at `i` times [`Lists::stride`].
    entries: Vec<Entry>,
    /// Where each part of each row ends, counted from where its row begins.
    ends: Vec<usize>,
    /// Parts of a row, one after the other.
    pub(super) n_parts: usize,
    pub(super) n_rows: usize,
    pub(super) n_cols: usize,
}

/// Lists, once they are made.
pub(super) type Kept = OnceLock<Lists>;

/// What is not zero in a matrix that several products read: in its rows, and in its columns.
#[derive(Debug, Default)]
pub(crate) struct Listed([Kept; 2]);

impl Listed {
    pub(super) fn of_rows_and_columns(&self) -> [&Kept; 2] {
        self.0.each_ref()
    }
}

thread_local! {
    /// The lists of one product, whose memory is kept from call to call.
    static LISTS: Cell<Lists> = Cell::default();
}

/// Calls `f` with the lists of `a`, which are made by the first who needs them where several products read it.
pub(super) fn with_lists(a: Matrix<'_>, f: impl FnOnce(&Lists)) {
    let Some([of_rows, _]) = a.kept else {
        let mut lists = LISTS.take();
        lists.fill(a);
        f(&lists);
        return LISTS.set(lists);
    };
    if let Some(known) = of_rows.get() {
        return f(known);
    }
    // Not while others wait: a thread that waits for a part of this work may begin with another product.
    let mut lists = Lists::default();
    lists.fill(a);
    f(of_rows.get_or_init(|| lists));
}

impl Lists {
    /// A row's list has a place more than it may need: it is written one beyond its end.
    fn stride(&self) -> usize {
        self.n_cols + 1
    }

    /// What is not zero in a part of a row, by its columns.
    #[inline(always)]
    pub(super) fn of(&self, row: usize, part: usize) -> &[Entry] {
        let ends = &self.ends[row * self.n_parts..][..part + 1];
        let begin = if part == 0 { 0 } else { ends[part - 1] };
        &self.entries[row * self.stride()..][begin..ends[part]]
    }

    fn fill(&mut self, a: Matrix<'_>) {
        (self.n_rows, self.n_cols) = (a.n_rows, a.n_cols);
        let depth = NEAR / (MAX_PANELS * dispatch(TileWidth));
        self.n_parts = a.n_cols.div_ceil(depth);
        let (stride, n_parts) = (self.stride(), self.n_parts);
        self.entries.resize(self.entries.len().max(a.n_rows * stride), (0, 0.0));
        self.ends.resize(a.n_rows * n_parts, 0);
        let ends = self.ends.chunks_mut(GROUP * n_parts);
        each(
            self.entries.chunks_mut(GROUP * stride).zip(ends).enumerate(),
            |(i, (entries, ends))| {
                with_rows(a, (i * GROUP, ends.len() / n_parts), |rows| {
                    let lists =
                        entries.chunks_exact_mut(stride).zip(ends.chunks_exact_mut(n_parts));
                    for ((list, ends), row) in lists.zip(rows.chunks_exact(a.n_cols)) {
                        list_row(row, depth, list, ends);
                    }
                });
            },
        );
    }
}

/// Calls `f` with rows `row..row + n_rows` of `a`, one after the other.
fn with_rows(a: Matrix<'_>, (row, n_rows): (usize, usize), f: impl FnOnce(&[f32])) {
    let len = n_rows * a.n_cols;
    if a.col_stride == 1 && a.row_stride == a.n_cols {
        return f(&a.data[row * a.n_cols..][..len]);
    }
    let rows = Matrix { data: &a.data[row * a.row_stride..], n_rows, kept: None, ..a };
    with_buffer(len, |buffer| {
        pack_transposed(buffer, rows, (0, a.n_cols), a.n_cols);
        f(buffer);
    });
}

/// Writes what is not zero in `row` to `list`, and where each part of it ends.
fn list_row(row: &[f32], depth: usize, list: &mut [Entry], ends: &mut [usize]) {
    let mut len = 0;
    for (part, (values, end)) in row.chunks(depth).zip(ends).enumerate() {
        for (i, values) in values.chunks(SKIPPED).enumerate() {
            if are_zero(values) {
                continue;
            }
            let first = part * depth + i * SKIPPED;
            for (j, &value) in values.iter().enumerate() {
                // Written always and kept if need be: no branch to be guessed.
                list[len] = ((first + j) as u32, value);
                len += usize::from(value != 0.0);
            }
        }
        *end = len;
    }
}

/// Whether all are +0 or -0.
fn are_zero(values: &[f32]) -> bool {
    values.iter().fold(0, |bits, value| bits | value.to_bits()) << 1 == 0
}
