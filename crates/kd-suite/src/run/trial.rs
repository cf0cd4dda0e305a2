//! The models that the trainings of a seed end with, under census, attacks and audits.

use kd_adv::{AttackSpec, Examples, Outcome, correct_rows, worst_cases};
use kd_core::record::{AttackRecord, AuditRecord, AuditVerdict, EvaluationRecord, ModelId, Record};
use kd_core::{Error, Result, Stream, fsx};
use kd_train::EvalSet;

use super::context::Context;
use crate::attack::{Bench, Groups, Models, victim};
use crate::examples;
use crate::suite::{AttackSection, AuditSection, CensusSpec, EvaluationSection, ImagesSpec};

/// The models of one seed.
#[derive(Clone, Copy)]
pub(super) struct Trial<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) seed: u64,
}

impl Trial<'_> {
    /// How good `source` is on other images.
    pub(super) fn evaluation(
        &self,
        section: &EvaluationSection,
        source: &ModelId,
    ) -> Result<Record> {
        let Context { sets, setting, .. } = self.context;
        let part = sets.other(section, setting.data_dir.as_deref())?;
        let network = self.context.trained(source, self.seed)?;
        let set = EvalSet::new(part.in_order(&setting.device)?)?;
        let evaluation = set.evaluate(&network, None)?;
        let title = self.context.titled(format!("{} of {source}", section.name), self.seed);
        eprintln!("{title}: {} of {} right", evaluation.correct, evaluation.total);
        let (id, name) = (source.clone(), section.name.clone());
        Ok(Record::Evaluation(EvaluationRecord { seed: self.seed, id, name, evaluation }))
    }

    /// How large the logits and gradients of `source` are.
    pub(super) fn census(&self, section: &CensusSpec, source: &ModelId) -> Result<Record> {
        let models = self.models(source, &[])?;
        let record = self.bench(&models, &section.images)?.census()?;
        Ok(Record::Census(record))
    }

    /// `source` and those of `others` that are not it.
    fn models(&self, source: &ModelId, others: &[ModelId]) -> Result<Models> {
        let load =
            |source: &ModelId| Ok((source.clone(), self.context.trained(source, self.seed)?));
        let others = others.iter().filter(|other| *other != source).map(load);
        Ok(Models { others: others.collect::<Result<_>>()?, own: load(source)? })
    }

    fn bench<'m>(&'m self, models: &'m Models, images: &ImagesSpec) -> Result<Bench<'m>> {
        let setting = self.context.setting;
        Bench::new(models, self.examples(images)?, (self.seed, &setting.stop), &setting.device)
    }

    /// Attacks `source`, or goes on with it; nothing when it was interrupted.
    pub(super) fn attack(
        &self,
        section: &AttackSection,
        source: &ModelId,
        spec: &AttackSpec,
    ) -> Result<Option<Record>> {
        let is_main = *spec == section.attack;
        let others = if is_main { &section.transfer_to[..] } else { &[] };
        let models = self.models(source, others)?;
        let bench = self.bench(&models, &section.images)?;
        let title = self.title(section, source, spec);
        let radius = spec.as_dyn().eps().map_or(String::new(), |eps| format!("-eps{eps}"));
        let name = self.file_name(section, source) + &radius;
        let groups = Groups::of_outcomes(self.context.folder.attack_state(), name);
        let Some((record, done)) = bench.attack((&section.name, &title), spec, Some(groups))?
        else {
            return Ok(None);
        };
        if is_main {
            let file = format!("outcomes/{}.json", self.file_name(section, source));
            self.context.folder.write(&file, serde_json::to_vec(&done.own))?;
        }
        eprintln!("{title}: {}", summary(&record));
        Ok(Some(Record::Attack(record)))
    }

    fn title(&self, section: &AttackSection, source: &ModelId, spec: &AttackSpec) -> String {
        let radius = spec.as_dyn().eps().map_or(String::new(), |eps| format!(" eps {eps}"));
        self.context.titled(format!("{}{radius} on {source}", section.name), self.seed)
    }

    /// The first images that the model classifies correctly, if it does any; before and after.
    pub(super) fn pictures(&self, section: &AttackSection, source: &ModelId) -> Result<Record> {
        let models = self.models(source, &[])?;
        let bench = self.bench(&models, &section.images)?;
        let mut rows = correct_rows(&bench.victim, &bench.examples)?;
        if rows.is_empty() {
            rows = (0..bench.examples.len()).collect();
        }
        rows.truncate(section.pictures);
        let done = bench.part(&section.name, &section.attack, &rows)?;
        let file = format!("pictures/{}.png", self.file_name(section, source));
        let folder = self.context.folder.path();
        fsx::create_folder(&folder.join("pictures"))?;
        let record = bench.picture((folder, file), (&section.name, &rows), &done)?;
        Ok(Record::Pictures(record))
    }

    pub(super) fn audit(&self, section: &AuditSection, source: &ModelId) -> Result<Record> {
        eprintln!("{}: {source}", section.name);
        let models = self.models(source, &section.transfer_from)?;
        let bench = self.bench(&models, &section.images)?;
        // A network that learned nothing must not end a run of hours.
        let record = if correct_rows(&bench.victim, &bench.examples)?.is_empty() {
            let n = bench.examples.len();
            AuditRecord {
                seed: self.seed,
                id: source.clone(),
                verdict: AuditVerdict::NotRobust,
                n_images: Some(0),
                words: format!("Not robust: it classifies none of the {n} images correctly."),
                ..AuditRecord::default()
            }
        } else {
            bench.audit(&section.audit, Stream::new(self.seed).at("attack").at("audit"))?
        };
        eprintln!("{source}: {}", record.words);
        Ok(Record::Audit(record))
    }

    /// All attacks on `source` of one norm and radius together, on the images that they share.
    pub(super) fn worst_cases(&self, source: &ModelId) -> Result<Vec<AttackRecord>> {
        let attacks = self.context.spec.questions.attack.iter();
        let own: Vec<_> = attacks.filter(|section| section.models.contains(source)).collect();
        let outcomes = own.iter().map(|section| self.outcomes(section, source));
        let outcomes = outcomes.collect::<Result<Vec<_>>>()?;
        let mut records = Vec::new();
        for (i, section) in own.iter().enumerate() {
            let alike =
                |other: &AttackSection| other.images.correct_by == section.images.correct_by;
            if own[..i].iter().any(|other| alike(other)) {
                continue;
            }
            let same = own.iter().zip(&outcomes).filter(|(other, _)| alike(other));
            let same: Vec<_> = same.map(|(other, all)| (other.attack.as_dyn(), &all[..])).collect();
            records.extend(worst_cases(&same));
        }
        for record in &mut records {
            record.seed = self.seed;
            record.id = source.clone();
        }
        Ok(records)
    }

    /// What came of an attack at its own radius.
    fn outcomes(&self, section: &AttackSection, source: &ModelId) -> Result<Vec<Outcome>> {
        let file = format!("outcomes/{}.json", self.file_name(section, source));
        self.context.folder.read(&file)?.ok_or_else(|| Error::Missing {
            path: self.context.folder.path().join(file),
            hint: "begin the run again with --restart".into(),
        })
    }

    /// What the files of an attack on `source` are called.
    fn file_name(&self, section: &AttackSection, ModelId { training, model }: &ModelId) -> String {
        format!("{}-{training}-{model}-seed{}", section.name, self.seed)
    }

    /// The test images that are asked for.
    fn examples(&self, images: &ImagesSpec) -> Result<Examples> {
        let test = self.context.sets.test_images()?;
        let Some(source) = &images.correct_by else {
            return Ok(examples::first(test, images.n_images));
        };
        let network = self.context.trained(source, self.seed)?;
        let victim = victim(&network, &self.context.setting.device)?;
        let found = examples::first_correct(&victim, test, images.n_images)?;
        if found.is_empty() {
            let reason = format!("`{source}` classifies no test image correctly");
            return Err(Error::config("correct_by", reason));
        }
        Ok(found)
    }
}

fn summary(record: &AttackRecord) -> String {
    let own = format!("{} of {} right, {} after", record.correct, record.total, record.robust);
    let distance =
        record.mean_distance.map_or(String::new(), |d| format!(", mean distance {d:.3}"));
    own + &distance
}
