//! A linear layer with its activation: `y = dropout(relu(x Wᵀ + b))`.

mod cpu;

use std::sync::Arc;

use candle_core::{
    CpuStorage, CustomOp3, InplaceOp3, Layout, Result as CandleResult, Shape, Tensor,
};

use super::{deposit, slices};
use crate::gemm::{Matrix, Write, gemm};
use crate::{Error, Grad, Result, Stream};

/// What follows the linear map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(0, y)`, with derivative 0 at 0, as in PyTorch.
    Relu,
    /// ReLU, then inverted dropout: each value is kept with probability `1 - p` and then divided
    /// by it. The mask is a function of the stream and the value's position.
    ReluDropout {
        /// Probability with which a value is dropped, in `[0, 1)`.
        p: f32,
        /// Where the mask comes from; another one for each step and layer.
        stream: Stream,
    },
}

impl Activation {
    /// What a value that passes is multiplied by.
    pub(crate) fn scale(self) -> f32 {
        match self {
            Self::ReluDropout { p, .. } => 1.0 / (1.0 - p),
            Self::Identity | Self::Relu => 1.0,
        }
    }
}

/// `y = activation(x Wᵀ + b)`, with `W` stored as PyTorch stores it.
///
/// # Shapes
/// `x`: `(N, I)`; `weight`: `(O, I)`; `bias`: `(O,)`; returns `(N, O)`; all f32.
///
/// # Gradient
/// Flows to each argument that is tracked.
///
/// # Errors
/// [`Error::Shape`] when the shapes do not fit; [`Error::Config`] for `p` outside `[0, 1)`.
pub fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    activation: Activation,
) -> Result<Tensor> {
    apply(x, weight, bias, Linear { activation, sinks: None })
}

/// The same, but the backward adds the gradients of weight and bias to the given buffers instead
/// of handing them to candle's `GradStore`, which saves three passes over the weights a step.
///
/// # Errors
/// As [`linear`].
pub fn linear_into(
    x: &Tensor,
    weight: (&Tensor, &Arc<Grad>),
    bias: (&Tensor, &Arc<Grad>),
    activation: Activation,
) -> Result<Tensor> {
    let sinks = Some([weight.1.clone(), bias.1.clone()]);
    apply(x, weight.0, bias.0, Linear { activation, sinks })
}

fn apply(x: &Tensor, weight: &Tensor, bias: &Tensor, op: Linear) -> Result<Tensor> {
    let (n_out, n_in) =
        weight.dims2().map_err(|_| Error::shape("weight", "(O, I)", weight.dims()))?;
    if x.dims().len() != 2 || x.dims()[1] != n_in {
        return Err(Error::shape("x", format!("(N, {n_in})"), x.dims()));
    }
    if bias.dims() != [n_out] {
        return Err(Error::shape("bias", format!("({n_out},)"), bias.dims()));
    }
    if let Activation::ReluDropout { p, .. } = op.activation {
        super::dropout::check_p(p)?;
    }
    Ok(x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, op)?)
}

struct Linear {
    activation: Activation,
    /// Receivers of the gradients of weight and bias.
    sinks: Option<[Arc<Grad>; 2]>,
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let (n, n_in) = x_layout.shape().dims2()?;
        let n_out = bias_layout.shape().elem_count();
        let weight = Matrix::new(slices::of(weight, weight_layout)?, n_out, n_in);
        let x = Matrix::new(slices::of(x, x_layout)?, n, n_in);
        let mut y = vec![0.0; n * n_out];
        gemm(&mut y, x, weight.t(), Write::Set);
        cpu::finish(&mut y, slices::of(bias, bias_layout)?, self.activation);
        Ok((CpuStorage::F32(y), (n, n_out).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (n, n_out) = y.dims2()?;
        let grad = grad.contiguous()?;
        let (g, grad_bias) = slices::with(&grad, |grad| {
            slices::with(y, |y| Ok(cpu::undo(grad, y, n_out, self.activation)))
        })?;
        let g = Tensor::from_vec(g, (n, n_out), y.device())?;
        let grad_x = x.track_op().then(|| product(&g, weight)).transpose()?;
        if let Some([weight_sink, bias_sink]) = &self.sinks {
            let (buffer, write) = weight_sink.write();
            buffer.inplace_op3(&g, x, &TransposedProduct(write))?;
            deposit::deposit(bias_sink, &grad_bias)?;
            return Ok((grad_x, None, None));
        }
        let grad_weight = weight.track_op().then(|| transposed_product(&g, x)).transpose()?;
        let grad_bias = Tensor::from_vec(grad_bias, n_out, y.device())?;
        Ok((grad_x, grad_weight, bias.track_op().then_some(grad_bias)))
    }
}

/// `a b` for `(N, O)` and `(O, I)`.
fn product(a: &Tensor, b: &Tensor) -> CandleResult<Tensor> {
    let (n, n_out) = a.dims2()?;
    let n_in = b.dims()[1];
    let mut c = vec![0.0; n * n_in];
    slices::with(a, |a| {
        slices::with(b, |b| {
            gemm(&mut c, Matrix::new(a, n, n_out), Matrix::new(b, n_out, n_in), Write::Set);
            Ok(())
        })
    })?;
    Tensor::from_vec(c, (n, n_in), a.device())
}

/// `gᵀ x` for `(N, O)` and `(N, I)`.
fn transposed_product(g: &Tensor, x: &Tensor) -> CandleResult<Tensor> {
    let c = Tensor::zeros((g.dims()[1], x.dims()[1]), g.dtype(), g.device())?;
    c.inplace_op3(g, x, &TransposedProduct(Write::Set))?;
    Ok(c)
}

/// `c = gᵀ x` or `c += gᵀ x`, the gradient of a weight.
struct TransposedProduct(Write);

impl InplaceOp3 for TransposedProduct {
    fn name(&self) -> &'static str {
        "linear-weight-gradient"
    }

