//! The lines of `metrics.jsonl`, the source of truth that reports are made from.
//!
//! One JSON object a line, tagged by `event`. Accuracies are fractions, losses nats, times
//! seconds; epochs count from 1. A torn last line, left by a killed process, is dropped on read.

mod readings;
mod robustness;
mod settings;
mod training;

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, fsx};

pub use readings::{AxisRecord, ReadingRecord, ReadingsRecord};
pub use robustness::{
    AttackRecord, AuditRecord, AuditVerdict, CensusRecord, CheckRecord, PicturesRecord,
    TransferRecord,
};
pub use settings::{
    AttackKind, AttackLoss, AttackObjective, AttackSettings, Objective, ObjectiveKind, Setting,
    Settings,
};
pub use training::{
    BadImagesRecord, CandidateRecord, Compute, CorrectionMethod, CorrectionRecord, CurveRecord,
    EpochRecord, Evaluation, EvaluationRecord, FinalRecord, SoftTargetsRecord, TeacherRecord,
    Trained,
};

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Record {
    /// What is run, on what, by which program; the first line.
    Run(RunRecord),
    /// One model after one epoch.
    Epoch(EpochRecord),
    /// One model in the course of its training.
    Curve(CurveRecord),
    /// One of several objectives of a student, after a short training.
    Candidate(Box<CandidateRecord>),
    /// One model at the end of its training.
    Final(Box<FinalRecord>),
    /// What the paper leaves open, and how it can be read.
    Readings(ReadingsRecord),
    /// A correction of the bias of a class that was never seen (Hinton et al. 2015, section 3).
    Correction(CorrectionRecord),
    /// Photographs that could not be decoded as they should.
    BadImages(BadImagesRecord),
    /// A teacher from elsewhere on the test set.
    Teacher(TeacherRecord),
    /// What a file of soft targets held and saved.
    SoftTargets(SoftTargetsRecord),
    /// One model on other images than those of the test set.
    Evaluation(EvaluationRecord),
    /// One attack on one model.
    Attack(AttackRecord),
    /// How large a model's logits and pixel gradients are.
    Census(CensusRecord),
    /// The verdict on a model's robustness.
    Audit(AuditRecord),
    /// A file of pictures of one attack.
    Pictures(PicturesRecord),
    /// The run is complete; the last line.
    Done {
        /// Sum of the wall time of all processes that worked on the run.
        wall_seconds: f64,
    },
}

impl RunRecord {
    /// What class `label` is called: its name, or its number where it has none.
    pub fn class(&self, label: usize) -> String {
        self.class_names.get(label).map_or_else(|| label.to_string(), String::clone)
    }
}

/// A model of a run, over all seeds: the training, and its name in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelId {
    /// Name of the training (a teacher or a cohort), such as `student30`; empty for a network from
    /// elsewhere.
    pub training: String,
    /// Name of the model in it, such as `alpha0.5-t5`.
    pub model: String,
}

impl ModelId {
    /// The model `model` of `training`.
    pub fn new(training: impl Into<String>, model: impl Into<String>) -> Self {
        Self { training: training.into(), model: model.into() }
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.training.as_str() {
            "" => f.write_str(&self.model),
            training => write!(f, "{training}/{}", self.model),
        }
    }
}

/// Provenance of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Name of the suite, such as `mnist`.
    pub suite: String,
    /// `smoke`, `quick` or `paper`.
    pub preset: String,
    /// True when the images were generated, not read from the real data set.
    pub synthetic: bool,
    /// True when the images are not the files of the data set but were encoded anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reencoded: bool,
    /// Names of the classes, by label; none where they are not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
    /// Number of seeds.
    pub seeds: u64,
    /// `cpu` or `cuda:0`.
    pub device: String,
    /// Name of the processor.
    pub cpu: String,
    /// Number of threads.
    pub threads: usize,
    /// SHA-256 of the resolved spec with one seed, whatever their number.
    pub spec_hash: String,
    /// Commit of the program's source, with `+dirty` when it had changes; `unknown` outside git.
    pub commit: String,
    /// Version of kd.
    pub kd_version: String,
    /// Version of candle.
    pub candle_version: String,
    /// Files of the data set.
    pub data: Vec<DataFile>,
}

/// One file of a data set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// File name.
    pub name: String,
    /// SHA-256 of the decompressed content.
    pub sha256: String,
    /// Number of items in it.
    pub n_items: usize,
}

/// Reads `metrics.jsonl`.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`], and [`Error::Parse`] for a line, other than a torn last
/// one, that is no record.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    const LIMIT: u64 = 1 << 30;
    let bytes = fsx::read_bounded(path, LIMIT, "it is written by `kd run`")?;
    let mut records = Vec::new();
    let mut offset = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if line.ends_with(b"\n") {
            records.push(parse(path, offset, line)?);
        }
        offset += line.len() as u64;
    }
    Ok(records)
}

fn parse(path: &Path, offset: u64, line: &[u8]) -> Result<Record> {
    serde_json::from_slice(line).map_err(|e| Error::Parse {
        path: path.into(),
        offset,
        reason: format!("not a record of metrics.jsonl: {e}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_dropped_and_a_bad_one_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let done = Record::Done { wall_seconds: 1.5 };
        let line = serde_json::to_string(&done).unwrap() + "\n";
        assert_eq!(line, "{\"event\":\"done\",\"wall_seconds\":1.5}\n");
        std::fs::write(&path, format!("{line}{}", &line[..9])).unwrap();
        assert_eq!(read(&path).unwrap(), [done]);
        std::fs::write(&path, format!("{line}nonsense\n{line}")).unwrap();
        let offset = line.len() as u64;
        assert!(matches!(read(&path), Err(Error::Parse { offset: o, .. }) if o == offset));
    }

    #[test]
    fn errors_are_counted_per_class() {
        let evaluation = Evaluation {
            total: 10,
            correct: 7,
            confusion: vec![vec![4, 1], vec![2, 3]],
            ..Evaluation::default()
        };
        let errors = (evaluation.errors(), evaluation.errors_on(0), evaluation.errors_on(1));
        assert_eq!(errors, (3, 1, 2));
        assert_eq!(
            (evaluation.errors_on(7), evaluation.images_of(1), evaluation.n_classes()),
            (0, 5, 2)
        );
        let classes = vec![[5, 4], [5, 3]];
        let many = Evaluation { confusion: Vec::new(), classes, ..evaluation };
        assert_eq!((many.errors_on(0), many.errors_on(1), many.errors_on(7)), (1, 2, 0));
        assert_eq!((many.images_of(1), many.n_classes()), (5, 2));
    }
}
