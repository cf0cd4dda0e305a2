//! What students make of their training batches.

use std::ops::AddAssign;

use candle_core::{Device, Tensor};
use kd_core::ops::Count;
use kd_core::{Result, argmax};
use serde::{Deserialize, Serialize};

use crate::score::is_top5;

/// Sums over training batches, as the student saw them: augmented, in training mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Batches.
    pub(crate) n_steps: u64,
    /// Images.
    pub(crate) n_images: u64,
    /// Images classified correctly.
    n_top1: u64,
    /// Images whose label is among the five largest logits.
    n_top5: u64,
    /// Sum of the objective over the batches.
    loss_sum: f64,
}

impl Tally {
    /// One batch: its objective, its logits, `(N, K)` row-major, and its labels.
    pub(crate) fn of(loss: f64, logits: &[f32], labels: &[u32]) -> Self {
        let n_classes = logits.len() / labels.len().max(1);
        let rows = || logits.chunks_exact(n_classes.max(1)).zip(labels);
        let count = |is_right: &dyn Fn(&[f32], usize) -> bool| {
            rows().filter(|(row, label)| is_right(row, **label as usize)).count() as u64
        };
        Self {
            n_steps: 1,
            n_images: labels.len() as u64,
            n_top1: count(&|row, label| argmax(row) == label),
            n_top5: count(&is_top5),
            loss_sum: loss,
        }
    }

    /// As numbers, to be summed over the shards of a batch.
    pub(crate) fn to_numbers(self) -> Vec<f64> {
        let Self { n_images, n_top1, n_top5, loss_sum, .. } = self;
        vec![n_images as f64, n_top1 as f64, n_top5 as f64, loss_sum]
    }

    /// One batch, of the sums over its shards.
    pub(crate) fn of_numbers(numbers: &[f64]) -> Self {
        let n = |i: usize| numbers[i] as u64;
        Self { n_steps: 1, n_images: n(0), n_top1: n(1), n_top5: n(2), loss_sum: numbers[3] }
    }

    /// Mean of the objective over the batches.
    pub(crate) fn loss(&self) -> f64 {
        self.loss_sum / self.n_steps.max(1) as f64
    }

    /// Fraction of the images classified correctly.
    pub(crate) fn top1(&self) -> f64 {
        self.n_top1 as f64 / self.n_images.max(1) as f64
    }

    /// Fraction of the images whose label is among the five largest logits.
    pub(crate) fn top5(&self) -> f64 {
        self.n_top5 as f64 / self.n_images.max(1) as f64
    }
}

/// Batches whose counts are still on a GPU.
pub(crate) struct Unread {
    count: Count,
    n_steps: u64,
    n_images: u64,
}

/// Steps between two readings of the counts: each waits for the GPU.
const READ_EVERY: u64 = 100;

impl Unread {
    pub(crate) fn new(device: &Device) -> Result<Self> {
        Ok(Self { count: Count::new(device)?, n_steps: 0, n_images: 0 })
    }

    /// Counts a batch.
    pub(crate) fn add(&mut self, loss: &Tensor, logits: &Tensor, labels: &Tensor) -> Result<()> {
        self.n_steps += 1;
        self.n_images += labels.elem_count() as u64;
        self.count.add(loss, logits, labels)
    }

    /// Whether it is time to read.
    pub(crate) fn is_due(&self) -> bool {
        self.n_steps >= READ_EVERY
    }

    /// Waits for the GPU, and reads.
    pub(crate) fn tally(&self) -> Result<Tally> {
        let counted = self.count.read()?;
        let (n_steps, n_images) = (self.n_steps, self.n_images);
        let (n_top1, n_top5) = (counted.top1 as u64, counted.top5 as u64);
        Ok(Tally { n_steps, n_images, n_top1, n_top5, loss_sum: counted.loss })
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.n_steps += other.n_steps;
        self.n_images += other.n_images;
        self.n_top1 += other.n_top1;
        self.n_top5 += other.n_top5;
        self.loss_sum += other.loss_sum;
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "each is exact")]
mod tests {
    use super::*;

    #[test]
    fn batches_add_up_to_means() {
        let row = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0];
        let mut tally = Tally::of(1.0, &[row, row].concat(), &[0, 4]);
        tally += Tally::of(2.0, &row, &[5]);
        assert_eq!((tally.n_steps, tally.n_images), (2, 3));
        assert_eq!((tally.loss(), tally.top1(), tally.top5()), (1.5, 1.0 / 3.0, 2.0 / 3.0));
        assert_eq!(Tally::default().top1(), 0.0);
    }
}
