//! What joined operations compute on a GPU.
//!
//! Key decision: the convolution and the matrix product are cuDNN's and cuBLAS's; all that is joined
//! with one is a single pass of ours over its output, and a ReLU's backward is part of the pass that
//! sums the gradients of a bias or a batch norm.

use candle_core::Tensor;

use super::{ConvBlock, LinearBlock, NormBlock, SumBlock};
use crate::act::Clamp;
use crate::cuda::{Gpu, Operand, gemm};
use crate::gemm::Write;
use crate::ops::batch_norm::cuda::{Norm, Stats, running_affine};
use crate::ops::channels::cuda::{Affine, Relu, grad_sums, through_relu};
use crate::ops::conv2d::cuda::{Weight, add_grad_input, deposit_weight, forward};
use crate::ops::dropout::cpu::Mask;
use crate::ops::linear::Activation;
use crate::ops::step::{self, Backward, Forward, OnGpu, not_on_gpu};
use crate::{Grad, Mode, Result};

/// Whether `clamp` is a ReLU, the only one that the kernels know, or nothing.
fn is_relu(clamp: Clamp) -> Result<bool> {
    if clamp.is_none() || clamp == Clamp::RELU {
        return Ok(!clamp.is_none());
    }
    Err(not_on_gpu("clip"))
}

/// The sum's other term, input number 1.
fn residual(is_there: bool, step: &Forward<'_>) -> Result<Option<Tensor>> {
    is_there.then(|| step.input(1).gpu()).transpose()
}

/// Takes `grad` through `relu`, in place, and adds its sums over rows to the gradient of a bias.
fn through(grad: &Tensor, relu: Relu<'_>, bias: Option<&Grad>) -> Result<()> {
    match (bias, relu) {
        (Some(sink), _) => grad_sums(grad, relu, None)?.deposit(sink),
        (None, Relu::Of(y, scale)) => through_relu(grad, y, scale),
        (None, _) => Ok(()),
    }
}

/// Takes `grad` through `relu`, in place; returns what it is before batch norm in evaluation.
fn through_running(grad: &Tensor, relu: Relu<'_>, norm: &Norm<'_>) -> Result<Tensor> {
    through(grad, relu, None)?;
    let [scale, _] = &running_affine(norm)?;
    Affine { scale: Some(scale), ..Affine::default() }.apply(grad)
}

/// What the backward of a convolution needs.
struct Convolved {
    weight: Weight,
    /// In training with batch norm: its statistics, and the convolution's output.
    normed: Option<(Stats, Tensor)>,
}

impl OnGpu for ConvBlock {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Tensor> {
        if let Some(map) = &self.map {
            return Err(not_on_gpu(map.name()));
        }
        let geometry = self.geometry(step.input(0), step.weight(0).dims())?;
        let weight = Weight::new(step.weight(0))?;
        let rows = forward(&step.input(0).gpu()?, &weight, &geometry)?;
        let (residual, relu) = (&residual(self.residual, step)?, is_relu(self.clamp)?);
        let affine = Affine { residual: residual.as_ref(), relu, ..Affine::default() };
        let bias = self.bias.then(|| step.weight(1));
        let Some(norm) = self.norm(step.weights) else {
            Affine { shift: bias, ..affine }.finish(&rows)?;
            step.save(Convolved { weight, normed: None });
            return Ok(rows);
        };
        if let Mode::Train(_) = step.mode {
            let stats = Stats::of(&rows, &norm)?;
            let [scale, shift] = &stats.affine()?;
            let y = Affine { scale: Some(scale), shift: Some(shift), ..affine }.apply(&rows)?;
            step.save(Convolved { weight, normed: Some((stats, rows)) });
            return Ok(y);
        }
        let [scale, mut shift] = running_affine(&norm)?;
        if let Some(bias) = bias {
            shift = (shift + (bias * &scale)?)?;
        }
        Affine { scale: Some(&scale), shift: Some(&shift), ..affine }.finish(&rows)?;
        step.save(Convolved { weight, normed: None });
        Ok(rows)
    }

