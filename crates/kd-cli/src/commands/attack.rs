//! `kd attack`: a checkpoint under attack.

use std::path::PathBuf;

use kd_core::Result;
use kd_models::weights::Naming;
use kd_suite::{AttackTask, NetworkFile, Subject, attacks, audit};

use super::exchange::show;
use super::setting::{Compute, SubjectArgs, stop_flag};
use crate::exit;

/// Arguments of `kd attack`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    subject: SubjectArgs,
    /// The attack, such as pgd, cw or autoattack; `kd list` shows all with their settings
    #[arg(long, value_name = "NAME", required_unless_present_any = ["audit", "dry_run"])]
    attack: Option<String>,
    /// A setting of the attack, such as n_steps=100 or objective.kind=margin
    #[arg(long, value_name = "KEY=VALUE", requires = "attack")]
    set: Vec<String>,
    /// Radius in units of [0, 1] pixels; several for a curve [default: the attack's]
    #[arg(long, value_name = "E,..", value_delimiter = ',', allow_negative_numbers = true)]
    eps: Vec<f32>,
    /// Number of images, the first of the data set
    #[arg(long, default_value_t = 1000, value_name = "N")]
    n: usize,
    /// Take the first that the network classifies correctly
    #[arg(long)]
    only_correct: bool,
    /// Weights of another network: see what it makes of the same images
    #[arg(long, value_name = "PATH")]
    transfer: Option<PathBuf>,
    /// The other network, where its weights do not say it [default: as --model]
    #[arg(long, value_name = "MODEL", requires = "transfer")]
    transfer_model: Option<String>,
    /// As --key, for the other network
    #[arg(long, value_name = "KEY", requires = "transfer")]
    transfer_key: Option<String>,
    /// As --strip-prefix, for the other network
    #[arg(long, value_name = "PREFIX", requires = "transfer")]
    transfer_strip_prefix: Option<String>,
    /// Check whether the network hides its gradients, at the first radius of an L-infinity attack
    #[arg(long)]
    audit: bool,
    /// Folder for the adversarial images; the same command goes on where it was interrupted
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of the attack's random numbers
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
    #[command(flatten)]
    compute: Compute,
}

/// Attacks, and prints what came of it.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let subject = || args.subject.on(args.compute.cpu()?, &args.compute);
    if args.subject.network.dry_run {
        let subject = subject()?;
        return show(&subject.network.path, subject.contents()?);
    }
    let task = task(args, subject()?)?;
    // Without a folder nothing could go on later, so a signal ends the program as usual.
    let stop = if args.out.is_some() { stop_flag()? } else { Default::default() };
    let report = exit::finished(args.compute.common.install(|| task.run(&stop))?)?;
    exit::print(&report, args.compute.common.json)
}

fn task(args: &Args, subject: Subject) -> Result<AttackTask> {
    let attack = args.attack.as_ref().map(|name| attacks(name, &args.set, &args.eps));
    let attacks = attack.unwrap_or(Ok(Vec::new()))?;
    let (key, prefix) = (args.transfer_key.clone(), args.transfer_strip_prefix.clone());
    let naming = Naming { key, prefix, ..Naming::default() };
    let other = |path| NetworkFile::new(path, args.transfer_model.as_deref(), naming);
    Ok(AttackTask {
        subject,
        data_name: args.subject.data.data.clone(),
        transfer: args.transfer.as_ref().map(other).transpose()?,
        n: args.n,
        only_correct: args.only_correct,
        audit: args.audit.then(|| audit(&attacks, &args.eps)).transpose()?,
        attacks,
        seed: args.seed,
        out: args.out.clone(),
    })
}
