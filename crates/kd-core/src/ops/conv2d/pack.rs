//! Weights in the order in which a gathering sum uses them.

use super::geometry::{Gather, Geometry};
use super::tile::PanelWidth;
use crate::simd::{dispatch, vectorized};
use crate::tasks::each;

/// Which sum the weights are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From input channels to output channels.
    Forward,
    /// From output channels to input channels.
    Backward,
}

/// The weights of one group in panels of as many columns as a tile has: for each tap and source
/// channel, the weights to all columns.
pub(super) fn pack(
    geometry: &Geometry,
    gather: &Gather,
    weight: &[f32],
    (direction, group): (Direction, usize),
) -> Vec<f32> {
    let groups = geometry.conv.groups;
    let [outputs, inputs] = [geometry.out_channels / groups, geometry.channels / groups];
    let n_positions = geometry.kernel[0] * geometry.kernel[1];
    let (n_rows, n_cols) = match direction {
        Direction::Forward => (inputs, outputs),
        Direction::Backward => (outputs, inputs),
    };
    let of_group = &weight[group * outputs * inputs * n_positions..];
    let (row_stride, col_stride) = match direction {
        Direction::Forward => (n_positions, inputs * n_positions),
        Direction::Backward => (inputs * n_positions, n_positions),
    };
    let n_values = gather.taps.len() * n_rows;
    let columns = panel_columns(n_cols);
    let mut packed = vec![0.0; n_values * columns.iter().map(|(_, width)| width).sum::<usize>()];
    let mut panels = Vec::new();
    let mut rest = &mut packed[..];
    for &(col, width) in &columns {
        let (panel, after) = rest.split_at_mut(n_values * width);
        panels.push((col, width, panel));
        rest = after;
    }
    each(panels.into_iter(), |(col, width, panel)| {
        for (tap, to) in gather.taps.iter().zip(panel.chunks_exact_mut(n_rows * width)) {
            let position = tap.position[0] * geometry.kernel[1] + tap.position[1];
            let from = &of_group[position + col * col_stride..];
            let strides = (row_stride, col_stride);
            vectorized(
                #[inline(always)]
                || copy(from, strides, width.min(n_cols - col), to, width),
            );
        }
    });
    packed
}

/// Writes `from[row * strides.0 + col * strides.1]` for `n_cols` columns to the rows of `to`, of
/// `width` values; for loops that are vectorized.
#[inline(always)]
fn copy(from: &[f32], strides: (usize, usize), n_cols: usize, to: &mut [f32], width: usize) {
    match strides {
        (stride, 1) => {
            for (row, to) in to.chunks_exact_mut(width).enumerate() {
                to[..n_cols].copy_from_slice(&from[row * stride..][..n_cols]);
            }
        }
        (1, stride) => {
            for (i, to) in to.chunks_mut(SQUARE * width).enumerate() {
                transpose(&from[i * SQUARE..], stride, n_cols, to, width);
            }
        }
        (row_stride, col_stride) => {
            // Column by column: what is read then lies close together.
            for col in 0..n_cols {
                let from = from[col * col_stride..].iter().step_by(row_stride);
                to[col..].iter_mut().step_by(width).zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// Side of the squares in which weights are transposed.
const SQUARE: usize = 8;

/// At most `SQUARE` rows of `to` from columns that are `stride` apart.
#[inline(always)]
fn transpose(from: &[f32], stride: usize, n_cols: usize, to: &mut [f32], width: usize) {
    let n_rows = to.len() / width;
    for first in (0..n_cols).step_by(SQUARE) {
        if n_rows == SQUARE && n_cols - first >= SQUARE {
            let columns: [[f32; SQUARE]; SQUARE] = std::array::from_fn(|col| {
                let from = &from[(first + col) * stride..][..SQUARE];
                std::array::from_fn(|row| from[row])
            });
            for row in 0..SQUARE {
                let values: [f32; SQUARE] = std::array::from_fn(|col| columns[col][row]);
                to[row * width + first..][..SQUARE].copy_from_slice(&values);
            }
            continue;
        }
        for col in first..n_cols.min(first + SQUARE) {
            for row in 0..n_rows {
                to[row * width + col] = from[col * stride + row];
            }
        }
    }
}

/// First column and width of each panel.
pub(super) fn panel_columns(n_cols: usize) -> Vec<(usize, usize)> {
    let mut columns = Vec::new();
    let mut col = 0;
    while col < n_cols {
        let width = dispatch(PanelWidth { left: n_cols - col });
        columns.push((col, width));
        col += width;
    }
    columns
}
