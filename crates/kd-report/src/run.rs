//! A run's records, grouped by model in order of appearance.

use std::collections::BTreeMap;

use kd_core::record::{
    BadImagesRecord, CandidateRecord, CorrectionMethod, CorrectionRecord, CurveRecord, EpochRecord,
    Evaluation, EvaluationRecord, FinalRecord, ModelId, ReadingsRecord, Record, RunRecord,
    SoftTargetsRecord, TeacherRecord,
};
use kd_core::{Error, Result};

use crate::adversarial::AttackRuns;
use crate::ordered::Ordered;

/// The accuracies whose first epoch is looked for, fractions.
pub const EPOCHS_TO: [f64; 2] = [0.985, 0.99];

/// What `metrics.jsonl` says, each thing once.
pub(crate) struct Run {
    pub(crate) provenance: RunRecord,
    /// `None` while the run is not complete.
    pub(crate) wall_seconds: Option<f64>,
    /// In order of appearance.
    pub(crate) models: Vec<ModelRuns>,
    pub(crate) teachers: ByTraining<TeacherRecord>,
    pub(crate) bad_images: ByTraining<BadImagesRecord>,
    pub(crate) soft_targets: ByTraining<SoftTargetsRecord>,
    /// How the paper can be read, where several ways were trained.
    pub(crate) readings: Option<ReadingsRecord>,
    /// In the order of the suite file, those of each student in a row.
    pub(crate) candidates: Vec<CandidateRecord>,
}

/// By training and seed.
type ByTraining<T> = BTreeMap<(String, u64), T>;

/// One model over all seeds.
#[derive(Default)]
pub(crate) struct ModelRuns {
    pub(crate) id: ModelId,
    /// By seed.
    pub(crate) finals: BTreeMap<u64, FinalRecord>,
    /// By seed and epoch.
    pub(crate) epochs: BTreeMap<(u64, u64), EpochRecord>,
    /// By seed and step.
    pub(crate) curves: BTreeMap<(u64, u64), CurveRecord>,
    /// By method, class and seed.
    pub(crate) corrections: BTreeMap<(CorrectionMethod, u32, u64), CorrectionRecord>,
    /// On other images than the test set, by name and seed.
    pub(crate) evaluations: BTreeMap<(String, u64), Evaluation>,
    pub(crate) attacked: AttackRuns,
}

impl Run {
    /// Groups `records`. Where a record repeats an earlier one, as after a resume, the later wins.
    ///
    /// # Errors
    /// [`Error::Parse`] when there is no run record.
    pub(crate) fn group(records: Vec<Record>) -> Result<Self> {
        let (mut provenance, mut wall_seconds) = (None, None);
        let mut models = Models::default();
        let (mut teachers, mut bad_images, mut soft_targets) = Default::default();
        let (mut candidates, mut readings) = (Vec::new(), None);
        for record in records {
            match record {
                Record::Run(run) => (provenance, wall_seconds) = (Some(run), None),
                Record::Done { wall_seconds: seconds } => wall_seconds = Some(seconds),
                Record::Epoch(epoch) => models.add_epoch(epoch),
                Record::Curve(point) => models.add_point(point),
                Record::Teacher(t) => insert(&mut teachers, t.training.clone(), t.seed, t),
                Record::BadImages(b) => insert(&mut bad_images, b.training.clone(), b.seed, b),
                Record::SoftTargets(s) => insert(&mut soft_targets, s.training.clone(), s.seed, s),
                Record::Final(last) => models.add_final(*last),
                Record::Candidate(candidate) => add(&mut candidates, *candidate),
                Record::Readings(all) => readings = Some(all),
                Record::Correction(correction) => models.add_correction(correction),
                Record::Evaluation(e) => models.add_evaluation(e),
                Record::Attack(a) => models.entry(&a.id).attacked.add_attack(a),
                Record::Census(c) => models.entry(&c.id).attacked.add_census(c),
                Record::Audit(a) => models.entry(&a.id).attacked.add_audit(a),
                Record::Pictures(p) => models.entry(&p.id).attacked.add_pictures(p),
            }
        }
        let provenance = provenance.ok_or_else(|| Error::Parse {
            path: "metrics.jsonl".into(),
            offset: 0,
            reason: "no `run` record: nothing was run here yet".into(),
        })?;
        let models = models.0.into_values();
        Ok(Self {
            provenance,
            wall_seconds,
            models,
            teachers,
            bad_images,
            soft_targets,
            readings,
            candidates,
        })
    }

