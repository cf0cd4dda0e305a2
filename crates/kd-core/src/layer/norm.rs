//! Batch norm, alone and with the convolution before it.

#[cfg(feature = "cuda")]
mod cuda;

use std::sync::{Mutex, PoisonError};

use candle_core::{Device, Tensor, Var};

use super::conv::{ConvSpec, backward};
use crate::ops::batch_norm::cpu::{Affine, Moments, Slope, join_all, moments};
use crate::ops::batch_norm::{Gradients, gradients};
use crate::ops::conv2d::cpu;
use crate::ops::conv2d::geometry::Geometry;
use crate::ops::deposit::deposit;
use crate::ops::source::Source;
use crate::ops::{BatchStats, Conv, channels, slices};
use crate::tape::{Buffer, Grads, Made, Values};
use crate::{Act, Error, Mode, Param, Params, Result, Stream, Tape, taped_with};

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
    /// [`Error::Config`] when the name is taken.
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
    /// [`Error::Shape`] when the shapes do not fit.
    pub fn forward(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        relu: bool,
        mode: Mode,
    ) -> Result<Tensor> {
        taped_with(x, residual, mode, |tape, x, residual| self.record(tape, x, residual, relu))
    }

    /// [`BatchNorm2d::forward`] as a step of `tape`.
    ///
    /// # Errors
    /// As [`BatchNorm2d::forward`].
    pub fn record(
        &self,
        tape: &mut Tape,
        x: &Act,
        residual: Option<&Act>,
        relu: bool,
    ) -> Result<Act> {
        self.check(x.dims(), residual)?;
        #[cfg(feature = "cuda")]
        if let Some(rows) = x.gpu() {
            return match tape.mode() {
                Mode::Train(_) => self.record_train_cuda(tape, (x, rows), residual, relu),
                Mode::Eval => self.record_eval_cuda(tape, (x, rows), residual, relu),
            };
        }
        let Mode::Train(_) = tape.mode() else {
            return self.record_eval(tape, x, residual, relu);
        };
        let stats = moments(x.values(), self.n_channels()).finish();
        let affine = self.affine((&stats.mean, &stats.variance))?;
        self.update(&stats)?;
        let values = apply(&affine, x.values(), residual, relu);
        let y = tape.output(x.dims(), Made::after(values, relu), &[x]);
        let (layer, x, residual) = (self.clone(), x.clone(), residual.cloned());
        tape.record(&y, move |grad, grads| {
            let slope = layer.backward(&grad, x.values(), &stats)?;
            grads.add(&x, slope.apply(&grad, x.values()))?;
            add_to(residual.as_ref(), grad, grads)
        });
        Ok(y)
    }

    /// An affine map of each channel: the gradient flows to `x` and `residual` only.
    fn record_eval(
        &self,
        tape: &mut Tape,
        x: &Act,
        residual: Option<&Act>,
        relu: bool,
    ) -> Result<Act> {
        let affine = self.running_affine()?;
        let values = apply(&affine, x.values(), residual, relu);
        let y = tape.output(x.dims(), Made::after(values, relu), &with(x, residual));
        let (x, residual) = (x.clone(), residual.cloned());
        tape.record(&y, move |grad, grads| {
            let mut to_x = Buffer::copy_of(&grad);
            affine.scale(&mut to_x);
            grads.add(&x, to_x)?;
            add_to(residual.as_ref(), grad, grads)
        });
        Ok(y)
    }

    fn n_channels(&self) -> usize {
        self.gamma.var().elem_count()
    }

    /// Refuses values of another number of channels, and a residual of another shape.
    fn check(&self, dims: &[usize], residual: Option<&Act>) -> Result<()> {
        let n_channels = self.n_channels();
        if dims.last() != Some(&n_channels) {
            return Err(Error::shape("x", format!("(.., {n_channels})"), dims));
        }
        match residual {
            Some(residual) if residual.dims() != dims => {
                Err(Error::shape("residual", format!("{dims:?}"), residual.dims()))
            }
            _ => Ok(()),
        }
    }

    fn affine(&self, moments: (&[f32], &[f32])) -> Result<Affine> {
        let (gamma, beta) = (self.gamma.var().to_vec1()?, self.beta.var().to_vec1()?);
        Ok(Affine::new((&gamma, &beta), moments, EPS))
    }

    fn running_affine(&self) -> Result<Affine> {
        let (mean, variance) = (self.mean.to_vec1()?, self.variance.to_vec1()?);
        self.affine((&mean, &variance))
    }

    /// Deposits the gradients of gamma and beta; returns how `grad` goes on to `rows`, the values
    /// that were normalized.
    fn backward(&self, grad: &[f32], rows: &[f32], stats: &BatchStats) -> Result<Slope> {
        let gamma = self.gamma.var().to_vec1::<f32>()?;
        let Gradients { slope, to_gamma, to_beta } = gradients(grad, rows, stats, (&gamma, EPS));
        deposit(self.gamma.grad(), &to_gamma)?;
        deposit(self.beta.grad(), &to_beta)?;
        Ok(slope)
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

/// `relu?(affine(rows) + residual?)`
fn apply(affine: &Affine, rows: &[f32], residual: Option<&Act>, relu: bool) -> Buffer {
    match residual {
        Some(residual) => affine.apply_and_add(rows, residual.values(), relu),
        None => affine.apply(rows, relu),
    }
}

fn with<'a>(x: &'a Act, residual: Option<&'a Act>) -> Vec<&'a Act> {
    [x].into_iter().chain(residual).collect()
}

fn add_to(residual: Option<&Act>, grad: impl Into<Values>, grads: &mut Grads) -> Result<()> {
    residual.map_or(Ok(()), |residual| grads.add(residual, grad))
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
    /// [`Error::Config`] when a name is taken or `spec` has a bias.
    pub fn new(
        params: &mut Params,
        (conv_name, norm_name): (&str, &str),
        spec: ConvSpec,
        stream: Stream,
        device: &Device,
    ) -> Result<Self> {
        if spec.bias {
            return Err(Error::config(conv_name, "batch norm takes a bias away again"));
        }
        Ok(Self {
            weight: spec.weight(params, conv_name, stream, device)?,
            conv: spec.conv(),
            norm: BatchNorm2d::new(params, norm_name, spec.n_out, device)?,
        })
    }

    /// The batch norm alone.
    pub fn norm(&self) -> &BatchNorm2d {
        &self.norm
    }

    /// `relu?(batch_norm(conv(x)) + residual?)`: `(N, H, W, I)` -> `(N, OH, OW, O)`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the shapes do not fit.
    pub fn forward(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        relu: bool,
        mode: Mode,
    ) -> Result<Tensor> {
        taped_with(x, residual, mode, |tape, x, residual| self.record(tape, x, residual, relu))
    }

    /// [`ConvNorm::forward`] as a step of `tape`.
    ///
    /// # Errors
    /// As [`ConvNorm::forward`].
    pub fn record(
        &self,
        tape: &mut Tape,
        x: &Act,
        residual: Option<&Act>,
        relu: bool,
    ) -> Result<Act> {
        let geometry = Geometry::new(x.dims(), self.weight.var().dims(), self.conv)?;
        self.norm.check(&geometry.out_dims(), residual)?;
        #[cfg(feature = "cuda")]
        if let Some(values) = x.gpu() {
            let how = (geometry, relu);
            return match tape.mode() {
                Mode::Train(_) => self.record_train_cuda(tape, (x, values), residual, how),
                Mode::Eval => self.record_eval_cuda(tape, (x, values), residual, how),
            };
        }
        match tape.mode() {
            Mode::Train(_) => self.record_train(tape, x, residual, (geometry, relu)),
            Mode::Eval => self.record_eval(tape, x, residual, (geometry, relu)),
        }
    }

    fn record_train(
        &self,
        tape: &mut Tape,
        x: &Act,
        residual: Option<&Act>,
        (geometry, relu): (Geometry, bool),
    ) -> Result<Act> {
        let weight = self.weight.constant();
        let source = x.made().source();
        let (rows, moments) =
            slices::with(&weight, |weight| Ok(convolve(&source, weight, &geometry)))?;
        let stats = moments.finish();
        let affine = self.norm.affine((&stats.mean, &stats.variance))?;
        self.norm.update(&stats)?;
        let values = Made::normed(rows, affine, residual.map(Act::values), relu);
        let y = tape.output(&geometry.out_dims(), values, &[x]);
        let (layer, x, residual, out) = (self.clone(), x.clone(), residual.cloned(), y.clone());
        tape.record(&y, move |grad, grads| {
            let rows = out.made().rows();
            let slope = layer.norm.backward(&grad, rows, &stats)?;
            let to_rows = Source::norm_grad(&grad, rows, &slope);
            let sink = Some(layer.weight.grad());
            backward(&x, &to_rows, (&weight, sink), &geometry, grads)?;
            add_to(residual.as_ref(), grad, grads)
        });
        Ok(y)
    }

    /// The affine map folds into the convolution's weights.
    fn record_eval(
        &self,
        tape: &mut Tape,
        x: &Act,
        residual: Option<&Act>,
        (geometry, relu): (Geometry, bool),
    ) -> Result<Act> {
        let Affine { scale, shift } = self.norm.running_affine()?;
        let weight = slices::with(&self.weight.constant(), |weight| Ok(folded(weight, &scale)))?;
        let weight = Tensor::from_vec(weight, self.weight.var().shape(), &Device::Cpu)?;
        let image_len: usize = geometry.out_dims()[1..].iter().product();
        let finish = |first: usize, rows: &mut [f32]| {
            let residual = residual.map(|r| &r.values()[first * image_len..][..rows.len()]);
            channels::finish(rows, Some(&shift), residual, relu);
        };
        let source = x.made().source();
        let values = slices::with(&weight, |w| Ok(cpu::forward(&source, w, &geometry, finish)))?;
        let values = Made::after(values, relu);
        let y = tape.output(&geometry.out_dims(), values, &with(x, residual));
        let (x, residual) = (x.clone(), residual.cloned());
        tape.record(&y, move |grad, grads| {
            backward(&x, &Source::Plain(&grad), (&weight, None), &geometry, grads)?;
            add_to(residual.as_ref(), grad, grads)
        });
        Ok(y)
    }
}

/// The convolution's output, and its moments, taken while each block is in the cache.
fn convolve(x: &Source, weight: &[f32], geometry: &Geometry) -> (Buffer, Moments) {
    let n_channels = geometry.out_channels;
    let parts = Mutex::new(Vec::new());
    let y = cpu::forward(x, weight, geometry, |first, rows| {
        let moments = Moments::of(rows, n_channels);
        parts.lock().unwrap_or_else(PoisonError::into_inner).push((first, moments));
    });
    let mut parts = parts.into_inner().unwrap_or_else(PoisonError::into_inner);
    parts.sort_by_key(|(first, _)| *first);
    let parts: Vec<_> = parts.into_iter().map(|(_, moments)| moments).collect();
    (y, join_all(&parts, n_channels))
}

/// Weights whose output channels are multiplied by `scale`.
fn folded(weight: &[f32], scale: &[f32]) -> Vec<f32> {
    let n = weight.len() / scale.len().max(1);
    let channels = weight.chunks_exact(n.max(1)).zip(scale);
    channels.flat_map(|(weight, scale)| weight.iter().map(move |w| w * scale)).collect()
}
