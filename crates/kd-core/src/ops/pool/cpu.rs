//! Pooling of images in NHWC order, one image a task.

use crate::act::Buffer;
use crate::ops::source::Source;
use crate::simd::vectorized;
use crate::tasks::each;

/// The windows of a pooling on images of one size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    pub(super) n: usize,
    pub(super) size: [usize; 2],
    pub(super) out_size: [usize; 2],
    pub(super) channels: usize,
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    /// Pixels above and to the left.
    pub(super) before: [usize; 2],
}

impl Windows {
    /// Windows on images `(N, H, W, C)`, with padding above, left, below and right.
    pub(super) fn new(
        x: &[usize],
        kernel: [usize; 2],
        stride: [usize; 2],
        [top, left, bottom, right]: [usize; 4],
    ) -> Self {
        let size = [x[1], x[2]];
        let n_windows = |axis: usize, before: usize, after: usize| {
            (size[axis] + before + after).saturating_sub(kernel[axis]) / stride[axis] + 1
        };
        let out_size = [n_windows(0, top, bottom), n_windows(1, left, right)];
        Self { n: x[0], size, out_size, channels: x[3], kernel, stride, before: [top, left] }
    }

    /// One window over the whole image.
    pub(super) fn whole(x: &[usize]) -> Self {
        Self::new(x, [x[1], x[2]], [1; 2], [0; 4])
    }

    fn image_len(&self) -> usize {
        self.size[0] * self.size[1] * self.channels
    }

    fn out_len(&self) -> usize {
        self.out_size[0] * self.out_size[1] * self.channels
    }

    /// The pixels of output pixel `pixel`'s window: number within the window, place in the image.
    #[inline(always)]
    fn window(&self, pixel: usize) -> impl Iterator<Item = (usize, usize)> {
        let Self { size, kernel, stride, before, channels, .. } = *self;
        let start = [pixel / self.out_size[1] * stride[0], pixel % self.out_size[1] * stride[1]];
        let inside = move |axis: usize, k: usize| {
            (start[axis] + k).checked_sub(before[axis]).filter(|place| *place < size[axis])
        };
        (0..kernel[0]).flat_map(move |ky| {
            (0..kernel[1]).filter_map(move |kx| {
                let place = inside(0, ky)? * size[1] + inside(1, kx)?;
                Some((ky * kernel[1] + kx, place * channels))
            })
        })
    }

    /// The maxima, and which pixel of its window each came from.
    pub(super) fn max(&self, x: &Source) -> (Buffer, Vec<u8>) {
        let n_values = self.n * self.out_len();
        let (mut y, mut winners) = (Buffer::take(n_values), vec![0; n_values]);
        let out = y.chunks_mut(self.out_len()).zip(winners.chunks_mut(self.out_len()));
        each(out.enumerate(), |(i, (y, winners))| {
            x.with(i * self.image_len(), self.image_len(), |x| {
                vectorized(
                    #[inline(always)]
                    || self.max_of_image(x, y, winners),
                );
            });
        });
        (y, winners)
    }

    #[inline(always)]
    fn max_of_image(&self, x: &[f32], y: &mut [f32], winners: &mut [u8]) {
        let pixels = y.chunks_exact_mut(self.channels);
        let pixels = pixels.zip(winners.chunks_exact_mut(self.channels)).enumerate();
        for (pixel, (y, winners)) in pixels {
            for (i, (number, place)) in self.window(pixel).enumerate() {
                let values = &x[place..place + self.channels];
                keep_larger(y, winners, values, number as u8, i == 0);
            }
        }
    }

    /// Each output value's gradient goes to the pixel that it came from.
    pub(super) fn max_backward(&self, grad: &[f32], winners: &[u8]) -> Buffer {
        let mut to = Buffer::take(self.n * self.image_len());
        let out = grad.chunks(self.out_len()).zip(winners.chunks(self.out_len()));
        each(to.chunks_mut(self.image_len()).zip(out), |(to, (grad, winners))| {
            vectorized(
                #[inline(always)]
                || self.spread(to, grad, winners),
            );
        });
        to
    }

