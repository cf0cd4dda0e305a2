//! Weights in the order in which a gathering sum uses them.

use pulp::Arch;
use rayon::prelude::*;

use super::geometry::{Gather, Geometry};
use super::tile::PanelWidth;

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
    panels.into_par_iter().for_each(|(col, width, panel)| {
        let mut rows = panel.chunks_exact_mut(width);
        for tap in &gather.taps {
            let position = tap.position[0] * geometry.kernel[1] + tap.position[1];
            for (row, to) in rows.by_ref().take(n_rows).enumerate() {
                let from = &of_group[position + row * row_stride + col * col_stride..];
                for (to, from) in
                    to.iter_mut().zip(from.iter().step_by(col_stride)).take(n_cols - col)
                {
                    *to = *from;
                }
            }
        }
    });
    packed
}

/// First column and width of each panel.
pub(super) fn panel_columns(n_cols: usize) -> Vec<(usize, usize)> {
    let mut columns = Vec::new();
    let mut col = 0;
    while col < n_cols {
        let width = Arch::new().dispatch(PanelWidth { left: n_cols - col });
        columns.push((col, width));
        col += width;
    }
    columns
}
