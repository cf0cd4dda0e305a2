//! The same on a GPU.

use candle_core::Tensor;

use super::{BatchNorm2d, ConvNorm, EPS, MOMENTUM, add_to, with};
use crate::ops::batch_norm::cuda::{Norm, Stats, running_affine};
use crate::ops::channels::cuda::{Affine, Relu, through_relu};
use crate::ops::conv2d::cuda::{Weight, add_grad_input, deposit_weight, forward};
use crate::ops::conv2d::geometry::Geometry;
use crate::tape::Values;
use crate::{Act, Result, Tape};

impl BatchNorm2d {
    /// What the kernels take of this layer.
    fn with_parts<R>(&self, f: impl FnOnce(&Norm<'_>) -> Result<R>) -> Result<R> {
        f(&Norm {
            gamma: self.gamma.var(),
            beta: self.beta.var(),
            mean: &self.mean,
            variance: &self.variance,
            eps: EPS,
        })
    }

    /// Normalizes `rows` with their own statistics; returns these and the output.
    fn normalize(
        &self,
        rows: &Tensor,
        residual: Option<&Tensor>,
        relu: bool,
    ) -> Result<(Stats, Tensor)> {
        let stats = self.with_parts(|norm| Stats::of(rows, norm, MOMENTUM))?;
        let [scale, shift] = &stats.affine()?;
        let affine = Affine { scale: Some(scale), shift: Some(shift), residual, relu };
        Ok((stats, affine.apply(rows)?))
    }

    /// Takes `grad` through the ReLU, deposits the gradients of gamma and beta, and turns `rows`,
    /// the values that were normalized, into their gradient. `grad` changes in place where its ReLU
    /// has an output beside it, as a residual's gradient must.
    fn backward_cuda(
        &self,
        (grad, rows): (&Tensor, &Tensor),
        relu: Relu<'_>,
        stats: &Stats,
    ) -> Result<()> {
        let sinks = [&**self.gamma.grad(), &**self.beta.grad()];
        stats.backward((grad, rows), relu, self.gamma.var(), sinks)
    }

    /// [`BatchNorm2d::record`] in training.
    pub(super) fn record_train_cuda(
        &self,
        tape: &mut Tape,
        (x, rows): (&Act, &Tensor),
        residual: Option<&Act>,
        relu: bool,
    ) -> Result<Act> {
        let (stats, out) = self.normalize(rows, residual.and_then(Act::gpu), relu)?;
        let y = tape.output(x.dims(), out.clone(), &[x]);
        let (layer, x, residual, rows) = (self.clone(), x.clone(), residual.cloned(), rows.clone());
        tape.record_any(&y, move |grad, grads| {
            let (grad, rows) = (grad.on_gpu()?, rows.copy()?);
            let relu = relu_of(relu, residual.is_some(), &out);
            layer.backward_cuda((&grad, &rows), relu, &stats)?;
            grads.add(&x, rows)?;
            add_to(residual.as_ref(), grad, grads)
        });
        Ok(y)
    }

    /// [`BatchNorm2d::record`] in evaluation.
    pub(super) fn record_eval_cuda(
        &self,
        tape: &mut Tape,
        (x, rows): (&Act, &Tensor),
        residual: Option<&Act>,
        relu: bool,
    ) -> Result<Act> {
        let [scale, shift] = self.with_parts(running_affine)?;
        let inputs = residual.and_then(Act::gpu);
        let affine = Affine { scale: Some(&scale), shift: Some(&shift), residual: inputs, relu };
        let out = affine.apply(rows)?;
        let y = tape.output(x.dims(), out.clone(), &with(x, residual));
        let (x, residual) = (x.clone(), residual.cloned());
        tape.record_any(&y, move |grad, grads| {
            let grad = grad.on_gpu()?;
            if relu {
                through_relu(&grad, &out, 1.0)?;
            }
            let to_x = Affine { scale: Some(&scale), ..Affine::default() }.apply(&grad)?;
            grads.add(&x, to_x)?;
            add_to(residual.as_ref(), grad, grads)
        });
        Ok(y)
    }
}

/// Without a residual, the ReLU's output need not be read again.
fn relu_of(relu: bool, has_residual: bool, out: &Tensor) -> Relu<'_> {
    match (relu, has_residual) {
        (false, _) => Relu::No,
        (true, false) => Relu::OfRows,
        (true, true) => Relu::Of(out, 1.0),
    }
}

impl ConvNorm {
    /// [`ConvNorm::record`] in training. The backward turns the convolution's output into its own
    /// gradient.
    pub(super) fn record_train_cuda(
        &self,
        tape: &mut Tape,
        (x, values): (&Act, &Tensor),
        residual: Option<&Act>,
        (geometry, relu): (Geometry, bool),
    ) -> Result<Act> {
        let weight = Weight::new(&self.weight.constant())?;
        let rows = forward(values, &weight, &geometry)?;
        let (stats, out) = self.norm.normalize(&rows, residual.and_then(Act::gpu), relu)?;
        let y = tape.output(&geometry.out_dims(), out.clone(), &[x]);
        let (layer, x, residual, values) =
            (self.clone(), x.clone(), residual.cloned(), values.clone());
        tape.record_any(&y, move |grad, grads| {
            let grad = grad.on_gpu()?;
            let relu = relu_of(relu, residual.is_some(), &out);
            layer.norm.backward_cuda((&grad, &rows), relu, &stats)?;
            add_to(residual.as_ref(), Values::Gpu(grad), grads)?;
            deposit_weight((&values, &rows), &geometry, layer.weight.grad())?;
            add_grad_input(grads, &x, (&rows, &weight), &geometry)
        });
        Ok(y)
    }

    /// [`ConvNorm::record`] in evaluation: the affine map follows the convolution in place.
    pub(super) fn record_eval_cuda(
        &self,
        tape: &mut Tape,
        (x, values): (&Act, &Tensor),
        residual: Option<&Act>,
        (geometry, relu): (Geometry, bool),
    ) -> Result<Act> {
        let [scale, shift] = self.norm.with_parts(running_affine)?;
        let weight = Weight::new(&self.weight.constant())?;
        let out = forward(values, &weight, &geometry)?;
        let other = residual.and_then(Act::gpu);
        let affine = Affine { scale: Some(&scale), shift: Some(&shift), residual: other, relu };
        affine.write(&out, &out)?;
        let y = tape.output(&geometry.out_dims(), out.clone(), &with(x, residual));
        let (x, residual) = (x.clone(), residual.cloned());
        tape.record_any(&y, move |grad, grads| {
            let grad = grad.on_gpu()?;
            if relu {
                through_relu(&grad, &out, 1.0)?;
            }
            let scaled = Affine { scale: Some(&scale), ..Affine::default() }.apply(&grad)?;
            add_grad_input(grads, &x, (&scaled, &weight), &geometry)?;
            add_to(residual.as_ref(), grad, grads)
        });
        Ok(y)
    }
}