    /// The gradient of one image. Where windows tile it, every pixel is written just once.
    #[inline(always)]
    fn spread(&self, to: &mut [f32], grad: &[f32], winners: &[u8]) {
        let tiled = (0..2).all(|axis| self.out_size[axis] * self.stride[axis] == self.size[axis])
            && self.kernel == self.stride
            && self.before == [0; 2];
        if !tiled {
            to.fill(0.0);
        }
        let pixels = grad.chunks_exact(self.channels).zip(winners.chunks_exact(self.channels));
        for (pixel, (grad, winners)) in pixels.enumerate() {
            for (number, place) in self.window(pixel) {
                let to = &mut to[place..place + self.channels];
                if tiled {
                    put_where(to, grad, winners, number as u8);
                } else {
                    add_where(to, grad, winners, number as u8);
                }
            }
        }
    }

    /// The mean of each window: of its pixels within the image, or with the padding as zeros.
    pub(super) fn mean(&self, x: &[f32], count_padding: bool) -> Buffer {
        let mut y = Buffer::zeros(self.n * self.out_len());
        let images = y.chunks_mut(self.out_len()).zip(x.chunks(self.image_len()));
        each(images, |(y, x)| {
            vectorized(
                #[inline(always)]
                || {
                    for (pixel, y) in y.chunks_exact_mut(self.channels).enumerate() {
                        for (_, place) in self.window(pixel) {
                            add(y, &x[place..]);
                        }
                        divide(y, self.n_counted(pixel, count_padding));
                    }
                },
            );
        });
        y
    }

    /// Each output value's gradient is shared by the pixels of its window.
    pub(super) fn mean_backward(&self, mut grad: Buffer, count_padding: bool) -> Buffer {
        let mut to = Buffer::zeros(self.n * self.image_len());
        let images = to.chunks_mut(self.image_len()).zip(grad.chunks_mut(self.out_len()));
        each(images, |(to, grad)| {
            vectorized(
                #[inline(always)]
                || {
                    for (pixel, grad) in grad.chunks_exact_mut(self.channels).enumerate() {
                        divide(grad, self.n_counted(pixel, count_padding));
                        for (_, place) in self.window(pixel) {
                            add(&mut to[place..][..self.channels], grad);
                        }
                    }
                },
            );
        });
        to
    }

    /// Number of pixels of which output pixel `pixel` is the mean.
    #[inline(always)]
    fn n_counted(&self, pixel: usize, count_padding: bool) -> f32 {
        if count_padding {
            (self.kernel[0] * self.kernel[1]) as f32
        } else {
            self.window(pixel).count() as f32
        }
    }
}

#[inline(always)]
fn add(sum: &mut [f32], values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}

#[inline(always)]
fn divide(values: &mut [f32], divisor: f32) {
    for value in values {
        *value /= divisor;
    }
}

/// Where `values` are larger than `y`, or NaN, or the first: keeps them, with their number.
/// Without a branch, which would be taken at random.
#[inline(always)]
fn keep_larger(y: &mut [f32], winners: &mut [u8], values: &[f32], number: u8, first: bool) {
    for ((y, winner), value) in y.iter_mut().zip(winners).zip(values) {
        let wins = first | (*value > *y) | value.is_nan();
        *y = if wins { *value } else { *y };
        *winner = if wins { number } else { *winner };
    }
}

/// The gradients whose winner has this number, and zeros.
#[inline(always)]
fn put_where(to: &mut [f32], grad: &[f32], winners: &[u8], number: u8) {
    for ((to, g), winner) in to.iter_mut().zip(grad).zip(winners) {
        *to = if *winner == number { *g } else { 0.0 };
    }
}

/// Adds the gradients whose winner has this number.
#[inline(always)]
fn add_where(to: &mut [f32], grad: &[f32], winners: &[u8], number: u8) {
    for ((to, g), winner) in to.iter_mut().zip(grad).zip(winners) {
        *to += if *winner == number { *g } else { 0.0 };
    }
}
