//! `kd train`: one network, as a suite of one training.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use kd_core::ops::{Adam, Sgd};
use kd_core::{Collective, Error, Result, Shards};
use kd_data::DataSpec;
use kd_models::ModelSpec;
use kd_models::weights::Naming;
use kd_train::losses::{Distill, LabelSmoothing, Labels};
use kd_train::{Keep, LossSpec, Plan, Schedule};

use super::augment::AugmentArgs;
use super::images::DataArgs;
use super::run_args::RunArgs;
use super::setting::NormalizeArgs;
use super::teach::TeacherArgs;
use super::words::words;
use crate::exit;
use kd_suite::{Class, Holdout, Student, Suite, TrainingFile, World, image_shape, model, resolve};

/// Arguments of `kd train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The network, such as resnet20 or mlp-300-300
    #[arg(long)]
    model: String,
    /// Probability with which hidden units of an MLP are dropped
    #[arg(long, default_value_t = 0.0)]
    dropout: f32,
    #[command(flatten)]
    teacher: TeacherArgs,
    /// Another objective, with its authors' settings or yours: `dkd`, or `dkd,beta=2`; `kd list` shows all
    #[arg(
        long,
        value_name = "NAME[,X=..]",
        value_parser = kd_suite::loss,
        conflicts_with_all = ["label_smoothing", "alpha", "temperature"]
    )]
    loss: Option<LossSpec>,
    /// Smooth the labels by so much
    #[arg(long, value_name = "S", conflicts_with = "taught")]
    label_smoothing: Option<f64>,
    /// Class that the training images shall lack, by its label or its name
    #[arg(long, value_name = "CLASS")]
    omit_class: Option<Class>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    normalize: NormalizeArgs,
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
    /// Pull the weights to zero by so much
    #[arg(long, default_value_t = 0.0, value_name = "X")]
    weight_decay: f64,
    /// How the learning rate falls; exponential is times 0.95 each epoch
    #[arg(long, value_parser = words(SCHEDULES), default_value = "exponential")]
    schedule: Schedule,
    /// Epochs between evaluations
    #[arg(long, default_value_t = 1, value_name = "N")]
    eval_every: u64,
    /// Steps between points of the learning curve
    #[arg(long, value_name = "N")]
    eval_every_steps: Option<u64>,
    /// Keep the weights of the epoch that is best on the images that --holdout sets aside
    #[arg(long, requires = "holdout")]
    keep_best: bool,
    /// Stop after so many epochs without a better one on those images
    #[arg(long, value_name = "EPOCHS", requires = "holdout")]
    patience: Option<u64>,
    /// Begin with the weights of this file, of the same network; a head of other classes is new
    #[arg(long, value_name = "PATH")]
    init: Option<PathBuf>,
    /// Dictionary of the weights in that file, as --key
    #[arg(long, value_name = "KEY", requires = "init")]
    init_key: Option<String>,
    /// What is taken away from before its names, as --strip-prefix
    #[arg(long, value_name = "PREFIX", requires = "init")]
    init_strip_prefix: Option<String>,
    /// Leave parameters as they are: those of this name, of this part, of a pattern, or of an operation
    /// (op:batch-norm); `!PATTERN` is all others
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
    /// Multiply the learning rate of such parameters: fc=10
    #[arg(long, value_name = "PATTERN=X", value_parser = factor)]
    learning_rate_of: Vec<(String, f64)>,
    #[command(flatten)]
    augment: AugmentArgs,
    /// Training images set aside for choosing: a number, or a share of each class, such as 0.2; of
    /// class folders without `train` and `val`, the images to test on
    #[arg(long, default_value = "0", value_name = "N")]
    holdout: Holdout,
    /// Cut each batch into so many shards, a power of two, which the processes of `mpirun` share; the same
    /// bits for any number of them [default: 8 with mpirun, else none]
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// Folder of the results
    #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    #[command(flatten)]
    how: RunArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OptimizerName {
    Adam,
    Sgd,
}

const SCHEDULES: &[(&str, Schedule)] = &[
    ("constant", Schedule::Constant {}),
    ("cosine", Schedule::Cosine { warmup: 0 }),
    ("exponential", Schedule::Exponential { gamma: 0.95 }),
];

