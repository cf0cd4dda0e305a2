//! `kd eval`: a checkpoint on a data set.

use std::process::ExitCode;

use kd_suite::Evaluated;

use super::exchange::show;
use super::setting::{Compute, SubjectArgs};

/// Arguments of `kd eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    subject: SubjectArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: Compute,
}

/// Evaluates and prints the figures.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let subject = args.subject.on(args.compute.device()?, args.compute.conv_sums())?;
    if args.subject.network.dry_run {
        return show(&subject.network.path, subject.contents()?);
    }
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
    if !e.has_few_classes() {
        println!("top-5    {:.2} %", 100.0 * e.top5);
    }
    println!("NLL      {:.4} nats", e.nll);
    println!("ECE      {:.4}", e.ece);
    println!("speed    {:.0} images/s", evaluated.images_per_second);
}
