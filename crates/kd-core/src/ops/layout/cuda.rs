//! The same on a GPU.

use candle_core::Tensor;

use crate::Result;
use crate::cuda::{Gpu, Grid, pointer};
use crate::gemm::Write;

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
