//! `activation(batch_norm(conv(x)) + residual)`, in one pass over memory.
//!
//! Key decision: in training, batch norm's map is not computed where it stands but where the next
//! convolution reads (`ops/source.rs`), and statistics are taken while the convolution's output is
//! in the cache. In evaluation the map folds into the weights.

use parking_lot::Mutex;

use super::norm::{backward as norm_backward, batch_stats, learn, running_affine};
use super::{Block, Common, each};
use crate::act::{Act, Buffer, Clamp, Made};
use crate::ops::affine::Affine;
use crate::ops::batch_norm::cpu::{Moments, join_all};
use crate::ops::conv2d::geometry::Geometry;
use crate::ops::conv2d::kept::{self, Kept};
use crate::ops::conv2d::weights::{grad_weight, gradients};
use crate::ops::deposit::deposit;
use crate::ops::source::Source;
use crate::ops::step::{Backward, Forward, Reads};
use crate::ops::{BatchNorm, Conv, ConvSums, Op, channels, slices};
use crate::{Mode, Result};

/// A convolution, and what is joined with it.
pub(crate) struct ConvBlock {
    pub(crate) conv: Conv,
    pub(crate) sums: ConvSums,
    /// In evaluation, what was made of weights that change no more.
    pub(crate) kept: Option<Kept>,
    pub(crate) bias: bool,
    pub(crate) norm: Option<BatchNorm>,
    pub(crate) residual: bool,
    pub(crate) clamp: Clamp,
    /// Another function of each value, in evaluation without gradients.
    pub(crate) map: Option<Op>,
}

