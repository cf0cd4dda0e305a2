//! A convolution.

#[cfg(feature = "cuda")]
mod cuda;

use candle_core::{Device, Tensor};

use crate::ops::conv2d::cpu;
use crate::ops::conv2d::geometry::Geometry;
use crate::ops::deposit::deposit;
use crate::ops::{Conv, channels, slices};
use crate::{Act, Mode, Param, Params, Result, Stream, Tape, init, taped};

/// From which distribution a convolution's weights are drawn first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvInit {
    /// PyTorch's default, `U(-1/sqrt(fan_in), 1/sqrt(fan_in))`.
    Pytorch,
    /// `N(0, 2 / fan_out)` (He et al. 2015), as torchvision's ResNets.
    KaimingNormalFanOut,
    /// `N(0, 2 / fan_in)`, as the first CIFAR ResNets.
    KaimingNormalFanIn,
}

/// The settings of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvSpec {
    /// Input channels.
    pub n_in: usize,
    /// Output channels.
    pub n_out: usize,
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Zeros around the image, on each side.
    pub padding: usize,
    /// Groups of channels that do not meet.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// How the weights begin; a bias begins as PyTorch's default.
    pub init: ConvInit,
}

impl ConvSpec {
    /// Stride 1, no padding, one group, no bias, PyTorch's initial values.
    pub fn new(n_in: usize, n_out: usize, kernel: usize) -> Self {
        let (stride, padding, groups) = (1, 0, 1);
        let init = ConvInit::Pytorch;
        Self { n_in, n_out, kernel, stride, padding, groups, bias: false, init }
    }

    pub(super) fn conv(&self) -> Conv {
        Conv { stride: self.stride, padding: self.padding, groups: self.groups }
    }

    /// Adds `NAME.weight`, `(O, I/groups, k, k)`, to `params`.
    pub(super) fn weight(
        &self,
        params: &mut Params,
        name: &str,
        stream: Stream,
        device: &Device,
    ) -> Result<Param> {
        let name = format!("{name}.weight");
        let window = self.kernel * self.kernel;
        let fan_in = self.n_in / self.groups.max(1) * window;
        let shape = [self.n_out, self.n_in / self.groups.max(1), self.kernel, self.kernel];
        let stream = stream.at(&name);
        let value = match self.init {
            ConvInit::Pytorch => {
                init::uniform(stream, &shape, init::pytorch_bound(fan_in), device)?
            }
            ConvInit::KaimingNormalFanIn => init::kaiming_normal(stream, &shape, fan_in, device)?,
            ConvInit::KaimingNormalFanOut => {
                let fan_out = self.n_out / self.groups.max(1) * window;
                init::kaiming_normal(stream, &shape, fan_out, device)?
            }
        };
        params.insert(&name, &value)
    }
}

/// A convolution with PyTorch's names: `NAME.weight` `(O, I/groups, k, k)`, `NAME.bias` `(O,)`.
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Param,
    bias: Option<Param>,
    conv: Conv,
}

impl Conv2d {
    /// Adds the layer `name` to `params`, with initial values drawn from `stream`.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when the name is taken.
    pub fn new(
        params: &mut Params,
        name: &str,
        spec: ConvSpec,
        stream: Stream,
        device: &Device,
    ) -> Result<Self> {
        let weight = spec.weight(params, name, stream, device)?;
        let bias = match spec.bias {
            false => None,
            true => {
                let name = format!("{name}.bias");
                let fan_in = weight.var().elem_count() / spec.n_out.max(1);
                let bound = init::pytorch_bound(fan_in);
                let value = init::uniform(stream.at(&name), &[spec.n_out], bound, device)?;
                Some(params.insert(&name, &value)?)
            }
        };
        Ok(Self { weight, bias, conv: spec.conv() })
    }

    /// `(N, H, W, I)` -> `(N, OH, OW, O)`, then ReLU where `relu` says so. In training, the
    /// backward adds the parameters' gradients to their buffers; in evaluation the parameters are
    /// constants.
    ///
    /// # Errors
    /// As [`crate::ops::conv2d`].
    pub fn forward(&self, x: &Tensor, relu: bool, mode: Mode) -> Result<Tensor> {
        taped(x, mode, |tape, x| self.record(tape, x, relu))
    }

    /// [`Conv2d::forward`] as a step of `tape`.
    ///
    /// # Errors
    /// As [`Conv2d::forward`].
    pub fn record(&self, tape: &mut Tape, x: &Act, relu: bool) -> Result<Act> {
        let geometry = Geometry::new(x.dims(), self.weight.var().dims(), self.conv)?;
        #[cfg(feature = "cuda")]
        if let Some(values) = x.gpu() {
            return self.record_cuda(tape, (x, values), (geometry, relu));
        }
        let bias = self.bias.as_ref().map(|bias| bias.var().to_vec1::<f32>()).transpose()?;
        let values = slices::with(&self.weight.constant(), |weight| {
            Ok(cpu::forward(x.values(), weight, &geometry, |_, rows| {
                channels::finish(rows, bias.as_deref(), None, relu);
            }))
        })?;
        let y = tape.output(&geometry.out_dims(), values, &[x]);
        let trained = matches!(tape.mode(), Mode::Train(_)).then(|| self.clone());
        let (weight, x, out) = (self.weight.constant(), x.clone(), y.clone());
        tape.record(&y, move |mut grad, grads| {
            if relu {
                channels::through_relu(&mut grad, out.values());
            }
            if let Some(layer) = trained {
                layer.deposit(&x, &grad, &geometry)?;
            }
            if x.needs_grad() {
                let to_x = slices::with(&weight, |w| Ok(cpu::grad_input(&grad, w, &geometry)))?;
                grads.add(&x, to_x)?;
            }
            Ok(())
        });
        Ok(y)
    }

    /// Adds the parameters' gradients to their buffers.
    fn deposit(&self, x: &Act, grad: &[f32], geometry: &Geometry) -> Result<()> {
        deposit(self.weight.grad(), &cpu::grad_weight(x.values(), grad, geometry))?;
        if let Some(bias) = &self.bias {
            deposit(bias.grad(), &channels::sums(grad, geometry.out_channels))?;
        }
        Ok(())
    }
}
