//! `kd completions`: a completion script.

use clap::CommandFactory;
use clap_complete::Shell;

/// Arguments of `kd completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut command = crate::Cli::command();
    clap_complete::generate(args.shell, &mut command, "kd", &mut std::io::stdout());
    Ok(())
}
