//! MLPs on digits like MNIST's: training steps with Adam, the teacher's forward included. The epoch case
//! assembles its batches within the timed region. All networks have learned for a while before they are
//! timed: from then on as many of their activations are zero as in the rest of a training.

use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use kd_core::ops::Reduction;
use kd_core::{Batch, BatchSource, Classifier, Net, Result, Stream};
use kd_data::{Augment, Dataset, Images, Loader, SyntheticDigits, mnist};
use kd_models::{Mlp, Network};
use kd_train::losses::{Distill, Labels};
use kd_train::{Cohort, LossSpec, OptimizerSpec, Student, prepare, train_step};
use rayon::prelude::*;

use crate::BATCH_SIZE;

/// Groups of steps that are not timed.
const N_WARMUP: usize = 100;
/// `[C, H, W]` of the images.
const SHAPE: [usize; 3] = [1, 28, 28];
/// Steps a sample is the mean of.
const GROUP: usize = 4;
/// Images of an epoch.
pub(crate) const N_EPOCH_IMAGES: usize = 60_000;
/// Images that are drawn, again and again the same ones.
const N_DRAWN: usize = 6000;
/// The noise between the strokes of synthetic digits; MNIST's background has none.
const NOISE: u8 = 31;

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mlps {
    /// 784-1200-1200-10 with dropout.
    Teacher,
    /// 784-30-30-10, distilled.
    Student30,
    /// 784-300-300-10, distilled.
    Student300,
    /// Nine distilled students of 30 units and their baseline, in a cohort, for an epoch.
    Grid30,
}

/// Milliseconds of a timed step, or of an epoch of such steps; one value for each group of steps.
pub(crate) fn mlps(case: Mlps, n_steps: usize, device: &Device) -> Result<Vec<f64>> {
    let loader = digits()?.on(device)?;
    let mut cohort = cohort(case, device)?;
    let n_groups = n_steps.div_ceil(GROUP);
    if case == Mlps::Teacher {
        return train(&mut cohort, None, (&loader, false), n_groups);
    }
    let mut teachers = self::cohort(Mlps::Teacher, device)?;
    train(&mut teachers, None, (&loader, false), 1)?;
    let teacher = &*teachers.students[0].model;
    train(&mut cohort, Some(teacher), (&loader, case == Mlps::Grid30), n_groups)
}

/// Trains for a while, then for `n_groups` groups of steps, which are timed. Where an epoch is timed,
/// batches are assembled, else there are some already.
fn train(
    cohort: &mut Cohort,
    teacher: Option<&dyn Classifier>,
    (loader, is_epoch): (&Loader, bool),
    n_groups: usize,
) -> Result<Vec<f64>> {
    let order = loader.order(0);
    let assemble = |i: usize| -> Result<Batch> {
        let start = i * BATCH_SIZE % (N_EPOCH_IMAGES - BATCH_SIZE);
        loader.batch(0, &order[start..start + BATCH_SIZE])
    };
    let prepared = (0..16).map(assemble).collect::<Result<Vec<_>>>()?;
    let next = |i: usize| {
        let batch = if is_epoch { assemble(i)? } else { prepared[i % prepared.len()].clone() };
        prepare(batch, teacher, &[])
    };
    // As in the training loop: batches are prepared in groups, beside the steps of the group before.
    let prepare_group = |group: usize| -> Result<Vec<_>> {
        (group * GROUP..(group + 1) * GROUP).into_par_iter().map(next).collect()
    };
    let mut samples = Vec::with_capacity(N_WARMUP + n_groups);
    let mut current = prepare_group(0)?;
    for group in 0..N_WARMUP + n_groups {
        let started = Instant::now();
        let stream = Stream::new(0).number(group as u64);
        let mut step =
            || current.iter().try_for_each(|one| train_step(&mut *cohort, one, 1e-3, stream));
        let (stepped, following) = rayon::join(&mut step, || prepare_group(group + 1));
        stepped?;
        current = following?;
        loader.device().synchronize()?;
        let milliseconds = started.elapsed().as_secs_f64() * 1e3 / GROUP as f64;
        let n_steps = if is_epoch { N_EPOCH_IMAGES.div_ceil(BATCH_SIZE) } else { 1 };
        samples.push(milliseconds * n_steps as f64);
    }
    Ok(samples.split_off(N_WARMUP))
}

/// As many of their pixels are black as of MNIST's, four fifths.
pub(crate) fn digits() -> Result<Loader> {
    let drawn = SyntheticDigits { n_train: N_DRAWN, n_test: 1, seed: 0 }.load(None)?.train;
    let n_times = N_EPOCH_IMAGES / N_DRAWN;
    let pixels: Vec<u8> =
        drawn.pixels().iter().map(|&pixel| if pixel > NOISE { pixel } else { 0 }).collect();
    let images = Images::new(pixels.repeat(n_times), drawn.labels().repeat(n_times), SHAPE, 10)?;
    let augment = Augment { crop_padding: 2, ..Augment::default() };
    Loader::new(Arc::new(images), augment, Stream::new(0))
}

/// The paper's objective.
pub(crate) fn distill(alpha: f64, temperature: f64) -> LossSpec {
    LossSpec::Distill(Distill { alpha, temperature, reduction: Reduction::BatchMean })
}

/// Nine distilled students and their baseline.
pub(crate) fn grid() -> Vec<LossSpec> {
    let cells = [0.1, 0.5, 0.9].map(|a| [1.0, 5.0, 10.0].map(|t| distill(a, t)));
    cells.concat().into_iter().chain([LossSpec::Labels(Labels::default())]).collect()
}

fn cohort(case: Mlps, device: &Device) -> Result<Cohort> {
    let labels = LossSpec::Labels(Labels::default());
    let (n_units, dropout, losses) = match case {
        Mlps::Student30 => (30, 0.0, vec![distill(0.5, 5.0)]),
        Mlps::Student300 => (300, 0.0, vec![distill(0.5, 5.0)]),
        Mlps::Grid30 => (30, 0.0, grid()),
        _ => (1200, 0.5, vec![labels]),
    };
    let student = |(i, loss): (usize, LossSpec)| {
        let model = mlp(n_units, dropout, device)?;
        Ok(Student::new(i.to_string(), model, loss, OptimizerSpec::default()))
    };
    let students = losses.into_iter().enumerate().map(student).collect::<Result<_>>()?;
    Ok(Cohort::new("bench", 0, students))
}

fn mlp(n_units: usize, dropout: f32, device: &Device) -> Result<Box<dyn Classifier>> {
    let config = Mlp { hidden: vec![n_units; 2], dropout, input_dropout: 0.0 };
    let graph = config.graph(SHAPE, 10)?.normalized(&[mnist::MEAN], &[mnist::STD])?;
    Ok(Net::new(graph, Stream::new(0), device)?.into())
}
