//! The same on a GPU.

use candle_core::Tensor;

use super::Swap;
use crate::cuda::{Gpu, Grid, known, pointer};
use crate::gemm::Write;
use crate::{Act, Error, Result, Tape};

/// Bytes that a block's threads share at most, without asking for more.
const MAX_SHARED: usize = 48 << 10;

/// Transposes each of the matrices of `size` that `from` holds into `to`, or adds them.
pub(crate) fn transpose(
    from: &Tensor,
    to: &Tensor,
    [n_rows, n_cols]: [usize; 2],
    write: Write,
) -> Result<()> {
    let (n, len) = (from.elem_count(), n_rows * n_cols);
    let add = matches!(write, Write::Add);
    let mut args = vec![pointer(from)?, pointer(to)?, n_rows.into(), n_cols.into(), add.into()];
    let gpu = Gpu::of(from)?;
    if 4 * len <= MAX_SHARED {
        let grid = Grid::blocks(n / len.max(1), 1).sharing(4 * len);
        return gpu.launch("transpose_small", grid, &args);
    }
    args.push(n.into());
    gpu.launch("transpose_large", Grid::over(n)?, &args)
}

/// The transposes of `x`'s matrices of `size`, as a tensor of `dims`.
pub(crate) fn transposed(x: &Tensor, size: [usize; 2], dims: &[usize]) -> Result<Tensor> {
    let y = Gpu::of(x)?.empty(dims)?;
    transpose(x, &y, size, Write::Set)?;
    Ok(y)
}

/// The operation in candle's graph.
pub(super) fn swap(x: &Tensor, op: Swap) -> Result<Tensor> {
    let [n_rows, n_cols] = op.inner;
    let (y, dims) = (transposed(x, op.inner, &op.out)?, x.dims().to_vec());
    known(x, y, move |grad| transposed(grad, [n_cols, n_rows], &dims))
}

impl Tape {
    /// [`Tape::flatten`] for `values` of `x` on a GPU.
    pub(super) fn flatten_cuda(&mut self, x: &Act, values: &Tensor) -> Result<Act> {
        let &[n, height, width, n_channels] = x.dims() else {
            return Err(Error::shape("x", "(N, H, W, C)", x.dims()));
        };
        let size = [height * width, n_channels];
        let out = transposed(values, size, &[n, n_channels * height * width])?;
        let y = self.output(out.dims(), out.clone(), &[x]);
        let x = x.clone();
        self.record_any(&y, move |grad, grads| {
            let to_x = transposed(&grad.on_gpu()?, [size[1], size[0]], x.dims())?;
            grads.add(&x, to_x)
        });
        Ok(y)
    }
}