    fn cpu_fwd(
        &self,
        c: &mut CpuStorage,
        c_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> CandleResult<()> {
        let (n, n_out) = g_layout.shape().dims2()?;
        let n_in = x_layout.dims()[1];
        let g = Matrix::new(slices::of(g, g_layout)?, n, n_out);
        let x = Matrix::new(slices::of(x, x_layout)?, n, n_in);
        gemm(slices::of_mut(c, c_layout)?, g.t(), x, self.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_grad, random};

    #[test]
    fn gradients_equal_central_differences() {
        let stream = Stream::new(1);
        let dropout = Activation::ReluDropout { p: 0.4, stream };
        for activation in [Activation::Identity, Activation::Relu, dropout] {
            for (n, n_in, n_out) in [(1, 1, 1), (3, 5, 2), (17, 9, 33)] {
                let inputs = [
                    random(stream.at("x"), &[n, n_in]),
                    random(stream.at("w"), &[n_out, n_in]),
                    random(stream.at("b"), &[n_out]),
                ];
                check_grad(&inputs, |t| linear(&t[0], &t[1], &t[2], activation));
            }
        }
    }

    #[test]
    fn buffers_receive_the_same_gradients_and_add_up() {
        let stream = Stream::new(2);
        let x = random(stream.at("x"), &[4, 3]);
        let mut params = crate::Params::default();
        let weight = params.insert("w", &random(stream.at("w"), &[2, 3])).unwrap();
        let bias = params.insert("b", &random(stream.at("b"), &[2])).unwrap();
        let plain = linear(&x, weight.var(), bias.var(), Activation::Relu).unwrap();
        let grads = plain.sum_all().unwrap().backward().unwrap();
        let floats = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for round in 1..=2 {
            let (w, b) = ((&**weight.var(), weight.grad()), (&**bias.var(), bias.grad()));
            let y = linear_into(&x, w, b, Activation::Relu).unwrap();
            assert!(y.sum_all().unwrap().backward().unwrap().get(weight.var()).is_none());
            for param in [&weight, &bias] {
                let want = floats(grads.get(param.var()).unwrap());
                let want: Vec<f32> = want.iter().map(|g| g * round as f32).collect();
                assert_eq!(floats(param.grad().get().unwrap()), want);
            }
        }
        params.clear_grads();
        assert!(weight.grad().get().is_none());
    }

    #[test]
    fn untracked_arguments_get_no_gradient() {
        let x = candle_core::Var::from_tensor(&random(Stream::new(3), &[2, 3])).unwrap();
        let (w, b) = (random(Stream::new(4), &[2, 3]), random(Stream::new(5), &[2]));
        let y = linear(&x, &w, &b, Activation::Relu).unwrap();
        let grads = y.sum_all().unwrap().backward().unwrap();
        assert!(grads.get(&x).is_some() && grads.get(&w).is_none() && grads.get(&b).is_none());
    }

    #[test]
    fn relu_has_derivative_zero_at_zero() {
        let device = candle_core::Device::Cpu;
        let x = candle_core::Var::new(&[[0.0f32]], &device).unwrap();
        let (w, b) = (Tensor::new(&[[1.0f32]], &device).unwrap(), Tensor::new(&[0.0f32], &device));
        let y = linear(&x, &w, &b.unwrap(), Activation::Relu).unwrap();
        let grads = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(grads.get(&x).unwrap().to_vec2::<f32>().unwrap(), [[0.0]]);
    }

    #[test]
    fn dropout_keeps_the_mean_and_drops_its_share() {
        let activation = Activation::ReluDropout { p: 0.3, stream: Stream::new(6) };
        let x = random(Stream::new(7), &[1, 1]);
        let (w, b) = (x.zeros_like().unwrap().expand((20_000, 1)).unwrap(), x.ones_like().unwrap());
        let b = b.flatten_all().unwrap().expand(20_000).unwrap();
        let y = linear(&x, &w, &b, activation).unwrap().flatten_all().unwrap();
        let y = y.to_vec1::<f32>().unwrap();
        let n_dropped = y.iter().filter(|v| **v == 0.0).count();
        assert!((n_dropped as f64 / 20_000.0 - 0.3).abs() < 0.01);
        assert!((y.iter().sum::<f32>() / 20_000.0 - 1.0).abs() < 0.02);
    }

    #[test]
    fn wrong_shapes_are_named() {
        let (x, w, b) = (
            random(Stream::new(8), &[2, 3]),
            random(Stream::new(9), &[4, 5]),
            random(Stream::new(1), &[4]),
        );
        let error = linear(&x, &w, &b, Activation::Relu).unwrap_err().to_string();
        assert_eq!(error, "x: expected shape (N, 5), got [2, 3]");
    }
}
