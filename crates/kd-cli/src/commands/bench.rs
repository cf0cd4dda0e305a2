//! `kd bench`: the time of a training step, for comparison with the same work elsewhere.
//!
//! Images are random bytes: arithmetic takes the same time on any pixels. Steps go round over 16
//! batches assembled before, so that nothing is learnt by heart; the epoch case assembles its
//! batches within the timed region.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use clap::ValueEnum;
use kd_core::ops::Reduction;
use kd_core::{Batch, BatchSource, Classifier, Result, Stream};
use kd_data::{Augment, Images, Loader, Mnist, Normalize};
use kd_models::{Mlp, Network};
use kd_train::losses::{Distill, Labels};
use kd_train::{Cohort, LossSpec, OptimizerSpec, Student, prepare, train_step};
use rayon::prelude::*;
use serde_json::json;

use super::setting::Compute;

/// Arguments of `kd bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to time
    #[arg(long, value_enum)]
    case: Case,
    /// Timed steps
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// 784-1200-1200-10 with dropout, Adam, batch 128
    TeacherStep,
    /// Distilling 784-30-30-10, teacher forward included
    Student30Step,
    /// Distilling 784-300-300-10, teacher forward included
    Student300Step,
    /// An epoch of nine distilled students of 30 units and their baseline, in a cohort
    Grid30Epoch,
}

const BATCH_SIZE: usize = 128;
const N_WARMUP: usize = 3;
/// Steps a sample is the mean of.
const GROUP: usize = 4;
const N_IMAGES: usize = 60_000;

/// Times the case and prints its figures.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let samples = args.compute.install(|| Ok(samples(args.case, args.steps)?))?;
    let mut sorted = samples.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let min = sorted.first().copied().unwrap_or(f64::NAN);
    let case = args.case.to_possible_value().map_or(String::new(), |v| v.get_name().to_owned());
    if args.json {
        let object = json!({"case": case, "median_ms": median, "min_ms": min, "samples": samples});
        println!("{object}");
    } else {
        println!("{case}: median {median:.3} ms, minimum {min:.3} ms");
    }
    Ok(ExitCode::SUCCESS)
}

/// Milliseconds of a timed step, or of an epoch of such steps; one value for each group of steps.
fn samples(case: Case, n_steps: usize) -> Result<Vec<f64>> {
    let loader = loader()?;
    let teacher = mlp(1200, 0.0)?;
    let teacher = (case != Case::TeacherStep).then_some(&*teacher);
    let n_groups = n_steps.div_ceil(GROUP);
    let mut cohort = Cohort::new("bench", 0, students(case)?);
    let order = loader.order(0);
    let assemble = |i: usize| -> Result<Batch> {
        let start = i * BATCH_SIZE % (N_IMAGES - BATCH_SIZE);
        loader.batch(0, &order[start..start + BATCH_SIZE])
    };
    let prepared = (0..16).map(assemble).collect::<Result<Vec<_>>>()?;
    let next = |i: usize| {
        let batch = match case {
            Case::Grid30Epoch => assemble(i)?,
            _ => prepared[i % prepared.len()].clone(),
        };
        prepare(batch, teacher)
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
        let mut train =
            || current.iter().try_for_each(|one| train_step(&mut cohort, one, 1e-3, stream));
        let (stepped, following) = rayon::join(&mut train, || prepare_group(group + 1));
        stepped?;
        current = following?;
        let milliseconds = started.elapsed().as_secs_f64() * 1e3 / GROUP as f64;
        let scale = match case {
            Case::Grid30Epoch => N_IMAGES.div_ceil(BATCH_SIZE) as f64,
            _ => 1.0,
        };
        samples.push(milliseconds * scale);
    }
    Ok(samples.split_off(N_WARMUP))
}

fn students(case: Case) -> Result<Vec<Student>> {
    let labels = LossSpec::Labels(Labels {});
    let distill = |alpha, temperature| {
        let reduction = Reduction::BatchMean;
        LossSpec::Distill(Distill { alpha, temperature, reduction })
    };
    let (n_units, dropout, losses) = match case {
        Case::TeacherStep => (1200, 0.5, vec![labels]),
        Case::Student30Step => (30, 0.0, vec![distill(0.5, 5.0)]),
        Case::Student300Step => (300, 0.0, vec![distill(0.5, 5.0)]),
        Case::Grid30Epoch => {
            let cells = [0.1, 0.5, 0.9].map(|a| [1.0, 5.0, 10.0].map(|t| distill(a, t)));
            (30, 0.0, cells.concat().into_iter().chain([labels]).collect())
        }
    };
    let student = |(i, loss): (usize, LossSpec)| {
        let model = mlp(n_units, dropout)?;
        Ok(Student::new(i.to_string(), model, loss, OptimizerSpec::default()))
    };
    losses.into_iter().enumerate().map(student).collect()
}

fn mlp(n_units: usize, dropout: f32) -> Result<Box<dyn Classifier>> {
    let config = Mlp { hidden: vec![n_units; 2], dropout, input_dropout: 0.0 };
    config.build([1, 28, 28], 10, Stream::new(0), &Device::Cpu)
}

fn loader() -> Result<Loader> {
    let mut rng = Stream::new(0).at("bench").rng();
    let pixels = (0..N_IMAGES * 784).map(|_| rng.next_u32() as u8).collect();
    let labels = (0..N_IMAGES).map(|_| rng.below(10)).collect();
    let images = Images::new(pixels, labels, [1, 28, 28], 10)?;
    let augment = Augment { crop_padding: 2, ..Augment::default() };
    let normalize: Normalize = kd_data::Dataset::normalize(&Mnist::default());
    Loader::new(Arc::new(images), augment, normalize, Stream::new(0))
}
