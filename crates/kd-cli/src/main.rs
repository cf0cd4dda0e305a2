//! The program `kd`: parse, resolve, call; the work is done by the crates below.
//!
//! Results go to stdout, progress and messages to stderr; see [`exit`] for the exit codes.
#![expect(clippy::print_stdout, reason = "results go to stdout")]

mod commands;
mod exit;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use signal_hook::consts::SIGPIPE;

/// Knowledge distillation, reproducible to the bit.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, and it is not moved about")]
enum Command {
    /// Run a suite of experiments and write its report
    Run(commands::run::Args),
    /// Train one network, with or without a teacher
    Train(commands::train::Args),
    /// Evaluate a checkpoint
    Eval(commands::eval::Args),
    /// Make a small network of a folder of photographs and a big network, ready to be used
    Ship(commands::ship::Args),
    /// Say what is in pictures, by a trained network
    Predict(commands::predict::Args),
    /// Attack a checkpoint, or audit it for hidden gradients
    Attack(commands::attack::Args),
    /// Read weights from a PyTorch checkpoint or safetensors file
    Import(commands::import::Args),
    /// Write weights for PyTorch, or a network as ONNX
    Export(commands::export::Args),
    /// Make a student of the beginning of a teacher, or see where it can be cut
    Cut(commands::cut::Args),
    /// Make data sets ready on the disk
    Data(commands::data::Args),
    /// Write the report of a run again
    Report(commands::report::Args),
    /// Show where a run stands that was handed to an engine
    Status(commands::status::Args),
    /// List networks, objectives, attacks and data sets with their settings
    List(commands::list::Args),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

fn main() -> ExitCode {
    kd_suite::prepare_process();
    end_with_the_pipe();
    let result = match Cli::parse().command {
        Command::Run(args) => commands::run::run(&args),
        Command::Train(args) => commands::train::run(&args),
        Command::Eval(args) => commands::eval::run(&args),
        Command::Ship(args) => commands::ship::run(&args),
        Command::Predict(args) => commands::predict::run(&args),
        Command::Attack(args) => commands::attack::run(&args),
        Command::Import(args) => commands::import::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Cut(args) => commands::cut::run(&args),
        Command::Data(args) => commands::data::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Status(args) => commands::status::run(&args),
        Command::List(args) => commands::list::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "kd", &mut std::io::stdout());
            Ok(())
        }
    };
    exit::code(result)
}

/// Ends the program when nobody reads its output any more, as `kd list | head` does; Rust would go on
/// until a print panics.
fn end_with_the_pipe() {
    let always = Arc::new(AtomicBool::new(true));
    if let Err(error) = signal_hook::flag::register_conditional_default(SIGPIPE, always) {
        eprintln!("a closed pipe will not end the program: {error}");
    }
}
