//! `clamp(batch_norm(x) + residual)`.

use super::{Block, Common, each};
use crate::act::{Buffer, Clamp, Made};
use crate::ops::affine::{Affine, Slope};
use crate::ops::batch_norm::cpu::{Moments, grad_sums, moments};
use crate::ops::batch_norm::{slope, to_gamma_and_beta};
use crate::ops::deposit::deposit;
use crate::ops::source::Source;
use crate::ops::step::{Backward, Forward, Reads, Weight};
use crate::ops::{BatchNorm, BatchStats, slices};
use crate::shards::Part;
use crate::{Mode, Result};

/// Batch norm, and the sum and the clamp after it.
pub(crate) struct NormBlock {
    pub(crate) norm: BatchNorm,
    pub(crate) residual: bool,
    pub(crate) clamp: Clamp,
}

impl Block for NormBlock {
    fn forward(&self, steps: &mut [Forward<'_>], common: &Common<'_>) -> Result<Vec<Made>> {
        let affine = match common.mode {
            Mode::Train(_) => {
                let measure = |step: &mut Forward<'_>| {
                    let x = step.input(0);
                    Ok(moments(x.values(), x.n_channels()))
                };
                let stats = batch_stats(each(&mut *steps, measure)?, common)?;
                steps.iter_mut().for_each(|step| step.save(stats.clone()));
                learn(&self.norm, common.weights, &stats)?
            }
            Mode::Eval => running_affine(&self.norm, common.weights)?,
        };
        each(steps, |step| {
            let x = step.input(0);
            let values = match self.residual {
                true => affine.apply_and_add(x.values(), step.input(1).values(), self.clamp),
                false => Source::norm(x.values(), &affine, self.clamp).to_buffer(x.n_channels()),
            };
            if matches!(common.mode, Mode::Eval) {
                step.save(affine.clone());
            }
            Ok(Made::after(values, self.clamp))
        })
    }

    fn backward(
        &self,
        grads: Vec<Buffer>,
        steps: &mut [Backward<'_>],
        common: &Common<'_>,
    ) -> Result<()> {
        let slope = match common.mode {
            Mode::Train(_) => {
                backward(&self.norm, 0, &grads, steps, |step| step.input(0).values(), common)?
            }
            Mode::Eval => None,
        };
        each(grads.into_iter().zip(steps), |(grad, step)| {
            let x = step.input(0);
            let to_x = match &slope {
                Some(slope) => {
                    Source::norm_grad(&grad, x.values(), slope).to_buffer(x.n_channels())
                }
                None => {
                    let mut to_x = Buffer::copy_of(&grad);
                    step.saved::<Affine>()?.scale(&mut to_x);
                    to_x
                }
            };
            step.add(0, to_x)?;
            if self.residual { step.add(1, grad) } else { Ok(()) }
        })?;
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn on_gpu(&self) -> Result<&dyn super::OnGpu> {
        Ok(self)
    }

    fn reads(&self, trains: bool) -> Reads {
        Reads { inputs: trains, output: false }
    }

    fn is_clamped(&self) -> bool {
        !self.clamp.is_none()
    }
}

/// The map of a batch with these statistics, towards which the running ones move. `weights` are
/// gamma, beta, running mean and running variance.
pub(super) fn learn(norm: &BatchNorm, weights: &[Weight], stats: &BatchStats) -> Result<Affine> {
    let pairs = [(&weights[2], &stats.mean), (&weights[3], &stats.unbiased_variance())];
    let momentum = norm.momentum;
    for (running, new) in pairs {
        slices::with_mut(&running.value, |running| {
            for (running, new) in running.iter_mut().zip(new) {
                *running = (1.0 - momentum) * *running + momentum * new;
            }
        })?;
    }
    affine(norm, weights, (&stats.mean, &stats.variance))
}

/// The map with the running statistics.
pub(super) fn running_affine(norm: &BatchNorm, weights: &[Weight]) -> Result<Affine> {
    let (mean, variance) = (weights[2].value.to_vec1()?, weights[3].value.to_vec1()?);
    affine(norm, weights, (&mean, &variance))
}

fn affine(norm: &BatchNorm, weights: &[Weight], moments: (&[f32], &[f32])) -> Result<Affine> {
    let (gamma, beta) = (weights[0].value.to_vec1()?, weights[1].value.to_vec1()?);
    Ok(Affine::new((&gamma, &beta), moments, norm.eps))
}

/// The statistics of the whole batch, from the moments of each shard.
pub(super) fn batch_stats(moments: Vec<Moments>, common: &Common<'_>) -> Result<BatchStats> {
    if let ([moments], true) = (&moments[..], common.part.is_whole()) {
        return Ok(moments.finish());
    }
    let none = Moments::none(n_channels(common)).to_numbers();
    let join = |sum: &mut Vec<f64>, other: &[f64]| {
        *sum = Moments::of_numbers(sum).join(&Moments::of_numbers(other)).to_numbers();
    };
    let parts = moments.iter().map(Moments::to_numbers);
    Ok(Moments::of_numbers(&common.part.join(parts, none, &join)?).finish())
}

/// Channels of the step's batch norm, whose four tensors come last.
fn n_channels(common: &Common<'_>) -> usize {
    common.weights.last().map_or(0, |running| running.value.elem_count())
}

/// Deposits the gradients of gamma and beta, the step's weights number `first` and the next, and says
/// how `grads` go on to `rows`, the values that were normalized; nothing where there are none.
pub(super) fn backward<'a>(
    norm: &BatchNorm,
    first: usize,
    grads: &[Buffer],
    steps: &mut [Backward<'a>],
    rows: impl Fn(&Backward<'a>) -> &'a [f32] + Sync,
    common: &Common<'_>,
) -> Result<Option<Slope>> {
    let measured = each(grads.iter().zip(&mut *steps), |(grad, step)| {
        let stats = *step.saved::<BatchStats>()?;
        let sums = grad_sums(grad, rows(step), &stats.mean);
        for (i, values) in to_gamma_and_beta(&sums, &stats, norm.eps).iter().enumerate() {
            if let Some(sink) = step.sink(first + i) {
                deposit(sink, values)?;
            }
        }
        Ok((stats, sums))
    })?;
    let (mut stats, parts): (Vec<_>, Vec<_>) = measured.into_iter().unzip();
    let sums = batch_sums(parts, 2 * n_channels(common), common.part)?;
    let Some(stats) = stats.pop() else { return Ok(None) };
    let gamma = common.weights[first].value.to_vec1::<f32>()?;
    Ok(Some(slope(&sums, &stats, (&gamma, norm.eps))))
}

/// Sums over the whole batch, from those of each shard.
fn batch_sums(parts: Vec<Vec<f64>>, n: usize, part: &Part) -> Result<Vec<f64>> {
    let add = |sum: &mut Vec<f64>, other: &[f64]| {
        sum.iter_mut().zip(other).for_each(|(a, b)| *a += b);
    };
    part.join(parts, vec![0.0; n], &add)
}
