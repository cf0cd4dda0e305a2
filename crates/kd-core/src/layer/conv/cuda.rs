//! The same on a GPU.

use candle_core::Tensor;

use super::Conv2d;
use crate::ops::channels::cuda::{Affine, Relu, grad_sums, through_relu};
use crate::ops::conv2d::cuda::{Weight, add_grad_input, deposit_weight, forward};
use crate::ops::conv2d::geometry::Geometry;
use crate::{Act, Mode, Result, Tape};

impl Conv2d {
    /// [`Conv2d::record`] for `x` of an activation on a GPU.
    pub(super) fn record_cuda(
        &self,
        tape: &mut Tape,
        (x, values): (&Act, &Tensor),
        (geometry, relu): (Geometry, bool),
    ) -> Result<Act> {
        let weight = Weight::new(&self.weight.constant())?;
        let out = forward(values, &weight, &geometry)?;
        let bias = self.bias.as_ref().map(|bias| bias.constant());
        if bias.is_some() || relu {
            let shift = bias.as_ref();
            Affine { shift, relu, ..Affine::default() }.write(&out, &out)?;
        }
        let y = tape.output(&geometry.out_dims(), out.clone(), &[x]);
        let trained = matches!(tape.mode(), Mode::Train(_)).then(|| self.clone());
        let (x, values) = (x.clone(), values.clone());
        tape.record_any(&y, move |grad, grads| {
            let grad = grad.on_gpu()?;
            let relu = relu.then_some(&out);
            match &trained {
                Some(layer) => layer.deposit_cuda((&values, &grad), relu, &geometry)?,
                None => relu.map_or(Ok(()), |out| through_relu(&grad, out, 1.0))?,
            }
            add_grad_input(grads, &x, (&grad, &weight), &geometry)
        });
        Ok(y)
    }

    /// Takes `grad` through the ReLU, in place, and adds the parameters' gradients to their buffers.
    fn deposit_cuda(
        &self,
        (x, grad): (&Tensor, &Tensor),
        relu: Option<&Tensor>,
        geometry: &Geometry,
    ) -> Result<()> {
        match (&self.bias, relu) {
            (Some(bias), _) => {
                let relu = relu.map_or(Relu::No, |out| Relu::Of(out, 1.0));
                grad_sums(grad, relu, None)?.deposit(bias.grad())?;
            }
            (None, Some(out)) => through_relu(grad, out, 1.0)?,
            (None, None) => (),
        }
        deposit_weight((x, grad), geometry, self.weight.grad())
    }
}
