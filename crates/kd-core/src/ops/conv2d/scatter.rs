//! The input gradient of a convolution with few input channels, such as a network's first.
//!
//! A gathering sum takes a vector of input channels at once, of which an image of one or three
//! channels fills one or three places. Here the vector runs over the window: the gradient of an
//! output pixel times the weights is the gradient of its whole window, which is added where the
//! window lies (col2im). An attack's step on MNIST needs a ninth of the multiplications for it.

use std::cell::Cell;

use crate::act::Buffer;
use crate::tasks::each;

use super::blocks::with_margins;
use super::geometry::{Geometry, Padded, Run};
use super::pack::panel_columns;
use super::tile::GatherSum;
use crate::ops::source::Source;
use crate::simd::dispatch;

/// Channels from which on the gathering sum is as good.
const FEW_CHANNELS: usize = 4;

/// Whether this way is for the convolution.
pub(super) fn suits(geometry: &Geometry) -> bool {
    geometry.conv.groups == 1
        && geometry.channels <= FEW_CHANNELS
        && geometry.conv.dilation == [1; 2]
        && geometry.kernel.iter().product::<usize>() > 1
}

/// Gradient of the input, `(N, H, W, C)`, from that of the output; `finish` is called on each
/// image's with the place of its first value.
pub(super) fn grad_input(
    grad: &Source,
    weight: &[f32],
    geometry: &Geometry,
    finish: impl Fn(usize, &mut [f32]) + Sync,
) -> Buffer {
    let windows = Windows::new(geometry, weight);
    let len = geometry.image_len();
    let mut out = Buffer::take(geometry.n * len);
    each(out.chunks_exact_mut(len.max(1)).enumerate(), |(image, out)| {
        with_margins(geometry.output(), grad, (image, 1), |grad| windows.add(grad, out));
        finish(image * len, out);
    });
    out
}

/// The weights to all places of a window, and where the windows of an image lie.
struct Windows {
    panels: Vec<f32>,
    /// Where the gradients of the output pixels begin, and their windows in the matrix of all.
    in_offsets: Vec<usize>,
    out_offsets: Vec<usize>,
    n_rows: usize,
    /// Values of a window, and of one of its rows.
    n_cols: usize,
    row_len: usize,
    /// Where the windows' first values lie within the margins.
    places: Vec<usize>,
    padded: Padded,
}

impl Windows {
    fn new(geometry: &Geometry, weight: &[f32]) -> Self {
        let [height, width] = geometry.kernel;
        let (n_rows, n_cols) = (geometry.out_channels, height * width * geometry.channels);
        let gather = geometry.forward();
        let n_pixels = gather.in_offsets.len();
        Self {
            panels: pack(geometry, weight, (n_rows, n_cols)),
            in_offsets: (0..n_pixels).map(|pixel| pixel * n_rows).collect(),
            out_offsets: (0..n_pixels).map(|pixel| pixel * n_cols).collect(),
            n_rows,
            n_cols,
            row_len: width * geometry.channels,
            places: gather.in_offsets,
            padded: gather.source,
        }
    }

    /// Writes the input gradient of one image to `out`.
    fn add(&self, grad: &[f32], out: &mut [f32]) {
        let (mut windows, mut image) = (WINDOWS.take(), IMAGE.take());
        windows.resize(self.places.len() * self.n_cols, 0.0);
        dispatch(GatherSum {
            x: grad,
            in_offsets: &self.in_offsets,
            out_offsets: &self.out_offsets,
            runs: &[Run { start: 0, len: self.n_rows }],
            panels: &self.panels,
            n_cols: self.n_cols,
            first_col: 0,
            out: &mut windows,
        });
        image.clear();
        image.resize(self.padded.len(), 0.0);
        let stride = self.padded.offset([1, 0]);
        for (window, &place) in windows.chunks_exact(self.n_cols).zip(&self.places) {
            for (y, row) in window.chunks_exact(self.row_len).enumerate() {
                let to = &mut image[place + y * stride..][..self.row_len];
                to.iter_mut().zip(row).for_each(|(to, value)| *to += value);
            }
        }
        self.padded.copy_back(&image, out);
        WINDOWS.set(windows);
        IMAGE.set(image);
    }
}

thread_local! {
    /// The windows of one image, and the image with its margins, kept from call to call.
    static WINDOWS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    static IMAGE: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// A row for each output channel: its weights in the order of a window's values in memory.
fn pack(geometry: &Geometry, weight: &[f32], (n_rows, n_cols): (usize, usize)) -> Vec<f32> {
    let n_positions = geometry.kernel[0] * geometry.kernel[1];
    let value = |row: usize, col: usize| {
        let (position, channel) = (col / geometry.channels, col % geometry.channels);
        weight[(row * geometry.channels + channel) * n_positions + position]
    };
    let panel = |(first, width): (usize, usize)| {
        let entry = move |row: usize, col: usize| if col < n_cols { value(row, col) } else { 0.0 };
        (0..n_rows).flat_map(move |row| (first..first + width).map(move |col| entry(row, col)))
    };
    panel_columns(n_cols).into_iter().flat_map(panel).collect()
}
