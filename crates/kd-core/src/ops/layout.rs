//! From images as they are stored, (N, C, H, W), to the order in which networks compute, and back.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;

use candle_core::{Device, Tensor};

use super::slices;
use crate::tasks::each;
use crate::{Error, Result};

/// `(N, C, H, W)` -> `(N, H, W, C)`, without gradient.
///
/// # Errors
/// [`Error::Shape`] for another number of dimensions.
pub(crate) fn to_nhwc(images: &Tensor) -> Result<Tensor> {
    let &[n, c, h, w] = images.dims() else {
        return Err(Error::shape("images", "(N, C, H, W)", images.dims()));
    };
    swap(images, [c, h * w], &[n, h, w, c])
}

/// `(N, H, W, C)` -> `(N, C, H, W)`, without gradient.
///
/// # Errors
/// [`Error::Shape`] for another number of dimensions.
pub(crate) fn to_nchw(x: &Tensor) -> Result<Tensor> {
    let &[n, h, w, c] = x.dims() else {
        return Err(Error::shape("x", "(N, H, W, C)", x.dims()));
    };
    swap(x, [h * w, c], &[n, c, h, w])
}

/// Transposes the matrix of `size` that each image is.
fn swap(x: &Tensor, size: [usize; 2], dims: &[usize]) -> Result<Tensor> {
    let x = x.contiguous()?;
    if size.contains(&1) {
        return Ok(x.reshape(dims)?);
    }
    #[cfg(feature = "cuda")]
    if x.device().is_cuda() {
        return cuda::transposed(&x, size, dims);
    }
    let mut y = vec![0.0; x.elem_count()];
    slices::with(&x, |x| {
        transpose(x, size, &mut y);
        Ok(())
    })?;
    Ok(Tensor::from_vec(y, dims, &Device::Cpu)?)
}

/// The transposes of the matrices of `n_rows` x `n_cols` that `x` holds, to `y`.
pub(crate) fn transpose(x: &[f32], [n_rows, n_cols]: [usize; 2], y: &mut [f32]) {
    if n_rows == 1 || n_cols == 1 {
        return y.copy_from_slice(x);
    }
    let len = (n_rows * n_cols).max(1);
    each(y.chunks_mut(len).zip(x.chunks(len)), |(y, x)| {
        for (j, y) in y.chunks_exact_mut(n_rows).enumerate() {
            y.iter_mut().zip(x.iter().skip(j).step_by(n_cols)).for_each(|(y, x)| *y = *x);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;
    use crate::testing::random;

    #[test]
    fn both_ways_equal_candles_permutation() {
        let x = random(Stream::new(1), &[2, 3, 4, 5]);
        let y = to_nhwc(&x).unwrap();
        let want = x.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
        assert_eq!(y.dims(), [2, 4, 5, 3]);
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(flat(&y), flat(&want));
        assert_eq!(flat(&to_nchw(&y).unwrap()), flat(&x));
        assert!(to_nhwc(&x.flatten_all().unwrap()).is_err());
    }
}