impl Block for ConvBlock {
    fn forward(&self, steps: &mut [Forward<'_>], common: &Common<'_>) -> Result<Vec<Made>> {
        match (&self.norm, common.mode) {
            (Some(norm), Mode::Train(_)) => self.normalize(norm, steps, common),
            _ => each(steps, |step| self.convolve(step)),
        }
    }

    fn backward(
        &self,
        grads: Vec<Buffer>,
        steps: &mut [Backward<'_>],
        common: &Common<'_>,
    ) -> Result<()> {
        let slope = match (&self.norm, common.mode) {
            (Some(norm), Mode::Train(_)) => {
                norm_backward(norm, 1, &grads, steps, |step| step.output.made().rows(), common)?
            }
            _ => None,
        };
        each(grads.into_iter().zip(steps), |(grad, step)| {
            match &slope {
                Some(slope) => {
                    let rows = step.output.made().rows();
                    self.convolve_back_as_is(&Source::norm_grad(&grad, rows, slope), step)?;
                }
                None => self.convolve_back_plain(&grad, step)?,
            }
            if self.residual { step.add(1, grad) } else { Ok(()) }
        })?;
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Result<&dyn super::OnGpu> {
        Ok(self)
    }

    /// In evaluation only what a clamp has made is read again, which is kept anyway.
    fn reads(&self, trains: bool) -> Reads {
        Reads { inputs: trains, output: trains && self.norm.is_some() }
    }

    fn is_clamped(&self) -> bool {
        !self.clamp.is_none()
    }
}

impl ConvBlock {
    pub(super) fn geometry(&self, x: &Act, weight: &[usize]) -> Result<Geometry> {
        let geometry = Geometry::new(x.dims(), weight, self.conv)?;
        Ok(Geometry { sums: self.sums, ..geometry })
    }

    /// In training, with batch norm.
    fn normalize(
        &self,
        norm: &BatchNorm,
        steps: &mut [Forward<'_>],
        common: &Common<'_>,
    ) -> Result<Vec<Made>> {
        let measured = each(&mut *steps, |step| {
            let geometry = self.geometry(step.input(0), step.weight(0).dims())?;
            let source = step.input(0).made().source();
            Ok(slices::with(step.weight(0), |weight| {
                Ok(convolve_and_measure(&source, weight, &geometry))
            })?)
        })?;
        let (rows, moments): (Vec<_>, Vec<_>) = measured.into_iter().unzip();
        let stats = batch_stats(moments, common)?;
        let affine = learn(norm, &common.weights[1..], &stats)?;
        each(rows.into_iter().zip(steps), |(rows, step)| {
            step.save(stats.clone());
            let residual = self.residual.then(|| step.input(1).values());
            Ok(Made::normed(rows, affine.clone(), residual, self.clamp))
        })
    }

    /// Without batch norm, or with its map in the weights.
    fn convolve(&self, step: &mut Forward<'_>) -> Result<Made> {
        let geometry = &self.geometry(step.input(0), step.weight(0).dims())?;
        let bias = match self.bias {
            true => Some(step.weight(1).to_vec1::<f32>()?),
            false => None,
        };
        let Some(norm) = &self.norm else {
            let values = slices::with(step.weight(0), |weight| {
                Ok(self.run(step, weight, bias.as_deref(), geometry))
            })?;
            return Ok(Made::after(values, self.clamp));
        };
        let Affine { scale, mut shift } =
            running_affine(norm, &step.weights[1 + usize::from(self.bias)..])?;
        if let Some(bias) = bias {
            shift.iter_mut().zip(&scale).zip(bias).for_each(|((shift, s), b)| *shift += s * b);
        }
        let weight = slices::with(step.weight(0), |weight| Ok(folded(weight, &scale)))?;
        let values = self.run(step, &weight, Some(&shift), geometry);
        step.save(weight);
        Ok(Made::after(values, self.clamp))
    }

    fn run(
        &self,
        step: &Forward<'_>,
        weight: &[f32],
        shift: Option<&[f32]>,
        geometry: &Geometry,
    ) -> Buffer {
        let residual = self.residual.then(|| step.input(1).values());
        let finish = |first: usize, rows: &mut [f32]| {
            let residual = residual.map(|residual| &residual[first..][..rows.len()]);
            channels::finish(rows, shift, residual, self.clamp);
            if let Some(map) = &self.map {
                map.as_dyn().map(rows);
            }
        };
        let source = step.input(0).made().source();
        kept::forward(self.kept.as_ref(), &source, weight, geometry, finish)
    }

    /// With the weights as they are.
    fn convolve_back_as_is(&self, grad: &Source, step: &mut Backward<'_>) -> Result<()> {
        let geometry = self.geometry(step.input(0), step.weight(0).dims())?;
        slices::with(step.weight(0), |weight| {
            Ok(self.convolve_back(grad, weight, &geometry, step)?)
        })?;
        Ok(())
    }

    /// Without batch norm, or with its map in the weights.
    fn convolve_back_plain(&self, grad: &[f32], step: &mut Backward<'_>) -> Result<()> {
        if let Some(sink) = step.sink(1).filter(|_| self.bias) {
            deposit(sink, &channels::sums(grad, step.output.n_channels()))?;
        }
        let plain = Source::Plain(grad, Clamp::NONE);
        if self.norm.is_none() {
            return self.convolve_back_as_is(&plain, step);
        }
        let geometry = self.geometry(step.input(0), step.weight(0).dims())?;
        let weight = step.saved::<Vec<f32>>()?;
        self.convolve_back(&plain, &weight, &geometry, step)
    }

    /// Deposits the weights' gradient, where they are trained, and adds the gradient of the input, if
    /// that needs one, from that of the output. The sum with what is known of the latter and the way
    /// through the clamp that made the input are computed while each block is in the cache.
    fn convolve_back(
        &self,
        grad: &Source,
        weight: &[f32],
        geometry: &Geometry,
        step: &mut Backward<'_>,
    ) -> Result<()> {
        let (x, sink) = (step.input(0), step.sink(0));
        let source = x.is_kept().then(|| x.made().source());
        let trained = sink.zip(source.as_ref());
        if !x.needs_grad() {
            let to_weight = |(sink, x)| deposit(sink, &grad_weight(x, grad, geometry));
            return Ok(trained.map_or(Ok(()), to_weight)?);
        }
        let known = step.grads.take(x).map(|grad| grad.values.host()).transpose()?;
        let finish = |first: usize, rows: &mut [f32]| {
            if let Some(known) = &known {
                let known = &known[first..][..rows.len()];
                channels::finish(rows, None, Some(known), Clamp::NONE);
            }
            if let Some(source) = source.as_ref().filter(|_| !x.made().clamp().is_none()) {
                source.mask(first, rows);
            }
        };
        let to_x = match trained {
            None => kept::grad_input(self.kept.as_ref(), grad, weight, geometry, finish),
            Some((sink, source)) => {
                let (to_weight, to_x) = gradients(source, grad, weight, geometry, finish);
                deposit(sink, &to_weight)?;
                to_x
            }
        };
        step.grads.add_through_clamp(x, to_x)
    }
}

/// The convolution's output, and its moments, taken while each block is in the cache.
fn convolve_and_measure(x: &Source, weight: &[f32], geometry: &Geometry) -> (Buffer, Moments) {
    let n_channels = geometry.out_channels;
    let parts = Mutex::new(Vec::new());
    let y = kept::forward(None, x, weight, geometry, |first, rows| {
        let moments = Moments::of(rows, n_channels);
        parts.lock().push((first, moments));
    });
    let mut parts = parts.into_inner();
    parts.sort_by_key(|(first, _)| *first);
    let parts: Vec<_> = parts.into_iter().map(|(_, moments)| moments).collect();
    (y, join_all(&parts, n_channels))
}

/// Weights whose output channels are multiplied by `scale`.
fn folded(weight: &[f32], scale: &[f32]) -> Vec<f32> {
    let n = weight.len() / scale.len().max(1);
    let mut folded = Vec::with_capacity(weight.len());
    for (weight, scale) in weight.chunks_exact(n.max(1)).zip(scale) {
        folded.extend(weight.iter().map(|w| w * scale));
    }
    folded
}
