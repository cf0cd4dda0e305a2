//! Knowledge review.

use candle_core::{D, DType, Tensor};
use kd_core::ops::{BatchNorm, Conv2d, Init};
use kd_core::{Mode, Params, Result, apply};
use serde::{Deserialize, Serialize};

use super::maps::{averaged, begin, linear, map, mean_squared, own, resized};
use super::pair::{Pair, students, teachers};
use super::rows::{check, warm, with_labels};
use super::{Loss, LossInput};

/// `hard CE + w weight sum over parts of d(f(s), t)`: from the deepest part to the shallowest, what a part of
/// the student says is projected, fused with what the deeper ones said, each place weighing the two (the
/// attention-based fusion), and compared with the teacher's part at several scales; w grows to 1 over
/// `warmup` epochs (Chen et al. 2021, arXiv:2104.09044, eq. 7 and figure 3).
///
/// The authors compare the teacher's parts before their last ReLU; here they are what the named nodes say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Review {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the distances.
    pub weight: f64,
    /// Epochs over which it grows.
    pub warmup: u64,
    /// The parts from the shallowest to the deepest, each `PART` or `STUDENT=TEACHER`.
    pub taps: Vec<Pair>,
}

impl Default for Review {
    fn default() -> Self {
        let taps = ["stage:1", "stage:2", "stage:3", "pooled"].map(Pair::from).into();
        Self { hard: 1.0, weight: 1.0, warmup: 20, taps }
    }
}

impl Loss for Review {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let mut distance = Tensor::zeros((), DType::F64, input.logits.device())?;
        let mut deeper: Option<Tensor> = None;
        for (i, pair) in self.taps.iter().enumerate().rev() {
            let [student, teacher] = pair.of(input)?;
            let (level, teacher) = (Level { input, i }, map(&teacher)?);
            let fused = level.fused(&map(&student)?, deeper.as_ref())?;
            distance = (distance + scales(&level.output(&fused, &teacher)?, &teacher)?)?;
            deeper = Some(fused);
        }
        let weight = self.weight * warm(input.epoch, self.warmup);
        with_labels(input, self.hard, (distance * weight)?)
    }

    fn needs_teacher(&self) -> bool {
        true
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn taps(&self) -> Vec<String> {
        students(&self.taps)
    }

    fn teacher_taps(&self) -> Vec<String> {
        teachers(&self.taps)
    }

    /// All levels are as wide as the student's deepest part, at most 512 channels.
    fn own_params(&self, first: &LossInput<'_>) -> Result<Params> {
        let mut params = Params::new();
        let parts = self.taps.iter().map(|pair| pair.of(first)).collect::<Result<Vec<_>>>()?;
        let width = |part: &Tensor| part.dim(D::Minus1);
        let middle = parts.last().map_or(Ok(0), |[own, _]| width(own))?.min(512);
        for (i, [own, theirs]) in parts.iter().enumerate() {
            let (n_in, n_out, like) = (width(own)?, width(theirs)?, (own, first.stream));
            let mut add = |name: &str, shape: &[usize], fan_in| {
                begin(&mut params, (&format!("{i}.{name}"), shape), fan_in, like)
            };
            add("in.weight", &[middle, n_in], n_in)?;
            add("out.weight", &[n_out, middle, 3, 3], 9 * middle)?;
            if i + 1 < parts.len() {
                add("attention.weight", &[2, 2 * middle], 2 * middle)?;
                add("attention.bias", &[2], 2 * middle)?;
            }
            for (name, n) in [("in", middle), ("out", n_out)] {
                let ones = Tensor::ones(n, DType::F32, own.device())?;
                params.insert(&format!("{i}.{name}.gamma"), &ones)?;
                params.insert(&format!("{i}.{name}.beta"), &ones.zeros_like()?)?;
            }
        }
        Ok(params)
    }

    fn check(&self) -> Result<()> {
        super::pair::check(&self.taps)?;
        check(&[("hard", self.hard), ("weight", self.weight)], &[])
    }
}

/// What belongs to one part.
struct Level<'a> {
    input: &'a LossInput<'a>,
    i: usize,
}

impl Level<'_> {
    fn param(&self, name: &str) -> Result<&Tensor> {
        own(self.input.own, &format!("{}.{name}", self.i))
    }

    /// The student's map, projected, with what the deeper parts said, `(N, H, W, M)`.
    fn fused(&self, student: &Tensor, deeper: Option<&Tensor>) -> Result<Tensor> {
        let x = self.normalized(&linear(student, self.param("in.weight")?)?, "in")?;
        let Some(deeper) = deeper else { return Ok(x) };
        let y = resized(deeper, [x.dims()[1], x.dims()[2]])?;
        let both = linear(&Tensor::cat(&[&x, &y], 3)?, self.param("attention.weight")?)?;
        let both = both.broadcast_add(self.param("attention.bias")?)?;
        let weights = (both.neg()?.exp()? + 1.0)?.recip()?;
        let (of_x, of_y) = (weights.narrow(3, 0, 1)?, weights.narrow(3, 1, 1)?);
        Ok((x.broadcast_mul(&of_x)? + y.broadcast_mul(&of_y)?)?)
    }

    /// Of the size of the teacher's map.
    fn output(&self, fused: &Tensor, teacher: &Tensor) -> Result<Tensor> {
        let x = resized(fused, [teacher.dims()[1], teacher.dims()[2]])?.contiguous()?;
        let conv = Conv2d::new(teacher.dims()[3], 3).padding(1).init(Init::Pytorch);
        let x = apply(conv, &[&x], &[self.param("out.weight")?], self.mode())?;
        self.normalized(&x, "out")
    }

    /// Batch norm by the batch's own statistics.
    fn normalized(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let gamma = self.param(&format!("{name}.gamma"))?;
        let beta = self.param(&format!("{name}.beta"))?;
        // Nobody asks for the running ones.
        let (mean, variance) = (beta.detach().zeros_like()?, gamma.detach().ones_like()?);
        let params = [gamma, beta, &mean, &variance];
        apply(BatchNorm::default(), &[&x.contiguous()?], &params, self.mode())
    }

    fn mode(&self) -> Mode {
        Mode::Train(self.input.stream)
    }
}

/// The mean squared distance at full size, and with half the weight for each further one at sizes of 4, 2
/// and 1, divided by the sum of the weights; sizes that do not divide the map are left out.
fn scales(own: &Tensor, theirs: &Tensor) -> Result<Tensor> {
    let (mut sum, mut weight, mut total) = (mean_squared(own, theirs)?, 1.0, 1.0);
    let sides = [own.dims()[1], own.dims()[2]];
    let fits = |size: &usize| sides.iter().all(|side| size < side && side.is_multiple_of(*size));
    for size in [4, 2, 1].into_iter().filter(fits) {
        weight /= 2.0;
        let (own, theirs) = (averaged(own, [size; 2])?, averaged(theirs, [size; 2])?);
        sum = (sum + (mean_squared(&own, &theirs)? * weight)?)?;
        total += weight;
    }
    Ok((sum / total)?)
}
