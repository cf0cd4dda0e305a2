//! `dropout(relu(x W^T + b))`.

use super::{Block, Common, each};
use crate::act::{Buffer, Made};
use crate::gemm::{Matrix, Write, gemm};
use crate::ops::linear::{Activation, finish, undo};
use crate::ops::step::{Backward, Forward, Reads};
use crate::ops::{Dropout, deposit, slices};
use crate::{Mode, Result};

/// A linear layer, and the ReLU and the dropout after it.
pub(crate) struct LinearBlock {
    pub(crate) relu: bool,
    pub(crate) dropout: Option<Dropout>,
}

impl LinearBlock {
    pub(super) fn activation(&self, mode: Mode) -> Activation {
        match (self.dropout, mode) {
            (Some(dropout), Mode::Train(stream)) => {
                Activation::ReluDropout { p: dropout.p, stream: dropout.stream_of(stream) }
            }
            _ if self.relu => Activation::Relu,
            _ => Activation::Identity,
        }
    }

    fn forward_one(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0);
        let (n_out, n_in) = step.weight(0).dims2()?;
        let n = x.dims()[0];
        let mut y = Buffer::take(n * n_out);
        slices::with(step.weight(0), |weight| {
            let weight = Matrix::new(weight, n_out, n_in);
            gemm(&mut y, Matrix::new(x.values(), n, n_in), weight.t(), Write::Set);
            Ok(())
        })?;
        let bias = match step.weights.get(1) {
            Some(bias) => bias.value.to_vec1::<f32>()?,
            None => vec![0.0; n_out],
        };
        finish(&mut y, &bias, self.activation(step.mode), step.first_row);
        Ok(y.into())
    }

    fn backward_one(&self, mut grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let x = step.input(0);
        let (n_out, n_in) = step.weight(0).dims2()?;
        let n = x.dims()[0];
        let y = self.relu.then(|| step.output.values());
        let to_bias = undo(&mut grad, y, n_out, self.activation(step.mode).scale());
        let g = Matrix::new(&grad, n, n_out);
        if let Some(sink) = step.sink(1) {
            deposit::deposit(sink, &to_bias)?;
        }
        if let Some(sink) = step.sink(0) {
            let (buffer, write) = sink.write();
            let x = Matrix::new(x.values(), n, n_in);
            slices::with_mut(buffer, |to_weight| gemm(to_weight, g.t(), x, write))?;
        }
        if !x.needs_grad() {
            return Ok(());
        }
        let mut to_x = Buffer::take(n * n_in);
        slices::with(step.weight(0), |weight| {
            gemm(&mut to_x, g, Matrix::new(weight, n_out, n_in), Write::Set);
            Ok(())
        })?;
        step.add(0, to_x)
    }
}

impl Block for LinearBlock {
    fn forward(&self, steps: &mut [Forward<'_>], _: &Common<'_>) -> Result<Vec<Made>> {
        each(steps, |step| self.forward_one(step))
    }

    fn backward(
        &self,
        grads: Vec<Buffer>,
        steps: &mut [Backward<'_>],
        _: &Common<'_>,
    ) -> Result<()> {
        each(grads.into_iter().zip(steps), |(grad, step)| self.backward_one(grad, step))?;
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Result<&dyn super::OnGpu> {
        Ok(self)
    }

    fn reads(&self, trains: bool) -> Reads {
        Reads { inputs: trains, output: self.relu }
    }

    /// Its ReLU is undone where its bias is summed.
    fn is_clamped(&self) -> bool {
        false
    }
}