    /// In training with batch norm, turns the convolution's output into its own gradient.
    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()> {
        let Convolved { weight, normed } = *step.saved()?;
        let y = is_relu(self.clamp)?.then(|| step.output.gpu()).transpose()?;
        let relu = y.as_ref().map_or(Relu::No, |y| Relu::Of(y, 1.0));
        let to_rows = match (self.norm(step.weights), normed) {
            (Some(norm), Some((stats, rows))) => {
                // Without a residual, the ReLU's output need not be read again.
                let again = y.is_some() && !self.residual;
                let relu = if again { Relu::OfRows } else { relu };
                stats.backward((&grad, &rows), relu, &norm, [step.sink(1), step.sink(2)])?;
                rows
            }
            (Some(norm), None) => through_running(&grad, relu, &norm)?,
            (None, _) => {
                through(&grad, relu, step.sink(1))?;
                grad.clone()
            }
        };
        let x = step.input(0);
        let geometry = self.geometry(x, step.weight(0).dims())?;
        if let Some(sink) = step.sink(0) {
            deposit_weight((&x.gpu()?, &to_rows), &geometry, sink)?;
        }
        add_grad_input(step.grads, x, (&to_rows, &weight), &geometry)?;
        // Last, as it may be the gradient of the rows too.
        if self.residual { step.add(1, grad) } else { Ok(()) }
    }
}

impl ConvBlock {
    fn norm<'t>(&self, weights: &'t [step::Weight]) -> Option<Norm<'t>> {
        let first = 1 + usize::from(self.bias);
        self.norm.as_ref().map(|norm| Norm::new(norm, &weights[first..]))
    }
}

impl OnGpu for NormBlock {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Tensor> {
        let (x, norm) = (step.input(0).gpu()?, Norm::new(&self.norm, step.weights));
        let (residual, relu) = (&residual(self.residual, step)?, is_relu(self.clamp)?);
        let [scale, shift] = &match step.mode {
            Mode::Train(_) => {
                let stats = Stats::of(&x, &norm)?;
                let affine = stats.affine()?;
                step.save(stats);
                affine
            }
            Mode::Eval => running_affine(&norm)?,
        };
        let (scale, shift, residual) = (Some(scale), Some(shift), residual.as_ref());
        Affine { scale, shift, residual, relu }.apply(&x)
    }

    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()> {
        let norm = Norm::new(&self.norm, step.weights);
        let y = is_relu(self.clamp)?.then(|| step.output.gpu()).transpose()?;
        let relu = y.as_ref().map_or(Relu::No, |y| Relu::Of(y, 1.0));
        let to_x = match step.mode {
            Mode::Train(_) => {
                let (stats, rows) = (step.saved::<Stats>()?, step.input(0).gpu()?.copy()?);
                stats.backward((&grad, &rows), relu, &norm, [step.sink(0), step.sink(1)])?;
                rows
            }
            Mode::Eval => through_running(&grad, relu, &norm)?,
        };
        step.add(0, to_x)?;
        if self.residual { step.add(1, grad) } else { Ok(()) }
    }
}

impl OnGpu for LinearBlock {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Tensor> {
        let (x, weight) = (step.input(0).gpu()?, step.weight(0));
        let y = Gpu::of(&x)?.empty(&[x.dims()[0], weight.dims()[0]])?;
        gemm(&y, Operand::Plain(&x), Operand::Transposed(weight), Write::Set)?;
        let shift = step.weights.get(1).map(|bias| &bias.value);
        Affine { shift, relu: self.relu, ..Affine::default() }.finish(&y)?;
        if let Activation::ReluDropout { p, stream } = self.activation(step.mode) {
            Mask::new(p, stream).write(&y, &y)?;
        }
        Ok(y)
    }

    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()> {
        let y = self.relu.then(|| step.output.gpu()).transpose()?;
        let scale = self.activation(step.mode).scale();
        let relu = y.as_ref().map_or(Relu::No, |y| Relu::Of(y, scale));
        through(&grad, relu, step.sink(1))?;
        let x = step.input(0);
        if let Some(sink) = step.sink(0) {
            let (to, write) = sink.write();
            gemm(to, Operand::Transposed(&grad), Operand::Plain(&x.gpu()?), write)?;
        }
        if !x.needs_grad() {
            return Ok(());
        }
        let to_x = Gpu::of(&grad)?.empty(x.dims())?;
        gemm(&to_x, Operand::Plain(&grad), Operand::Plain(step.weight(0)), Write::Set)?;
        step.add(0, to_x)
    }
}

impl OnGpu for SumBlock {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Tensor> {
        let (residual, relu) = (&residual(true, step)?, is_relu(self.clamp)?);
        let affine = Affine { residual: residual.as_ref(), relu, ..Affine::default() };
        affine.apply(&step.input(0).gpu()?)
    }

    fn backward(&self, grad: Tensor, step: &mut Backward<'_>) -> Result<()> {
        if is_relu(self.clamp)? {
            through_relu(&grad, &step.output.gpu()?, 1.0)?;
        }
        step.add(0, grad.copy()?)?;
        step.add(1, grad)
    }
}