    /// Trainings that have begun and not ended, such as `student30 (seed 2)`.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let mut names = Vec::new();
        for model in &self.models {
            let seeds = model.epochs.keys().chain(model.curves.keys()).map(|(seed, _)| *seed);
            let is_chosen = self.candidates.iter().any(|one| one.cohort == model.id.training);
            let is_open = |seed: &u64| !is_chosen && !model.finals.contains_key(seed);
            for seed in seeds.filter(is_open) {
                let name = format!("{} (seed {seed})", model.id.training);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }
}

impl ModelRuns {
    /// Id of the paper's number that it answers.
    pub(crate) fn claim(&self) -> Option<&String> {
        self.finals.values().find_map(|last| last.how.claim.as_ref())
    }

    /// The first measured epoch with a test accuracy of at least `accuracy`.
    pub(crate) fn epochs_to(&self, seed: u64, accuracy: f64) -> Option<u64> {
        let mut epochs = self.epochs.range((seed, 0)..=(seed, u64::MAX));
        let good = |e: &EpochRecord| e.test_top1.is_some_and(|top1| top1 >= accuracy);
        epochs.find(|(_, epoch)| good(epoch)).map(|((_, epoch), _)| *epoch)
    }
}

/// The later record of a candidate takes the place of the earlier.
fn add(all: &mut Vec<CandidateRecord>, new: CandidateRecord) {
    let key = |one: &CandidateRecord| (one.id.clone(), one.candidate);
    match all.iter().position(|old| key(old) == key(&new)) {
        Some(place) => all[place] = new,
        None => all.push(new),
    }
}

fn insert<T>(records: &mut ByTraining<T>, training: String, seed: u64, record: T) {
    records.insert((training, seed), record);
}

#[derive(Default)]
struct Models(Ordered<ModelId, ModelRuns>);

impl Models {
    fn entry(&mut self, id: &ModelId) -> &mut ModelRuns {
        let entry = self.0.entry(id.clone());
        entry.id.clone_from(id);
        entry
    }

    fn add_epoch(&mut self, epoch: EpochRecord) {
        let model = self.entry(&epoch.id);
        model.epochs.insert((epoch.seed, epoch.epoch), epoch);
    }

    fn add_point(&mut self, point: CurveRecord) {
        let model = self.entry(&point.id);
        model.curves.insert((point.seed, point.step), point);
    }

    fn add_final(&mut self, last: FinalRecord) {
        self.entry(&last.id).finals.insert(last.seed, last);
    }

    fn add_evaluation(&mut self, record: EvaluationRecord) {
        let evaluations = &mut self.entry(&record.id).evaluations;
        evaluations.insert((record.name, record.seed), record.evaluation);
    }

    fn add_correction(&mut self, correction: CorrectionRecord) {
        let key = (correction.method, correction.class, correction.seed);
        let model = self.entry(&correction.id);
        model.corrections.insert(key, correction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(model: &str, seed: u64, epoch: u64, top1: f64) -> Record {
        Record::Epoch(EpochRecord {
            seed,
            id: ModelId::new("t", model),
            epoch,
            test_top1: Some(top1),
            ..EpochRecord::default()
        })
    }

    #[test]
    fn order_is_that_of_appearance_and_the_later_record_wins() {
        let run = Record::Run(RunRecord::default());
        let records = vec![
            run,
            epoch("z", 1, 1, 0.1),
            epoch("a", 1, 1, 0.2),
            epoch("z", 1, 1, 0.3),
            Record::Done { wall_seconds: 2.0 },
        ];
        let run = Run::group(records).unwrap();
        let names: Vec<_> = run.models.iter().map(|model| model.id.model.as_str()).collect();
        assert_eq!((names, run.wall_seconds), (vec!["z", "a"], Some(2.0)));
        assert_eq!(run.models[0].epochs.len(), 1);
        assert_eq!(run.models[0].epochs[&(1, 1)].test_top1, Some(0.3));
        assert_eq!(run.unfinished(), ["t (seed 1)"]);
    }

    #[test]
    fn a_run_that_goes_on_is_not_complete() {
        let run = || Record::Run(RunRecord::default());
        let again = vec![run(), Record::Done { wall_seconds: 1.0 }, run()];
        assert_eq!(Run::group(again).unwrap().wall_seconds, None);
        assert!(Run::group(vec![Record::Done { wall_seconds: 1.0 }]).is_err());
    }
}
