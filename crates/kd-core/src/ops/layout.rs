//! From images as they are stored, (N, C, H, W), to the order in which networks compute, and back.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;

use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor};
use rayon::prelude::*;

use super::slices;
use crate::{Error, Result};

/// `(N, C, H, W)` -> `(N, H, W, C)`, with gradient.
///
/// # Errors
/// [`Error::Shape`] for another number of dimensions.
pub fn nhwc(images: &Tensor) -> Result<Tensor> {
    let &[n, c, h, w] = images.dims() else {
        return Err(Error::shape("images", "(N, C, H, W)", images.dims()));
    };
    swap(images, Swap { inner: [c, h * w], out: [n, h, w, c] })
}

/// `(N, H, W, C)` -> `(N, C, H, W)`, with gradient; PyTorch's order, before flattening.
///
/// # Errors
/// [`Error::Shape`] for another number of dimensions.
pub fn nchw(x: &Tensor) -> Result<Tensor> {
    let &[n, h, w, c] = x.dims() else {
        return Err(Error::shape("x", "(N, H, W, C)", x.dims()));
    };
    swap(x, Swap { inner: [h * w, c], out: [n, c, h, w] })
}

fn swap(x: &Tensor, op: Swap) -> Result<Tensor> {
    let x = x.contiguous()?;
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::swap(&x, op);
    }
    Ok(x.apply_op1(op)?)
}

/// Transposes the matrix of `inner` size that each image is.
#[derive(Debug, Clone, Copy)]
struct Swap {
    inner: [usize; 2],
    out: [usize; 4],
}

fn transpose(x: &[f32], [n_rows, n_cols]: [usize; 2]) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    let len = (n_rows * n_cols).max(1);
    y.par_chunks_mut(len).zip(x.par_chunks(len)).for_each(|(y, x)| {
        for (j, y) in y.chunks_exact_mut(n_rows).enumerate() {
            y.iter_mut().zip(x.iter().skip(j).step_by(n_cols)).for_each(|(y, x)| *y = *x);
        }
    });
    y
}

impl CustomOp1 for Swap {
    fn name(&self) -> &'static str {
        "swap-layout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let y = transpose(slices::of(x, layout)?, self.inner);
        Ok((CpuStorage::F32(y), Shape::from_dims(&self.out)))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        let [n_rows, n_cols] = self.inner;
        let values = slices::with(&grad.contiguous()?, |g| Ok(transpose(g, [n_cols, n_rows])))?;
        Ok(Some(Tensor::from_vec(values, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;
    use crate::testing::{check_grad, random};

    #[test]
    fn both_ways_equal_candles_permutation() {
        let x = random(Stream::new(1), &[2, 3, 4, 5]);
        let y = nhwc(&x).unwrap();
        let want = x.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
        assert_eq!(y.dims(), [2, 4, 5, 3]);
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(flat(&y), flat(&want));
        assert_eq!(flat(&nchw(&y).unwrap()), flat(&x));
        assert!(nhwc(&x.flatten_all().unwrap()).is_err());
    }

    #[test]
    fn gradients_equal_central_differences() {
        check_grad(&[random(Stream::new(1), &[2, 3, 4, 5])], |t| nhwc(&t[0]));
        check_grad(&[random(Stream::new(1), &[2, 3, 4, 5])], |t| nchw(&t[0]));
    }
}
