//! Pooling as steps of a tape.

use super::Pool;
use super::cpu::Windows;
use crate::tape::{Buffer, Made};
use crate::{Act, Error, Result, Tape};

impl Tape {
    /// [`super::max_pool2d`].
    ///
    /// # Errors
    /// As [`super::max_pool2d`].
    pub fn max_pool2d(&mut self, x: &Act, pool: Pool) -> Result<Act> {
        let windows = Windows::new(x.dims(), pool)?;
        #[cfg(feature = "cuda")]
        if let Some(values) = x.gpu() {
            return self.max_pool2d_cuda((x, values), windows);
        }
        let (values, winners) = windows.max(x.values());
        // The largest of a ReLU's outputs is one itself, and where it is zero all are.
        let values = Made::after(values, x.made().relu());
        let y = self.output(&windows.out_dims(), values, &[x]);
        let x = x.clone();
        self.record(&y, move |grad, grads| {
            grads.add_through_relu(&x, windows.max_backward(&grad, &winners))
        });
        Ok(y)
    }

    /// [`super::global_avg_pool`].
    ///
    /// # Errors
    /// As [`super::global_avg_pool`].
    pub fn global_avg_pool(&mut self, x: &Act) -> Result<Act> {
        let &[n, _, _, c] = x.dims() else {
            return Err(Error::shape("x", "(N, H, W, C)", x.dims()));
        };
        let windows = Windows::whole(x.dims())?;
        #[cfg(feature = "cuda")]
        if let Some(values) = x.gpu() {
            return self.global_avg_pool_cuda((x, values), windows);
        }
        let y = self.output(&[n, c], windows.mean(x.values()), &[x]);
        let x = x.clone();
        self.record(&y, move |grad, grads| grads.add(&x, windows.mean_backward(&grad)));
        Ok(y)
    }

    /// `x[:, ::stride, ::stride, :]` with `n_zeros` zero channels before and after: the shortcut
    /// without parameters of He et al. 2016 (option A).
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of dimensions, [`Error::Config`] for a stride of 0.
    pub fn subsample(&mut self, x: &Act, stride: usize, n_zeros: usize) -> Result<Act> {
        let &[n, _, _, c] = x.dims() else {
            return Err(Error::shape("x", "(N, H, W, C)", x.dims()));
        };
        // Windows of one pixel.
        let windows = Windows::new(x.dims(), Pool { kernel: 1, stride, padding: 0 })?;
        #[cfg(feature = "cuda")]
        if let Some(values) = x.gpu() {
            return self.subsample_cuda((x, values), windows, n_zeros);
        }
        let [_, height, width, _] = windows.out_dims();
        let n_out = c + 2 * n_zeros;
        let mut values = Buffer::zeros(n * height * width * n_out);
        let sampled = windows.mean(x.values());
        for (to, from) in values.chunks_exact_mut(n_out).zip(sampled.chunks_exact(c)) {
            to[n_zeros..n_zeros + c].copy_from_slice(from);
        }
        let y = self.output(&[n, height, width, n_out], values, &[x]);
        let x = x.clone();
        self.record(&y, move |grad, grads| {
            let mut inner = Buffer::take(grad.len() / n_out * c);
            for (to, from) in inner.chunks_exact_mut(c).zip(grad.chunks_exact(n_out)) {
                to.copy_from_slice(&from[n_zeros..n_zeros + c]);
            }
            grads.add(&x, windows.mean_backward(&inner))
        });
        Ok(y)
    }
}
