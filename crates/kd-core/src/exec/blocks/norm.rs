//! `clamp(batch_norm(x) + residual)`.

use super::Block;
use crate::act::{Buffer, Clamp, Made};
use crate::ops::affine::{Affine, Slope};
use crate::ops::batch_norm::{Gradients, cpu::moments, gradients};
use crate::ops::deposit::deposit;
use crate::ops::source::Source;
use crate::ops::step::{Backward, Forward, Reads, Weight};
use crate::ops::{BatchNorm, BatchStats, slices};
use crate::{Mode, Result};

/// Batch norm, and the sum and the clamp after it.
pub(crate) struct NormBlock {
    pub(crate) norm: BatchNorm,
    pub(crate) residual: bool,
    pub(crate) clamp: Clamp,
}

impl Block for NormBlock {
    fn forward(&self, step: &mut Forward<'_>) -> Result<Made> {
        let x = step.input(0);
        let affine = match step.mode {
            Mode::Train(_) => {
                let stats = moments(x.values(), x.n_channels()).finish();
                let affine = learn(&self.norm, step.weights, &stats)?;
                step.save(stats);
                affine
            }
            Mode::Eval => running_affine(&self.norm, step.weights)?,
        };
        let values = match self.residual {
            true => affine.apply_and_add(x.values(), step.input(1).values(), self.clamp),
            false => Source::norm(x.values(), &affine, self.clamp).to_buffer(x.n_channels()),
        };
        if matches!(step.mode, Mode::Eval) {
            step.save(affine);
        }
        Ok(Made::after(values, self.clamp))
    }

    fn backward(&self, grad: Buffer, step: &mut Backward<'_>) -> Result<()> {
        let x = step.input(0);
        let to_x = match step.mode {
            Mode::Train(_) => {
                let stats = step.saved::<BatchStats>()?;
                let slope = backward(&self.norm, step, 0, (&grad, x.values()), &stats)?;
                Source::norm_grad(&grad, x.values(), &slope).to_buffer(x.n_channels())
            }
            Mode::Eval => {
                let mut to_x = Buffer::copy_of(&grad);
                step.saved::<Affine>()?.scale(&mut to_x);
                to_x
            }
        };
        step.add(0, to_x)?;
        if self.residual { step.add(1, grad) } else { Ok(()) }
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

/// Deposits the gradients of gamma and beta, the step's weights number `first` and the next, and
/// says how `grad` goes on to `rows`, the values that were normalized.
pub(super) fn backward(
    norm: &BatchNorm,
    step: &Backward<'_>,
    first: usize,
    (grad, rows): (&[f32], &[f32]),
    stats: &BatchStats,
) -> Result<Slope> {
    let gamma = step.weight(first).to_vec1::<f32>()?;
    let Gradients { slope, to_gamma, to_beta } = gradients(grad, rows, stats, (&gamma, norm.eps));
    for (i, values) in [to_gamma, to_beta].iter().enumerate() {
        if let Some(sink) = step.sink(first + i) {
            deposit(sink, values)?;
        }
    }
    Ok(slope)
}
