//! What the methods of a training say, in words first.

use kd_core::Result;

use super::{chart, table};
use crate::document::{Block, Section};
use crate::report::Report;

/// The comparison of the methods of each training; nothing where there is none.
///
/// # Errors
/// When a chart cannot be drawn.
pub(crate) fn section(report: &Report) -> Result<Option<Section>> {
    let mut blocks = Vec::new();
    for methods in &report.methods {
        blocks.push(Block::Text(methods.summary.clone()));
        blocks.extend(table::blocks(report, methods));
        blocks.extend(chart::figure(report, methods)?.map(Block::Figure));
    }
    Ok(Section::of("Methods of distillation beside each other", blocks))
}
