//! Variational information distillation.

use candle_core::{DType, Tensor};
use kd_core::ops::{Conv2d, Init, Relu};
use kd_core::{Graph, Mode, Params, Result};
use serde::{Deserialize, Serialize};

use super::maps::{by_image, given, of_one_size, own, values};
use super::pair::{Pair, stages};
use super::rows::{check, sum, with_labels};
use super::{Loss, LossInput};

/// Added to the variances.
const EPS: f64 = 1e-5;

/// `hard CE + weight sum over parts of mean ((m(s) - t)^2 / v + log v) / 2`: the student's map s says that the
/// teacher's, t, is Gaussian with mean `m(s)`, three linear maps of channels with ReLUs between them, and a
/// variance v for each channel, `log(1 + exp(rho)) + 1e-5`, all learned (Ahn et al. 2019, arXiv:1904.05835,
/// eq. 4 to 6). Of maps of two sizes the larger one is averaged.
///
/// mdistiller never hands the variances to its optimizer, so that they stay; here they learn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Variational {
    /// Weight of the labels' cross entropy.
    pub hard: f64,
    /// Weight of the teacher's likelihood.
    pub weight: f64,
    /// The variance that each channel begins with, above 1e-5.
    pub first_variance: f64,
    /// The parts, each `PART` or `STUDENT=TEACHER`.
    pub taps: Vec<Pair>,
}

impl Default for Variational {
    fn default() -> Self {
        Self { hard: 1.0, weight: 1.0, first_variance: 5.0, taps: stages() }
    }
}

impl Loss for Variational {
    fn loss(&self, input: &LossInput<'_>) -> Result<Tensor> {
        let terms = self.taps.iter().enumerate().map(|(i, pair)| {
            let [student, teacher] = of_one_size(pair.of(input)?)?;
            let mean = regressor(i, &student, &teacher)?;
            let mean = mean.apply(&student, input.own, Mode::Train(input.stream))?;
            surprise(&mean, &teacher, own(input.own, &format!("{i}.rho"))?)
        });
        with_labels(input, self.hard, (sum(terms)? * self.weight)?)
    }

    fn needs_labels(&self) -> bool {
        self.hard > 0.0
    }

    fn pairs(&self) -> &[Pair] {
        &self.taps
    }

    fn own_params(&self, first: &LossInput<'_>) -> Result<Params> {
        let mut params = Params::new();
        let rho = ((self.first_variance - EPS).exp() - 1.0).ln();
        for (i, pair) in self.taps.iter().enumerate() {
            let [student, teacher] = of_one_size(pair.of(first)?)?;
            let regressor = regressor(i, &student, &teacher)?;
            regressor.draw(&mut params, first.stream.at("own"), student.device())?;
            let rho = Tensor::full(rho as f32, teacher.dims()[3], student.device())?;
            params.insert(&format!("{i}.rho"), &rho)?;
        }
        Ok(params)
    }

    fn check(&self) -> Result<()> {
        super::pair::check(&self.taps)?;
        check(&[("hard", self.hard), ("weight", self.weight)], &[self.first_variance - EPS])
    }
}

/// What says the teacher's mean, from the student's map: three linear maps of channels with ReLUs between them.
fn regressor(i: usize, student: &Tensor, teacher: &Tensor) -> Result<Graph> {
    let (_, height, width, n_in) = student.dims4()?;
    let linear = || Conv2d::new(teacher.dims()[3], 1).init(Init::Pytorch);
    let mut graph = Graph::new([n_in, height, width]);
    graph.then(format!("{i}.linear1"), linear());
    graph.then(format!("{i}.relu1"), Relu {});
    graph.then(format!("{i}.linear2"), linear());
    graph.then(format!("{i}.relu2"), Relu {});
    graph.then(format!("{i}.linear3"), linear());
    Ok(graph)
}

/// `mean ((m - t)^2 / v + log v) / 2` of maps, with a variance for each channel.
fn surprise(mean: &Tensor, teacher: &Tensor, rho: &Tensor) -> Result<Tensor> {
    let variance = ((rho.to_dtype(DType::F64)?.exp()? + 1.0)?.log()? + EPS)?;
    let (n_channels, known) = (rho.dims()[0], values(&variance)?);
    let n = mean.elem_count() as f64;
    let precision: Vec<f64> = known.iter().map(|variance| 1.0 / variance / n).collect();
    let (images, grad) = by_image([mean, teacher], |[mean, teacher], grad| {
        let mut squares = vec![0.0; n_channels];
        let places = mean.chunks(n_channels).zip(teacher.chunks(n_channels));
        for ((m, t), grad) in places.zip(grad.chunks_mut(n_channels)) {
            for c in 0..n_channels {
                let apart = f64::from(m[c] - t[c]);
                squares[c] += apart * apart;
                grad[c] = (apart * precision[c]) as f32;
            }
        }
        squares
    })?;
    let of_channel = |c: usize| images.iter().map(|squares| squares[c]).sum::<f64>();
    let squares = (0..n_channels).map(|c| of_channel(c) * n_channels as f64 / n);
    let squares: Vec<f64> = squares.collect();
    let squares = Tensor::from_vec(squares, n_channels, rho.device())?;
    let by_variance = (((squares / &variance)? + variance.log()?)?.mean_all()? / 2.0)?;
    Ok((given(mean, 0.0, grad)? + by_variance)?)
}
