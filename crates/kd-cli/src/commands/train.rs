//! `kd train`: one network, as a suite of one training.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use kd_core::ops::{Adam, Reduction, Sgd};
use kd_core::{Error, Result};
use kd_data::{Augment, DataSpec, SyntheticDigits};
use kd_models::ModelSpec;
use kd_train::losses::{Distill, LabelSmoothing, Labels};
use kd_train::{LossSpec, OptimizerSpec, Plan, Schedule};

use super::setting::{Compute, DataDir};
use crate::suite::{StudentFile, Suite, TrainingFile, resolve};

/// Arguments of `kd train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The network, such as mlp-300-300
    #[arg(long)]
    model: String,
    /// Probability with which hidden units are dropped
    #[arg(long, default_value_t = 0.0)]
    dropout: f32,
    /// Checkpoint of a teacher: distil from it
    #[arg(long, value_name = "PATH", requires = "teacher_model")]
    teacher: Option<PathBuf>,
    /// The teacher's network, such as mlp-1200-1200
    #[arg(long)]
    teacher_model: Option<String>,
    /// Weight of the teacher's soft targets
    #[arg(long, default_value_t = 0.5, requires = "teacher")]
    alpha: f64,
    /// Temperature of the soft targets
    #[arg(long, default_value_t = 5.0, requires = "teacher")]
    temperature: f64,
    /// Smooth the labels by so much
    #[arg(long, value_name = "S", conflicts_with = "teacher")]
    label_smoothing: Option<f64>,
    /// Class that the training images shall lack
    #[arg(long, value_name = "CLASS")]
    omit_class: Option<u32>,
    /// Data set
    #[arg(long, default_value = "mnist")]
    data: String,
    /// Epochs
    #[arg(long, default_value_t = 20)]
    epochs: u64,
    /// Images a step
    #[arg(long, default_value_t = 128)]
    batch_size: usize,
    /// Learning rate before the schedule
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// The optimizer; SGD has Nesterov momentum 0.9
    #[arg(long, value_enum, default_value = "adam")]
    optimizer: OptimizerName,
    /// Crop out of the image padded by so many pixels
    #[arg(long, default_value_t = 2, value_name = "PIXELS")]
    crop_padding: usize,
    /// Training images set aside for choosing
    #[arg(long, default_value_t = 0, value_name = "N")]
    holdout: usize,
    /// Repeat with so many seeds
    #[arg(long, default_value_t = 1, value_name = "N")]
    seeds: u64,
    /// Folder of the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print report.json to stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    compute: Compute,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OptimizerName {
    Adam,
    Sgd,
}

/// Trains and writes checkpoint and report to `--out`.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let spec = resolve(&suite(args)?, "train", false, args.seeds)?;
    let places = (Some(args.data_dir.path()), args.out.clone());
    super::run::execute(spec, places, &args.compute, args.json)
}

fn suite(args: &Args) -> Result<Suite> {
    let mut model = model(&args.model)?;
    if let ModelSpec::Mlp(mlp) = &mut model {
        mlp.dropout = args.dropout;
    }
    let teacher_model = args.teacher_model.as_deref().map(self::model).transpose()?;
    let training = TrainingFile {
        name: args.model.clone(),
        model,
        teacher: None,
        teacher_weights: args.teacher.clone(),
        teacher_model,
        omit_class: args.omit_class,
        plan: None,
        augment: None,
        student: vec![StudentFile { name: "student".into(), loss: loss(args), claim: None }],
        grid: None,
    };
    Ok(Suite {
        suite: "train".into(),
        data: data(&args.data)?,
        synthetic: DataSpec::SyntheticDigits(SyntheticDigits::default()),
        holdout: args.holdout,
        plan: plan(args),
        augment: Augment { crop_padding: args.crop_padding, ..Augment::default() },
        preset: BTreeMap::new(),
        training: vec![training],
    })
}

fn loss(args: &Args) -> LossSpec {
    let (alpha, temperature, reduction) = (args.alpha, args.temperature, Reduction::BatchMean);
    match (&args.teacher, args.label_smoothing) {
        (Some(_), _) => LossSpec::Distill(Distill { alpha, temperature, reduction }),
        (None, Some(smoothing)) => LossSpec::LabelSmoothing(LabelSmoothing { smoothing }),
        (None, None) => LossSpec::Labels(Labels {}),
    }
}

fn plan(args: &Args) -> Plan {
    let nesterov = Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.0 };
    Plan {
        n_epochs: args.epochs,
        batch_size: args.batch_size,
        learning_rate: args.learning_rate,
        optimizer: match args.optimizer {
            OptimizerName::Adam => OptimizerSpec::Adam(Adam::default()),
            OptimizerName::Sgd => OptimizerSpec::Sgd(nesterov),
        },
        schedule: Schedule::Exponential { gamma: 0.95 },
        eval_every: 1,
    }
}

/// A network by its short name.
pub(super) fn model(name: &str) -> Result<ModelSpec> {
    ModelSpec::from_name(name).ok_or_else(|| {
        let reason = format!("`{name}` names no network; mlp-1200-1200 would be one");
        Error::config("model", reason)
    })
}

/// A data set by its name, with its default settings.
pub(super) fn data(name: &str) -> Result<DataSpec> {
    DataSpec::all().into_iter().find(|spec| spec.name() == name).ok_or_else(|| {
        let reason = format!("`{name}` is none of {}", DataSpec::NAMES.join(", "));
        Error::config("data", reason)
    })
}
