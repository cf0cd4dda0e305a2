//! `cargo xtask report`: makes the report of finished runs again.

use std::path::{PathBuf, absolute};

use crate::failure::{Failure, Result};
use crate::{child, kd};

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folders that `reproduce` or `kd run` left
    #[arg(required = true, value_name = "RUNDIR")]
    runs: Vec<PathBuf>,
}

/// Calls `kd report`.
///
/// # Errors
/// Those of building `kd` and of `kd report`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut kd = kd::build()?;
    kd.arg("report");
    for run in &args.runs {
        kd.arg(absolute(run).map_err(Failure::io(run, "find"))?);
    }
    child::run(&mut kd)
}
