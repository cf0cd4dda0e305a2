//! A linear layer.

#[cfg(feature = "cuda")]
mod cuda;

use candle_core::{Device, Tensor};

#[cfg(feature = "cuda")]
use crate::Error;
use crate::ops::{Activation, linear, linear_into};
use crate::{Act, Mode, Param, Params, Result, Stream, Tape, init, taped};

/// A linear layer with PyTorch's names and shapes: `NAME.weight` `(O, I)`, `NAME.bias` `(O,)`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Param,
    bias: Param,
}

impl Linear {
    /// Adds the layer `name` to `params`, with PyTorch's default initial values drawn from
    /// `stream`.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when the name is taken.
    pub fn new(
        params: &mut Params,
        name: &str,
        (n_in, n_out): (usize, usize),
        stream: Stream,
        device: &Device,
    ) -> Result<Self> {
        let bound = init::pytorch_bound(n_in);
        let mut add = |part: &str, shape: &[usize]| {
            let name = format!("{name}.{part}");
            params.insert(&name, &init::uniform(stream.at(&name), shape, bound, device)?)
        };
        Ok(Self { weight: add("weight", &[n_out, n_in])?, bias: add("bias", &[n_out])? })
    }

    /// `(N, I)` -> `(N, O)`. In training, the backward adds the parameters' gradients to their
    /// buffers; in evaluation the parameters are constants.
    ///
    /// # Errors
    /// As [`linear`].
    pub fn forward(&self, x: &Tensor, activation: Activation, mode: Mode) -> Result<Tensor> {
        if x.device().is_cuda() {
            return taped(x, mode, |tape, x| self.record(tape, x, activation));
        }
        let (weight, bias) = (&self.weight, &self.bias);
        match mode {
            Mode::Eval => linear(x, &weight.constant(), &bias.constant(), activation),
            Mode::Train(_) => {
                let weight = (weight.var().as_tensor(), weight.grad());
                linear_into(x, weight, (bias.var().as_tensor(), bias.grad()), activation)
            }
        }
    }

    /// [`Linear::forward`] as a step of `tape`.
    ///
    /// # Errors
    /// As [`linear`].
    pub fn record(&self, tape: &mut Tape, x: &Act, activation: Activation) -> Result<Act> {
        #[cfg(feature = "cuda")]
        if let Some(values) = x.gpu() {
            let n_in = self.weight.var().dims()[1];
            if x.dims().len() != 2 || x.dims()[1] != n_in {
                return Err(Error::shape("x", format!("(N, {n_in})"), x.dims()));
            }
            return self.record_cuda(tape, (x, values), activation);
        }
        let mode = tape.mode();
        tape.tensor_op(x, |x| self.forward(x, activation, mode))
    }
}
