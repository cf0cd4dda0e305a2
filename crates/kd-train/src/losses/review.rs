//! Knowledge review.

use candle_core::{D, DType, Tensor};
use kd_core::ops::{BatchNorm, Conv2d, Init};
use kd_core::{Graph, Mode, Params, Result};
use serde::{Deserialize, Serialize};

use super::attended::attended;
use super::maps::{begin, by_image, given, map, own, place_in, resized};
use super::pair::Pair;
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
        let (mut deeper, middle) = (None, self.middle(input)?);
        for (i, pair) in self.taps.iter().enumerate().rev() {
            let [student, teacher] = pair.of(input)?;
            let (student, teacher) = (map(&student)?, map(&teacher)?);
            let mode = Mode::Train(input.stream);
            let projected = projector(i, &student, middle)?.apply(&student, input.own, mode)?;
            let fused = match &deeper {
                Some(deeper) => {
                    let weights = own(input.own, &format!("{i}.attention"))?;
                    attended(&projected, deeper, weights)?
                }
                None => projected,
            };
            let seen = resized(&fused, [teacher.dims()[1], teacher.dims()[2]])?;
            let said = output(i, &teacher, middle)?.apply(&seen, input.own, mode)?;
            distance = (distance + scales(&said, &teacher)?)?;
            deeper = Some(fused);
        }
        let weight = self.weight * warm(input.epoch, self.warmup);
        with_labels(input, self.hard, (distance * weight)?)
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn pairs(&self) -> &[Pair] {
        &self.taps
    }

    fn own_params(&self, first: &LossInput<'_>) -> Result<Params> {
        let mut params = Params::new();
        let parts = self.taps.iter().map(|pair| pair.of(first)).collect::<Result<Vec<_>>>()?;
        let middle = self.middle(first)?;
        for (i, [own, theirs]) in parts.iter().enumerate() {
            let (own, theirs) = (map(own)?, map(theirs)?);
            let output = output(i, &theirs, middle)?;
            for graph in [projector(i, &own, middle)?, output] {
                graph.draw(&mut params, first.stream.at("own"), own.device())?;
            }
            if i + 1 < parts.len() {
                let (name, like) = (format!("{i}.attention"), (&own, first.stream));
                begin(&mut params, (&name, &[2, 2 * middle + 1]), 2 * middle, like)?;
            }
        }
        Ok(params)
    }

    fn check(&self) -> Result<()> {
        super::pair::check(&self.taps)?;
        check(&[("hard", self.hard), ("weight", self.weight)], &[])
    }
}

impl Review {
    /// Channels of all levels: as many as the student's deepest part has, at most 512.
    fn middle(&self, input: &LossInput<'_>) -> Result<usize> {
        let deepest = self.taps.last().map(|pair| pair.of(input)).transpose()?;
        Ok(deepest.map_or(Ok(0), |[own, _]| own.dim(D::Minus1))?.min(512))
    }
}

/// From the student's part to the channels of all levels.
fn projector(i: usize, student: &Tensor, middle: usize) -> Result<Graph> {
    block(&format!("{i}.in"), Conv2d::new(middle, 1), student.dims4()?)
}

/// From what was fused, of the size of the teacher's part, to the teacher's channels.
fn output(i: usize, teacher: &Tensor, middle: usize) -> Result<Graph> {
    let (n, height, width, n_out) = teacher.dims4()?;
    let conv = Conv2d::new(n_out, 3).padding(1);
    block(&format!("{i}.out"), conv, (n, height, width, middle))
}

/// A convolution and batch norm.
fn block(
    name: &str,
    conv: Conv2d,
    (_, height, width, channels): (usize, usize, usize, usize),
) -> Result<Graph> {
    let mut graph = Graph::new([channels, height, width]);
    graph.then(name, conv.init(Init::Pytorch));
    graph.then(format!("{name}_norm"), BatchNorm::default());
    Ok(graph)
}

/// The mean squared distance at full size, and with half the weight for each further one at sizes of 4, 2
/// and 1, divided by the sum of the weights; sizes that do not divide the map are left out.
fn scales(own: &Tensor, theirs: &Tensor) -> Result<Tensor> {
    let (n, h, w, c) = own.dims4()?;
    let fits = |size: &usize| [h, w].iter().all(|side| size < side && side.is_multiple_of(*size));
    let sizes: Vec<usize> = [4, 2, 1].into_iter().filter(fits).collect();
    let total: f64 = (0..=sizes.len()).map(|i| 0.5f64.powi(i as i32)).sum();
    let weight = 1.0 / total / n as f64;
    let (values, grad) = by_image([own, theirs], |[own, theirs], grad| {
        let apart: Vec<f32> = own.iter().zip(theirs).map(|(a, b)| a - b).collect();
        squared((&apart, [h, w, c]), &sizes, weight, grad)
    })?;
    given(own, values.iter().sum(), grad)
}

/// `weight` times the mean square of one image's map, and half as much of its means over windows of each next
/// size; `grad` becomes the gradient. Each size divides the one before it.
fn squared(
    (map, [h, w, c]): (&[f32], [usize; 3]),
    sizes: &[usize],
    weight: f64,
    grad: &mut [f32],
) -> f64 {
    let scale = weight / map.len() as f64;
    grad.iter_mut().zip(map).for_each(|(grad, x)| *grad = 2.0 * scale as f32 * x);
    let value = scale * map.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    let [size, smaller @ ..] = sizes else { return value };
    let window = |place| place_in([*size; 2], place, [h, w]);
    let share = (size * size) as f32 / (h * w) as f32;
    let (mut means, mut of_means) = (vec![0.0; size * size * c], vec![0.0; size * size * c]);
    for (place, x) in map.chunks(c).enumerate() {
        let mean = &mut means[window(place) * c..][..c];
        mean.iter_mut().zip(x).for_each(|(mean, x)| *mean += share * x);
    }
    let further = squared((&means, [*size, *size, c]), smaller, weight / 2.0, &mut of_means);
    for (place, grad) in grad.chunks_mut(c).enumerate() {
        let of_mean = &of_means[window(place) * c..][..c];
        grad.iter_mut().zip(of_mean).for_each(|(grad, of_mean)| *grad += share * of_mean);
    }
    value + further
}
