//! Some of the channels of every pixel, copied to other channels.

use super::channels::task_len;
use crate::act::Buffer;
use crate::tasks::each;

/// The channels `first..first + count` of pixels that have `of` channels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strip {
    pub(crate) of: usize,
    pub(crate) first: usize,
    pub(crate) count: usize,
}

impl Strip {
    /// The strip of `pixels`, alone.
    pub(crate) fn read(self, pixels: &[f32]) -> Buffer {
        let mut strip = Buffer::take(pixels.len() / self.of * self.count);
        let tasks = strip.chunks_mut(self.task_len(self.count));
        each(tasks.zip(pixels.chunks(self.task_len(self.of))), |(strip, pixels)| {
            for (to, from) in strip.chunks_exact_mut(self.count).zip(pixels.chunks_exact(self.of)) {
                to.copy_from_slice(&from[self.first..][..self.count]);
            }
        });
        strip
    }

    /// Pixels that are 0 but for the strip.
    pub(crate) fn among_zeros(self, strip: &[f32]) -> Buffer {
        let mut pixels = Buffer::take(strip.len() / self.count * self.of);
        let tasks = pixels.chunks_mut(self.task_len(self.of));
        each(tasks.zip(strip.chunks(self.task_len(self.count))), |(pixels, strip)| {
            pixels.fill(0.0);
            self.write(strip, pixels);
        });
        pixels
    }

    /// Writes the strip of `pixels`.
    pub(crate) fn write(self, strip: &[f32], pixels: &mut [f32]) {
        for (to, from) in pixels.chunks_exact_mut(self.of).zip(strip.chunks_exact(self.count)) {
            to[self.first..][..self.count].copy_from_slice(from);
        }
    }

    /// Values of a task whose pixels have `n_channels`, which are a part of all.
    pub(crate) fn task_len(self, n_channels: usize) -> usize {
        task_len(self.of) / self.of * n_channels
    }
}
