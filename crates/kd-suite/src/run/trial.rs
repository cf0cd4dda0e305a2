//! The models that the trainings of a seed end with, under census, attacks and audits.

use std::path::PathBuf;

use kd_adv::{Attack, AttackSpec, Examples, Outcome, correct_rows, worst_cases};
use kd_core::record::{AttackRecord, AuditRecord, Record};
use kd_core::{Error, Result, Stream, fsx};

use super::training::Context;
use crate::attack::{Bench, Keep, Models, State, encode, parse, victim};
use crate::examples;
use crate::suite::{AttackSection, AuditSection, CensusSpec, ImagesSpec, Source};

/// Largest file of outcomes that is read.
const LIMIT: u64 = 1 << 28;

/// The models of one seed.
#[derive(Clone, Copy)]
pub(super) struct Trial<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) seed: u64,
}

impl Trial<'_> {
    /// How large the logits and gradients of `source` are.
    pub(super) fn census(&self, section: &CensusSpec, source: &Source) -> Result<Record> {
        let models = self.models(source, &[])?;
        let record = self.bench(&models, &section.images)?.census()?;
        Ok(Record::Census(record))
    }

    /// `source` and those of `others` that are not it.
    fn models(&self, source: &Source, others: &[Source]) -> Result<Models> {
        let load = |source: &Source| Ok((source.clone(), self.context.trained(source, self.seed)?));
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
        source: &Source,
        spec: &AttackSpec,
    ) -> Result<Option<Record>> {
        let is_main = *spec == section.attack;
        let others = if is_main { &section.transfer_to[..] } else { &[] };
        let models = self.models(source, others)?;
        let bench = self.bench(&models, &section.images)?;
        let title = self.title(section, source, spec);
        let mut keep = Keep::State(State::new(self.context.folder.attack_state(), &title));
        let Some((record, done)) = bench.attack((&section.name, &title), spec, &mut keep)? else {
            return Ok(None);
        };
        if is_main {
            fsx::create_folder(&self.context.folder.path().join("outcomes"))?;
            fsx::write_atomic(&self.outcomes_path(&section.name, source), &encode(&done.own)?)?;
        }
        eprintln!("{title}: {}", summary(&record));
        Ok(Some(Record::Attack(record)))
    }

    fn title(&self, section: &AttackSection, source: &Source, spec: &AttackSpec) -> String {
        let radius = spec.as_dyn().eps().map_or(String::new(), |eps| format!(" eps {eps}"));
        self.context.titled(format!("{}{radius} on {source}", section.name), self.seed)
    }

    /// The first images that the model classifies correctly, if it does any; before and after.
    pub(super) fn pictures(&self, section: &AttackSection, source: &Source) -> Result<Record> {
        let models = self.models(source, &[])?;
        let bench = self.bench(&models, &section.images)?;
        let mut rows = correct_rows(&bench.victim, &bench.examples)?;
        if rows.is_empty() {
            rows = (0..bench.examples.len()).collect();
        }
        rows.truncate(section.pictures);
        let done = bench.part(&section.name, &section.attack, &rows)?;
        let Source { training, model } = source;
        let file = format!("pictures/{}-{training}-{model}-seed{}.png", section.name, self.seed);
        let folder = self.context.folder.path();
        fsx::create_folder(&folder.join("pictures"))?;
        let record = bench.picture((folder, file), (&section.name, &rows), &done)?;
        Ok(Record::Pictures(record))
    }

    pub(super) fn audit(&self, section: &AuditSection, source: &Source) -> Result<Record> {
        eprintln!("{}: {source}", section.name);
        let models = self.models(source, &section.transfer_from)?;
        let bench = self.bench(&models, &section.images)?;
        // A network that learned nothing must not end a run of hours.
        let record = match correct_rows(&bench.victim, &bench.examples)?.is_empty() {
            true => self.nothing_to_audit(source, bench.examples.len()),
            false => {
                let stream = Stream::new(self.seed).at("attack").at("audit");
                bench.audit(&section.audit, stream)?
            }
        };
        eprintln!("{source}: {}", record.words);
        Ok(Record::Audit(record))
    }

    fn nothing_to_audit(&self, source: &Source, n_images: usize) -> AuditRecord {
        AuditRecord {
            seed: self.seed,
            training: source.training.clone(),
            model: source.model.clone(),
            verdict: "not-robust".into(),
            words: format!("Not robust: it classifies none of the {n_images} images correctly."),
            ..AuditRecord::default()
        }
    }

    /// All attacks on `source` of one norm and radius together, on the images that they share.
    pub(super) fn worst_cases(&self, source: &Source) -> Result<Vec<AttackRecord>> {
        let sections = || {
            let attacks = self.context.spec.robustness.attack.iter();
            attacks.filter(|section| section.models.contains(source))
        };
        let mut references: Vec<&Option<Source>> = Vec::new();
        let mut records: Vec<AttackRecord> = Vec::new();
        for reference in sections().map(|section| &section.images.correct_by) {
            if references.contains(&reference) {
                continue;
            }
            references.push(reference);
            let same = sections().filter(|section| section.images.correct_by == *reference);
            let outcomes: Vec<(&dyn Attack, Vec<Outcome>)> = same
                .map(|section| Ok((section.attack.as_dyn(), self.outcomes(&section.name, source)?)))
                .collect::<Result<_>>()?;
            let outcomes: Vec<(&dyn Attack, &[Outcome])> =
                outcomes.iter().map(|(attack, outcomes)| (*attack, &outcomes[..])).collect();
            records.extend(worst_cases(&outcomes));
        }
        for record in &mut records {
            record.seed = self.seed;
            (record.training, record.model) = (source.training.clone(), source.model.clone());
        }
        Ok(records)
    }

    fn outcomes(&self, attack: &str, source: &Source) -> Result<Vec<Outcome>> {
        let path = self.outcomes_path(attack, source);
        let bytes = fsx::read_bounded(&path, LIMIT, "remove metrics.jsonl to attack again")?;
        parse(&path, &bytes)
    }

    /// Where the outcomes of an attack at its own radius lie.
    fn outcomes_path(&self, attack: &str, source: &Source) -> PathBuf {
        let Source { training, model } = source;
        let name = format!("{attack}-{training}-{model}-seed{}.json", self.seed);
        self.context.folder.path().join("outcomes").join(name)
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
