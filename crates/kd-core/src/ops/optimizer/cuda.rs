//! The kernels' calls.

use candle_core::Tensor;

use crate::Result;
use crate::cuda::{Arg, Gpu, Grid, address};

/// Values that a block steps over, as `CHUNK` in the kernels.
const CHUNK: usize = 4096;

/// Steps each parameter along its gradient; its state begins at the given place of each part.
pub(super) fn step(
    kernel: &'static str,
    rates: &[f32],
    steps: &[(&Tensor, &Tensor, usize)],
    state: &[Tensor],
) -> Result<()> {
    let Some((first, _, _)) = steps.first() else { return Ok(()) };
    let gpu = Gpu::of(first)?;
    let parts = state.iter().map(address).collect::<Result<Vec<_>>>()?;
    let mut table = Vec::with_capacity(6 * steps.len());
    let mut n_blocks = 0;
    for (param, grad, start) in steps {
        let n = param.elem_count();
        // A part that this optimizer has not is never looked at.
        let at = |i: usize| parts.get(i).map_or(0, |part| part + 4 * *start as u64);
        table.extend([address(param)?, address(grad)?, at(0), at(1), n as u64, n_blocks as u64]);
        n_blocks += n.div_ceil(CHUNK);
    }
    let slots = gpu.upload(&table)?;
    let args = [Arg::slice(&gpu, &slots), steps.len().into(), Arg::floats(rates)];
    gpu.launch(kernel, Grid::blocks(n_blocks, 1), &args)
}
