//! The blocks in which a convolution is computed: some whole images, or some rows of one.
//!
//! Key decision: what a task reads and writes stays in its core's cache. A MobileNet's widest layer
//! has five megabytes for a single image, of which a task takes a few rows at a time, with those
//! above and below that its windows touch.

use super::geometry::{Gather, Padded};
use crate::ops::source::Source;
use crate::scratch::with_buffer;
use crate::simd::vectorized;

/// Values of the images that a task takes, with margins, input and output together.
pub(super) const BLOCK: usize = 1 << 18;

/// The same where the weights are few and every value is used a few times only.
pub(super) const SMALL_BLOCK: usize = 1 << 16;

/// Images whose input and output fit the cache together.
pub(super) fn images_per_block(len: usize) -> usize {
    (BLOCK / len.max(1)).max(1)
}

/// How an output is divided between tasks; it depends on the sizes only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks {
    /// Whole images, if at least one fits.
    n_images: usize,
    /// Rows of pixels of a block, and of an image.
    rows: usize,
    image_rows: usize,
    /// Values of an output image, of an output row, and output rows to each row of pixels.
    out_len: usize,
    out_row: usize,
    out_rows: usize,
}

/// What one task computes.
#[derive(Debug)]
pub(super) struct Block<'v> {
    /// First image, and how many.
    pub(super) images: (usize, usize),
    /// First row of pixels, and how many.
    pub(super) rows: (usize, usize),
    /// The place of its first value in the output.
    pub(super) first: usize,
    pub(super) out: &'v mut [f32],
}

impl Blocks {
    /// Blocks of so many whole images.
    pub(super) fn images(n_images: usize, gather: &Gather, out_len: usize) -> Self {
        let image_rows = gather.size[0];
        let (rows, out_row, out_rows) = (image_rows, out_len, gather.out_rows);
        Self { n_images, rows, image_rows, out_len, out_row, out_rows }
    }

    /// Blocks of at most `len` values of the sums `gathers`, which read the same source, and of which
    /// the first has the most pixels. A row of the source has `in_row` values in the cache.
    pub(super) fn new(
        gathers: &[&Gather],
        in_row: usize,
        (out_len, n_out_rows): (usize, usize),
        len: usize,
    ) -> Self {
        let first = gathers[0];
        let image_len = first.source.n_rows() * in_row + out_len;
        if image_len <= len || first.size[0] == 1 {
            return Self::images((len / image_len).max(1), first, out_len);
        }
        let out_row = out_len / n_out_rows;
        let per_row = first.in_rows * in_row + first.out_rows * out_row;
        let margin = reach(gathers).saturating_sub(first.in_rows) * in_row;
        let rows = (SMALL_BLOCK.saturating_sub(margin) / per_row).clamp(1, first.size[0]);
        Self { rows, out_row, ..Self::images(1, first, out_len) }
    }

    /// Blocks of whole tiles of `side` rows, and of at least so many tiles where an image has fewer.
    pub(super) fn tiles(
        gather: &Gather,
        (out_len, n_out_rows): (usize, usize),
        (side, least, per_image): (usize, usize, usize),
    ) -> Self {
        let (in_row, out_row) = (gather.source.offset([1, 0]), out_len / n_out_rows);
        let rows = BLOCK / (in_row + out_row) / side * side;
        if rows >= gather.size[0] {
            let fitting = BLOCK / (gather.source.len() + out_len);
            return Self::images(fitting.max(least.div_ceil(per_image)), gather, out_len);
        }
        Self { rows: rows.max(side), out_row, ..Self::images(1, gather, out_len) }
    }

    /// Images of a block.
    pub(super) fn n_images(&self) -> usize {
        self.n_images
    }

    /// Rows of pixels of a block.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The blocks of `out`.
    pub(super) fn split<'v>(&self, out: &'v mut [f32]) -> Vec<Block<'v>> {
        if self.rows == self.image_rows {
            let block = |(i, out): (usize, &'v mut [f32])| Block {
                images: (i * self.n_images, out.len() / self.out_len),
                rows: (0, self.rows),
                first: i * self.n_images * self.out_len,
                out,
            };
            return out.chunks_mut(self.n_images * self.out_len).enumerate().map(block).collect();
        }
        let len = self.rows * self.out_rows * self.out_row;
        let of_image = |(image, out): (usize, &'v mut [f32])| {
            out.chunks_mut(len).enumerate().map(move |(i, out)| Block {
                images: (image, 1),
                rows: (i * self.rows, self.rows.min(self.image_rows - i * self.rows)),
                first: image * self.out_len + i * len,
                out,
            })
        };
        out.chunks_mut(self.out_len).enumerate().flat_map(of_image).collect()
    }
}

impl Block<'_> {
    /// Pixels of a sum in this block.
    pub(super) fn n_pixels(&self, gather: &Gather) -> usize {
        let end = (self.rows.0 + self.rows.1).min(gather.size[0]);
        self.images.1 * end.saturating_sub(self.rows.0) * gather.size[1]
    }
}

/// Source rows that the windows of a row of pixels touch.
fn reach(gathers: &[&Gather]) -> usize {
    gathers.iter().map(|gather| gather.reach).max().unwrap_or(0)
}

/// Calls `f` with `n_images` images of `source` from `first` on, with their margins, in the cache.
pub(super) fn with_margins(
    padded: Padded,
    source: &Source,
    (first, n_images): (usize, usize),
    f: impl FnOnce(&[f32]),
) {
    with_rows(padded, source, (first, n_images), (0, padded.n_rows()), f);
}

/// Calls `f` with what these rows of pixels of these images read of `source`.
pub(super) fn with_block(
    gathers: &[&Gather],
    source: &Source,
    images: (usize, usize),
    rows: (usize, usize),
    f: impl FnOnce(&[f32]),
) {
    let (padded, in_rows) = (gathers[0].source, gathers[0].in_rows);
    let first = rows.0 * in_rows;
    let is_whole = rows == (0, gathers[0].size[0]);
    let end = first + (rows.1 - 1) * in_rows + reach(gathers);
    let end = if is_whole { padded.n_rows() } else { end.min(padded.n_rows()) };
    with_rows(padded, source, images, (first, end.saturating_sub(first)), f);
}

/// Calls `f` with rows of images, counted from the margin's corner, with their margins.
pub(super) fn with_rows(
    padded: Padded,
    source: &Source,
    (first, n_images): (usize, usize),
    rows: (usize, usize),
    f: impl FnOnce(&[f32]),
) {
    if let (Source::Plain(values, _), false) = (source, padded.has_margins()) {
        let row = padded.offset([1, 0]);
        let len = (n_images - 1) * padded.image_len() + rows.1 * row;
        return f(&values[first * padded.image_len() + rows.0 * row..][..len]);
    }
    let len = rows.1 * padded.offset([1, 0]);
    with_buffer(n_images * len, |buffer| {
        vectorized(
            #[inline(always)]
            || {
                for (image, to) in buffer.chunks_exact_mut(len).enumerate() {
                    padded.copy(source, first + image, rows.0, to);
                }
            },
        );
        f(buffer);
    });
}
