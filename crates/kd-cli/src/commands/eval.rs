//! `kd eval`: a checkpoint on a data set.

use std::process::ExitCode;

use kd_data::Split;
use kd_suite::{Evaluated, data};

use super::setting::{Compute, DataDir, NetworkArgs, SPLITS, TrainedArgs, words};

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

/// Evaluates and prints the figures.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let place = (args.split, &args.data_dir, args.compute.device()?);
    let subject = args.network.on(data(&args.data)?, &args.normalize, place)?;
    let evaluated = args.compute.threads.install(|| Ok(subject.evaluate()?))?;
    if args.json {
        println!("{}", serde_json::to_string(&evaluated)?);
    } else {
        print(&evaluated);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(evaluated: &Evaluated) {
    let e = &evaluated.evaluation;
    println!("{}: {} parameters", evaluated.model, evaluated.parameters);
    println!("correct  {} of {}", e.correct, e.total);
    println!("top-1    {:.2} %", 100.0 * e.top1);
    println!("top-5    {:.2} %", 100.0 * e.top5);
    println!("NLL      {:.4} nats", e.nll);
    println!("ECE      {:.4}", e.ece);
    println!("speed    {:.0} images/s", evaluated.images_per_second);
}
