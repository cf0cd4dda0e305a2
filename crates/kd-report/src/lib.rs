#![doc = include_str!("../README.md")]

mod adversarial;
mod beside;
mod blocks;
mod card;
mod chart;
mod claims;
mod classes;
mod compare;
mod comparison;
mod convergence;
mod curves;
mod document;
mod effects;
mod evaluation;
mod evaluations;
#[cfg(test)]
mod fixture;
mod foresight;
mod format;
mod grids;
mod html;
mod judge;
mod loading;
mod markdown;
mod methods;
mod models;
mod ordered;
mod paired;
mod readings;
mod report;
mod run;
mod sections;
mod share;
mod spec;
mod stats;
mod temperature;
#[cfg(test)]
mod tests;
mod verdict;

use std::path::Path;

use kd_core::{Result, fsx, record};

use adversarial::Gallery;

pub use adversarial::{
    Adversarial, AttackSummary, AttackedModel, CensusSummary, Comparison, Conclusion,
    DefendedReading, How, TransferSummary,
};
pub use card::{Card, Int8, Latency, Lost, Seed, Shipped, Stressed, Tried};
pub use claims::{Claim, Claims, Measure, Reference};
pub use compare::{Compared, ComparedModel};
pub use comparison::{ClaimResult, Paper, Selection};
pub use curves::{
    Curves, Errors, OrderResult, OrderVerdict, Placed, ReferenceResult, StudentCurve,
};
pub use effects::EffectResult;
pub use evaluation::EvaluationSummary;
pub use evaluations::OtherImages;
pub use foresight::{Foresight, Judged, Rule, Suggestion};
pub use format::duration;
pub use loading::{BadImages, Loading};
pub use methods::{Method, Methods, Rank};
pub use paired::{Effect, Paired, Told};
pub use readings::{Axis, Choice, MadeUp, Number, Pattern, PatternGrid, Reading, Readings};
pub use report::{CorrectionSummary, EpochsTo, ModelSummary, Report};
pub use run::EPOCHS_TO;
pub use share::Share;
pub use stats::{Difference, Stat, binomial_error};
pub use verdict::Verdict;

/// Reads the metrics of `run_dir` and writes `report.json`, `report.md` and `report.html` there.
///
/// A run that is not complete gets a report too, which says so.
///
/// # Errors
/// [`kd_core::Error`] when the metrics are missing or damaged, name a claim that does not exist,
/// or when the reports cannot be written.
pub fn write_report(run_dir: &Path) -> Result<Report> {
    let records = record::read(&run_dir.join("metrics.jsonl"))?;
    let report = Report::new(run::Run::group(records)?, &Claims::load()?)?;
    let gallery = Gallery::load(run_dir, report.adversarial.as_ref());
    let document = sections::document(&report, spec(&run_dir.join("spec.toml"))?, &gallery)?;
    fsx::write_atomic(&run_dir.join("report.json"), json(&report)?.as_bytes())?;
    fsx::write_atomic(&run_dir.join("report.md"), markdown::render(&document).as_bytes())?;
    fsx::write_atomic(&run_dir.join("report.html"), html::render(&document).as_bytes())?;
    Ok(report)
}

/// The short table for a README: claim, paper, ours and verdict, for best and last epoch.
pub fn results_table(report: &Report) -> String {
    markdown::table(&sections::results(report))
}

fn json(report: &Report) -> Result<String> {
    let text = serde_json::to_string_pretty(report).map_err(|e| kd_core::Error::Io {
        path: "report.json".into(),
        action: "write",
        source: e.into(),
    })?;
    Ok(text + "\n")
}

/// The spec's text, if it is there.
fn spec(path: &Path) -> Result<Option<String>> {
    const LIMIT: u64 = 1 << 18;
    match fsx::read_bounded(path, LIMIT, "it is written by `kd run`") {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(kd_core::Error::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
