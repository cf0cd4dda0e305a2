//! The same on a GPU.

use candle_core::Tensor;

use super::Linear;
use crate::cuda::{Gpu, Operand, gemm};
use crate::gemm::Write;
use crate::ops::Activation;
use crate::ops::channels::cuda::{Affine, Relu, Sums, grad_sums, through_relu};
use crate::ops::dropout_mask;
use crate::{Act, Mode, Result, Tape};

impl Linear {
    /// [`Linear::record`] for `values` of `x` on a GPU, `(N, I)`.
    pub(super) fn record_cuda(
        &self,
        tape: &mut Tape,
        (x, values): (&Act, &Tensor),
        activation: Activation,
    ) -> Result<Act> {
        let out = self.product(values, activation)?;
        let y = tape.output(out.dims(), out.clone(), &[x]);
        let trained = matches!(tape.mode(), Mode::Train(_)).then(|| self.clone());
        let (weight, x, values) = (self.weight.constant(), x.clone(), values.clone());
        tape.record_any(&y, move |grad, grads| {
            let grad = grad.on_gpu()?;
            let relu = (activation != Activation::Identity).then_some(&out);
            let scale = activation.scale();
            match &trained {
                Some(layer) => {
                    let relu = relu.map_or(Relu::No, |out| Relu::Of(out, scale));
                    let sums = grad_sums(&grad, relu, None)?;
                    layer.deposit_cuda((&values, &grad), &sums)?;
                }
                None => relu.map_or(Ok(()), |out| through_relu(&grad, out, scale))?,
            }
            if x.needs_grad() {
                let to_x = Gpu::of(&grad)?.empty(values.dims())?;
                gemm(&to_x, Operand::Plain(&grad), Operand::Plain(&weight), Write::Set)?;
                grads.add(&x, to_x)?;
            }
            Ok(())
        });
        Ok(y)
    }

    fn product(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let (weight, bias) = (self.weight.constant(), self.bias.constant());
        let y = Gpu::of(x)?.empty(&[x.dims()[0], bias.elem_count()])?;
        gemm(&y, Operand::Plain(x), Operand::Transposed(&weight), Write::Set)?;
        let relu = activation != Activation::Identity;
        Affine { shift: Some(&bias), relu, ..Affine::default() }.write(&y, &y)?;
        if let Activation::ReluDropout { p, stream } = activation {
            dropout_mask(p, stream)?.write(&y, &y)?;
        }
        Ok(y)
    }

    /// Adds the parameters' gradients to their buffers.
    fn deposit_cuda(&self, (x, grad): (&Tensor, &Tensor), sums: &Sums) -> Result<()> {
        sums.deposit(self.bias.grad())?;
        let (to, write) = self.weight.grad().write();
        gemm(to, Operand::Transposed(grad), Operand::Plain(x), write)
    }
}
