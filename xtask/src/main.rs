//! `cargo xtask`: gets data, builds and runs `kd`, checks and measures.
//!
//! Key decision: it uses none of kd's crates and little else, so that it starts within seconds
//! from nothing; the work is done by `kd`, which it builds and calls. stdout carries results,
//! stderr all else.
#![expect(clippy::print_stdout, reason = "results of a command line program")]

mod bench;
mod child;
mod ci;
mod circles;
mod data;
mod dataset;
mod digest;
#[cfg(any(test, feature = "http"))]
mod download;
mod failure;
mod https;
mod imagenet;
mod kd;
mod lines;
#[cfg(any(test, feature = "http"))]
mod part;
mod readme;
mod report;
mod reproduce;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

/// Reproduces the paper, downloads data, measures and checks kd.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Run a suite from nothing to its report
    Reproduce(reproduce::Args),
    /// Download a data set, with checksums
    Data(data::Args),
    /// Measure kd's speed, also against PyTorch's
    Bench(bench::Args),
    /// Run everything that CI checks, the cheapest first
    Ci(ci::Args),
    /// Write the READMEs' figures and pictures from xtask/results
    Readme(readme::Args),
    /// Make the report of finished runs again
    Report(report::Args),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Reproduce(args) => reproduce::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Ci(args) => ci::run(&args),
        Command::Readme(args) => readme::run(&args),
        Command::Report(args) => report::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code())
        }
    }
}
