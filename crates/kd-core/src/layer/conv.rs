//! A convolution.

#[cfg(feature = "cuda")]
mod cuda;

use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::ops::conv2d::cpu;
use crate::ops::conv2d::geometry::Geometry;
use crate::ops::conv2d::weights::{grad_weight, gradients};
use crate::ops::deposit::deposit;
use crate::ops::source::Source;
use crate::ops::{Conv, channels, slices};
use crate::tape::{Grads, Made, Values};
use crate::{Act, Grad, Mode, Param, Params, Result, Stream, Tape, init, taped};

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
            Ok(cpu::forward(&x.made().source(), weight, &geometry, |_, rows| {
                channels::finish(rows, bias.as_deref(), None, relu);
            }))
        })?;
        let y = tape.output(&geometry.out_dims(), Made::after(values, relu), &[x]);
        let trained = matches!(tape.mode(), Mode::Train(_)).then(|| self.clone());
        let (weight, x) = (self.weight.constant(), x.clone());
        tape.record(&y, move |grad, grads| {
            let to_bias = |layer: &Self| layer.deposit_bias(&grad, geometry.out_channels);
            trained.as_ref().map_or(Ok(()), to_bias)?;
            let sink = trained.as_ref().map(|layer| layer.weight.grad());
            backward(&x, &Source::Plain(&grad), (&weight, sink), &geometry, grads)
        });
        Ok(y)
    }

    fn deposit_bias(&self, grad: &[f32], n_channels: usize) -> Result<()> {
        let Some(bias) = &self.bias else { return Ok(()) };
        Ok(deposit(bias.grad(), &channels::sums(grad, n_channels))?)
    }
}

/// Deposits a convolution's weight gradient, where it has a buffer, and adds the gradient of its
/// input `x`, if that needs one, from that of its output. The sum with what is known of the latter
/// and the way through the ReLU that made `x` are computed while each block is in the cache.
pub(super) fn backward(
    x: &Act,
    grad: &Source,
    (weight, sink): (&Tensor, Option<&Arc<Grad>>),
    geometry: &Geometry,
    grads: &mut Grads,
) -> Result<()> {
    let source = x.made().source();
    if !x.needs_grad() {
        let to_weight = sink.map(|sink| deposit(sink, &grad_weight(&source, grad, geometry)));
        return Ok(to_weight.transpose().map(drop)?);
    }
    let known = grads.take(x).map(Values::host).transpose()?;
    let len: usize = x.dims()[1..].iter().product();
    let finish = |image: usize, rows: &mut [f32]| {
        if let Some(known) = &known {
            channels::finish(rows, None, Some(&known[image * len..][..rows.len()]), false);
        }
        if x.made().relu() {
            source.mask(image * len, rows);
        }
    };
    let to_x = slices::with(weight, |weight| {
        let Some(sink) = sink else { return Ok(cpu::grad_input(grad, weight, geometry, finish)) };
        let (to_weight, to_x) = gradients(&source, grad, weight, geometry, finish);
        deposit(sink, &to_weight)?;
        Ok(to_x)
    })?;
    grads.add_through_relu(x, to_x)
}
