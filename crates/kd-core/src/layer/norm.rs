//! Batch norm, alone and with the convolution before it.

use candle_core::{Device, Tensor, Var};

use super::conv::ConvSpec;
use crate::ops::{BatchStats, Conv, Fused, Geometry, Residual, norm_eval, norm_train};
use crate::{Mode, Param, Params, Result, Stream};

/// Added to the variance, as in PyTorch.
const EPS: f32 = 1e-5;
/// Weight of the newest batch in the running statistics, as in PyTorch.
const MOMENTUM: f32 = 0.1;

/// Batch norm with PyTorch's names: the parameters `NAME.weight` (gamma, 1 at first) and
/// `NAME.bias` (beta, 0), the buffers `NAME.running_mean` (0) and `NAME.running_var` (1).
///
/// In training it normalizes with the batch's statistics and moves the running ones by a tenth
/// towards them (the variance divided by n - 1); in evaluation it uses the running ones.
#[derive(Debug, Clone)]
pub struct BatchNorm2d {
    gamma: Param,
    beta: Param,
    mean: Var,
    variance: Var,
}

impl BatchNorm2d {
    /// Adds the layer `name` for `n_channels` channels to `params`.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when the name is taken.
    pub fn new(
        params: &mut Params,
        name: &str,
        n_channels: usize,
        device: &Device,
    ) -> Result<Self> {
        let zeros = Tensor::zeros(n_channels, candle_core::DType::F32, device)?;
        let ones = zeros.ones_like()?;
        Ok(Self {
            gamma: params.insert(&format!("{name}.weight"), &ones)?,
            beta: params.insert(&format!("{name}.bias"), &zeros)?,
            mean: params.insert_buffer(&format!("{name}.running_mean"), &zeros)?,
            variance: params.insert_buffer(&format!("{name}.running_var"), &ones)?,
        })
    }

    /// `relu?(batch_norm(x) + residual?)` for `(N, H, W, C)`, as one operation.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when the shapes do not fit.
    pub fn forward(
        &self,
        x: &Tensor,
        residual: Residual<'_>,
        relu: bool,
        mode: Mode,
    ) -> Result<Tensor> {
        self.run(None, x, residual, (relu, mode))
    }

    /// The same after a convolution.
    fn run(
        &self,
        conv: Option<(&Param, Conv)>,
        x: &Tensor,
        residual: Residual<'_>,
        (relu, mode): (bool, Mode),
    ) -> Result<Tensor> {
        let conv = match conv {
            None => None,
            Some((weight, conv)) => {
                let geometry = Geometry::new(x.dims(), weight.var().dims(), conv)?;
                Some((geometry, weight.constant(), weight.grad().clone()))
            }
        };
        let fused = Fused {
            conv,
            gamma: self.gamma.var().as_tensor().clone(),
            beta: self.beta.var().to_vec1()?,
            sinks: [self.gamma.grad().clone(), self.beta.grad().clone()],
            eps: EPS,
            relu,
        };
        if let Mode::Eval = mode {
            let (mean, variance) = (self.mean.to_vec1()?, self.variance.to_vec1()?);
            return norm_eval(&fused, (&mean, &variance), x, residual);
        }
        let (y, stats) = norm_train(fused, x, residual)?;
        self.update(&stats)?;
        Ok(y)
    }

    fn update(&self, stats: &BatchStats) -> Result<()> {
        let pairs = [(&self.mean, stats.mean.clone()), (&self.variance, stats.unbiased_variance())];
        for (running, new) in pairs {
            let old = running.to_vec1::<f32>()?.into_iter();
            let moved = old.zip(new).map(|(old, new)| (1.0 - MOMENTUM) * old + MOMENTUM * new);
            running.set(&Tensor::from_vec(moved.collect(), running.shape(), running.device())?)?;
        }
        Ok(())
    }
}

/// A convolution followed by batch norm, computed as one operation.
#[derive(Debug, Clone)]
pub struct ConvNorm {
    weight: Param,
    conv: Conv,
    norm: BatchNorm2d,
}

impl ConvNorm {
    /// Adds the convolution `conv_name` and the batch norm `norm_name` to `params`. A bias of the
    /// convolution is refused: batch norm takes it away again.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when a name is taken or `spec` has a bias.
    pub fn new(
        params: &mut Params,
        (conv_name, norm_name): (&str, &str),
        spec: ConvSpec,
        stream: Stream,
        device: &Device,
    ) -> Result<Self> {
        if spec.bias {
            return Err(crate::Error::config(conv_name, "batch norm takes a bias away again"));
        }
        Ok(Self {
            weight: spec.weight(params, conv_name, stream, device)?,
            conv: spec.conv(),
            norm: BatchNorm2d::new(params, norm_name, spec.n_out, device)?,
        })
    }

    /// `relu?(batch_norm(conv(x)) + residual?)`: `(N, H, W, I)` -> `(N, OH, OW, O)`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when the shapes do not fit.
    pub fn forward(
        &self,
        x: &Tensor,
        residual: Residual<'_>,
        relu: bool,
        mode: Mode,
    ) -> Result<Tensor> {
        self.norm.run(Some((&self.weight, self.conv)), x, residual, (relu, mode))
    }
}