/// A pattern and a number.
fn factor(text: &str) -> std::result::Result<(String, f64), String> {
    let (pattern, factor) = text.split_once('=').ok_or("is not PATTERN=X, such as fc=10")?;
    let factor = factor.parse().map_err(|e| format!("{factor}: {e}"))?;
    Ok((pattern.into(), factor))
}

/// Shards of a batch where several processes train together and nobody said how many.
const SHARDS: usize = 8;

/// Trains and writes checkpoint and report to `--out`; together with other processes, where `mpirun` has
/// started several.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let world = World::join()?;
    exit::end_all(train(args, world.ranks()), &world)
}

fn train(args: &Args, ranks: &Arc<dyn Collective>) -> anyhow::Result<()> {
    let shards = shards(args, &**ranks);
    if let Some(n) = shards {
        Shards::new(n, ranks.clone())?;
    }
    let spec = resolve(&suite(args, shards)?, "train", false, args.how.seeds)?;
    args.how.run_together(spec, args.out.clone().unwrap_or_default(), ranks.clone())
}

/// Shards of a batch.
fn shards(args: &Args, ranks: &dyn Collective) -> Option<usize> {
    let n = ranks.n_ranks();
    if args.shards.is_none() && n > 1 {
        eprintln!(
            "{n} processes share {SHARDS} shards of each batch; one process makes the same bits with --shards \
             {SHARDS}"
        );
        return Some(SHARDS);
    }
    args.shards
}

/// The suite of one training, which is called as its network, or as the file that it is in.
fn suite(args: &Args, shards: Option<usize>) -> Result<Suite> {
    let network = network(args)?;
    let file = Path::new(&args.model).file_name().and_then(OsStr::to_str);
    let name = file.unwrap_or(&args.model);
    let training = TrainingFile {
        teachers: args.teacher.files()?,
        average: args.teacher.average,
        omit_class: args.omit_class.clone(),
        init_weights: args.init.clone(),
        init_naming: Naming {
            key: args.init_key.clone(),
            prefix: args.init_strip_prefix.clone(),
            ..Naming::default()
        },
        freeze: args.freeze.clone(),
        learning_rate_of: args.learning_rate_of.iter().cloned().collect(),
        soft_targets: args.teacher.soft_targets(),
        ..TrainingFile::new(name, network, vec![Student::new("student", loss(args))])
    };
    let known = || args.teacher.first().and_then(image_shape);
    let data = args.data.spec(known)?;
    Ok(Suite {
        normalize: args.normalize.given(),
        exact_conv: args.how.compute.exact_conv,
        holdout: args.holdout,
        augment: args.augment.augment(matches!(data, DataSpec::Photos(_)))?,
        ..Suite::new("train", data, Plan { shards, ..plan(args) }, vec![training])
    })
}

fn network(args: &Args) -> Result<ModelSpec> {
    let mut network = model(&args.model)?;
    if let ModelSpec::Mlp(mlp) = &mut network {
        mlp.dropout = args.dropout;
    }
    if network.as_dyn().is_in_a_file() && args.normalize.given().is_some() {
        let reason = "an ONNX file takes its images as it does; `kd export --weights FILE.onnx --mean \
                      X,.. --std X,.. --format onnx` puts a normalization before it";
        return Err(Error::config("mean", reason));
    }
    Ok(network)
}

fn loss(args: &Args) -> LossSpec {
    let TeacherArgs { alpha, temperature, .. } = args.teacher;
    match (&args.loss, args.label_smoothing) {
        (Some(loss), _) => loss.clone(),
        (None, Some(smoothing)) => LabelSmoothing { smoothing }.into(),
        (None, None) if args.teacher.is_given() => {
            Distill { alpha, temperature, ..Distill::default() }.into()
        }
        (None, None) => Labels::default().into(),
    }
}

fn plan(args: &Args) -> Plan {
    let weight_decay = args.weight_decay;
    Plan {
        optimizer: match args.optimizer {
            OptimizerName::Adam => Adam { weight_decay, ..Adam::default() }.into(),
            OptimizerName::Sgd => Sgd { momentum: 0.9, nesterov: true, weight_decay }.into(),
        },
        schedule: args.schedule,
        eval_every: args.eval_every,
        eval_every_steps: args.eval_every_steps,
        keep: if args.keep_best { Keep::BestHeldOut } else { Keep::Last },
        patience: args.patience,
        ..Plan::new(args.epochs, args.batch_size, args.learning_rate)
    }
}
