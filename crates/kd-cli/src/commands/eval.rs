//! `kd eval`: a checkpoint on a data set.

use std::process::ExitCode;
use std::time::Instant;

use kd_core::Classifier;
use kd_core::record::Evaluation;
use kd_data::Split;
use kd_train::EvalSet;
use serde::Serialize;

use super::setting::{Compute, DataDir, NetworkArgs, SPLITS, TrainedArgs, words};
use super::train::data;
use kd_suite::weights::{self, Wanted};

/// Arguments of `kd eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    network: NetworkArgs,
    /// Data set, such as cifar10, folder:PATH (images of one size) or photos:PATH (of all sizes)
    #[arg(long, default_value = "mnist")]
    data: String,
    /// Which part of it
    #[arg(long, value_parser = words(SPLITS), default_value = "test")]
    split: Split,
    #[command(flatten)]
    normalize: TrainedArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    compute: Compute,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Output<'a> {
    model: &'a str,
    parameters: usize,
    split: Split,
    #[serde(flatten)]
    evaluation: Evaluation,
    images_per_second: f64,
}

/// Evaluates and prints the figures.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let device = args.compute.device()?;
    let spec = data(&args.data)?;
    let part = spec.as_dyn().part(Some(&args.data_dir.path()), args.split)?;
    let (model, path) = (args.network.model()?, args.network.weights()?);
    let (normalize, default) = (args.normalize.given(), spec.as_dyn().normalize());
    let wanted = Wanted {
        model: model.as_ref(),
        normalize: normalize.as_ref(),
        image_shape: Some(part.shape()),
        n_classes: Some(part.n_classes()),
        default_normalize: Some(&default),
        ..Wanted::default()
    };
    let loaded = weights::load(path, &wanted, &device)?;
    loaded.tell(path);
    let (network, model) = (&loaded.network, loaded.name.as_str());
    let (evaluation, seconds) = args.compute.threads.install(|| {
        let set = EvalSet::new(part.in_order(&device)?)?;
        let started = Instant::now();
        let evaluation = set.evaluate(network, None)?;
        Ok((evaluation, started.elapsed().as_secs_f64()))
    })?;
    let images_per_second = evaluation.total as f64 / seconds;
    let parameters = network.params().n_elements();
    print(
        &Output { model, parameters, split: args.split, evaluation, images_per_second },
        args.json,
    )?;
    Ok(ExitCode::SUCCESS)
}

fn print(output: &Output<'_>, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(output)?);
        return Ok(());
    }
    let e = &output.evaluation;
    println!("{}: {} parameters", output.model, output.parameters);
    println!("correct  {} of {}", e.correct, e.total);
    println!("top-1    {:.2} %", 100.0 * e.top1);
    println!("top-5    {:.2} %", 100.0 * e.top5);
    println!("NLL      {:.4} nats", e.nll);
    println!("ECE      {:.4}", e.ece);
    println!("speed    {:.0} images/s", output.images_per_second);
    Ok(())
}
