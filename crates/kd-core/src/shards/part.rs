//! The shards of one batch that a rank computes.

use std::sync::Arc;

use super::Shards;
use crate::Result;

/// The shards of one batch that this rank computes.
#[derive(Debug, Clone)]
pub struct Part {
    shards: Shards,
    here: Arc<[Here]>,
}

/// A shard that has images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Here {
    /// Number among the rank's own.
    slot: usize,
    /// Row of its first image in the batch.
    first_row: usize,
}

impl Part {
    /// Of a batch that should have `n_rows` images, those of the rank's shards that have any: for each
    /// of its own in turn `has_images` says so.
    pub fn new(shards: &Shards, n_rows: usize, has_images: &[bool]) -> Self {
        let own = shards.own().zip(has_images).enumerate().filter(|(_, (_, has))| **has);
        let here = own.map(|(slot, (shard, _))| {
            let first_row = shards.rows(shard, n_rows).start;
            Here { slot, first_row }
        });
        Self { here: here.collect(), shards: shards.clone() }
    }

    /// All of the batch in one shard.
    pub(crate) fn whole() -> Self {
        Self { shards: Shards::whole(), here: [Here { slot: 0, first_row: 0 }].into() }
    }

    /// Whether it is a batch as it is.
    pub(crate) fn is_whole(&self) -> bool {
        self.shards.n == 1
    }

    /// The cut, and the ranks.
    pub(crate) fn shards(&self) -> &Shards {
        &self.shards
    }

    /// For each shard that has images its number among the rank's own.
    pub(crate) fn slots(&self) -> impl Iterator<Item = usize> {
        self.here.iter().map(|here| here.slot)
    }

    /// The row in the batch of the first image of number `i` of the shards that have any.
    pub(crate) fn first_row(&self, i: usize) -> usize {
        self.here[i].first_row
    }

    /// As [`Shards::sum`], of the shards that have images; `none` stands for one without.
    pub(crate) fn join(
        &self,
        parts: impl IntoIterator<Item = Vec<f64>>,
        none: Vec<f64>,
        join: &dyn Fn(&mut Vec<f64>, &[f64]),
    ) -> Result<Vec<f64>> {
        let mut all = vec![none; self.shards.own().len()];
        self.here.iter().zip(parts).for_each(|(here, part)| all[here.slot] = part);
        self.shards.join(all, join)
    }
}
