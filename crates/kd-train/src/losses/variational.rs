//! Variational information distillation.

use candle_core::{DType, Tensor};
use kd_core::ops::{Conv2d, Init, Relu};
use kd_core::{Graph, Mode, Params, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::maps::{flat, given, of_one_size, own, values};
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
    let (means, theirs) = (flat(mean)?, flat(teacher)?);
    let n = means.len() as f64;
    let width = means.len() / mean.dims()[0].max(1);
    let mut grad = vec![0.0; means.len()];
    let images =
        grad.par_chunks_mut(width).zip(means.par_chunks(width)).zip(theirs.par_chunks(width));
    let images = images.map(|((grad, means), theirs)| {
        let mut squares = vec![0.0; n_channels];
        for (i, ((m, t), grad)) in means.iter().zip(theirs).zip(grad).enumerate() {
            let (apart, channel) = (f64::from(m - t), i % n_channels);
            squares[channel] += apart * apart / n * n_channels as f64;
            *grad = (apart / known[channel] / n) as f32;
        }
        squares
    });
    let images: Vec<Vec<f64>> = images.collect();
    let of_channel = |c: usize| images.iter().map(|squares| squares[c]).sum::<f64>();
    let squares: Vec<f64> = (0..n_channels).map(of_channel).collect();
    let squares = Tensor::from_vec(squares, n_channels, rho.device())?;
    let by_variance = (((squares / &variance)? + variance.log()?)?.mean_all()? / 2.0)?;
    Ok((given(mean, 0.0, grad)? + by_variance)?)
}
