//! Networks and images, and the jobs that need no more than one call.

use std::path::PathBuf;

use kd_adv::{
    Attack, Examples, Outcome, Victim, attack, census, correct_rows, observe, picture_grid,
    worst_cases,
};
use kd_core::record::{
    AttackRecord, AuditRecord, AuditVerdict, CensusRecord, PicturesRecord, Record,
};
use kd_core::{Error, Net, Result, Stream, fsx};

use super::Job;
use crate::examples;
use crate::run::training::Context;
use crate::suite::{AttackSection, AuditSection, CensusSpec, ImagesSpec, Source};

/// Largest file of outcomes that is read.
const LIMIT: u64 = 1 << 28;

/// The models of one seed.
#[derive(Clone, Copy)]
pub(super) struct Bench<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) seed: u64,
}

impl Bench<'_> {
    /// The record of `job`, or nothing when it was interrupted.
    pub(super) fn run(&self, job: &Job<'_>) -> Result<Option<Record>> {
        if self.is_stopped() {
            return Ok(None);
        }
        match job {
            Job::Census(section, source) => self.census(section, source).map(Some),
            Job::Attack(section, source, spec) => {
                let record = self.attack(section, source, spec)?;
                Ok(record.map(Record::Attack))
            }
            Job::Pictures(section, source) => self.pictures(section, source).map(Some),
            Job::Audit(section, source) => self.audit(section, source).map(Some),
        }
    }

    /// Whether a signal has asked for the end.
    pub(super) fn is_stopped(&self) -> bool {
        self.context.setting.stop.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn census(&self, section: &CensusSpec, source: &Source) -> Result<Record> {
        let network = self.network(source)?;
        let victim = self.context.victim(&network)?;
        let record = census(&victim, &self.examples(&section.images)?)?;
        Ok(Record::Census(CensusRecord { seed: self.seed, id: source.into(), ..record }))
    }

    fn audit(&self, section: &AuditSection, source: &Source) -> Result<Record> {
        eprintln!("{}: {source}", section.name);
        let network = self.network(source)?;
        let victim = self.context.victim(&network)?;
        let others = section.transfer_from.iter().filter(|other| *other != source);
        let others: Vec<(String, Net)> = others
            .map(|other| Ok((other.to_string(), self.network(other)?)))
            .collect::<Result<_>>()?;
        let others: Vec<(&str, Victim<'_>)> = others
            .iter()
            .map(|(name, network)| Ok((name.as_str(), self.context.victim(network)?)))
            .collect::<Result<_>>()?;
        let others: Vec<(&str, &Victim<'_>)> =
            others.iter().map(|(name, victim)| (*name, victim)).collect();
        let examples = self.examples(&section.images)?;
        // A network that learned nothing must not end a run of hours.
        let record = match correct_rows(&victim, &examples)?.is_empty() {
            true => nothing_to_audit(examples.len()),
            false => section.audit.run(&victim, &examples, &others, self.stream("audit"))?,
        };
        eprintln!("{source}: {}", record.words);
        Ok(Record::Audit(AuditRecord { seed: self.seed, id: source.into(), ..record }))
    }

    /// The first images that the model classifies correctly, if it does any; before and after.
    fn pictures(&self, section: &AttackSection, source: &Source) -> Result<Record> {
        let network = self.network(source)?;
        let victim = self.context.victim(&network)?;
        let examples = self.examples(&section.images)?;
        let mut rows = correct_rows(&victim, &examples)?;
        if rows.is_empty() {
            rows = (0..examples.len()).collect();
        }
        rows.truncate(section.pictures);
        let clean = examples.select(&rows);
        let attacked = attack(&section.attack, &victim, &clean, self.stream(&section.name))?;
        let norm = section.attack.as_dyn().norm();
        let outcomes = observe(&victim, norm, &clean, &attacked.pixels)?;
        let png = picture_grid(victim.image_shape(), &clean.pixels, &attacked.pixels)?;
        let Source { training, model } = source;
        let file = format!("pictures/{}-{training}-{model}-seed{}.png", section.name, self.seed);
        let path = self.context.folder.path().join(&file);
        fsx::create_folder(&self.context.folder.path().join("pictures"))?;
        fsx::write_atomic(&path, &png)?;
        Ok(Record::Pictures(PicturesRecord {
            seed: self.seed,
            id: source.into(),
            attack: section.name.clone(),
            file,
            labels: outcomes.iter().map(|outcome| [outcome.label, outcome.after]).collect(),
        }))
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
            record.id = source.into();
        }
        Ok(records)
    }

    fn outcomes(&self, attack: &str, source: &Source) -> Result<Vec<Outcome>> {
        let path = self.outcomes_path(attack, source);
        let bytes = fsx::read_bounded(&path, LIMIT, "remove metrics.jsonl to attack again")?;
        parse(&path, &bytes)
    }

    /// Where the outcomes of an attack at its own radius lie.
    pub(super) fn outcomes_path(&self, attack: &str, source: &Source) -> PathBuf {
        let Source { training, model } = source;
        let name = format!("{attack}-{training}-{model}-seed{}.json", self.seed);
        self.context.folder.path().join("outcomes").join(name)
    }

    /// The network of `source` with its trained weights.
    pub(super) fn network(&self, source: &Source) -> Result<Net> {
        self.context.trained(source, self.seed)
    }

    /// The test images that are asked for.
    pub(super) fn examples(&self, images: &ImagesSpec) -> Result<Examples> {
        let test = self.context.sets.test_images()?;
        match &images.correct_by {
            None => Ok(examples::first(test, images.n_images)),
            Some(source) => {
                let network = self.network(source)?;
                let victim = self.context.victim(&network)?;
                let found = examples::first_correct(&victim, test, images.n_images)?;
                if found.is_empty() {
                    let reason = format!("`{source}` classifies no test image correctly");
                    return Err(Error::config("correct_by", reason));
                }
                Ok(found)
            }
        }
    }

    /// The random numbers of the section `name`.
    pub(super) fn stream(&self, name: &str) -> Stream {
        Stream::new(self.seed).at("attack").at(name)
    }
}

fn nothing_to_audit(n_images: usize) -> AuditRecord {
    AuditRecord {
        verdict: AuditVerdict::NotRobust,
        n_images: Some(0),
        words: format!("Not robust: it classifies none of the {n_images} images correctly."),
        ..AuditRecord::default()
    }
}

/// Reads JSON.
pub(super) fn parse<T: serde::de::DeserializeOwned>(
    path: &std::path::Path,
    bytes: &[u8],
) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::Parse {
        path: path.into(),
        offset: 0,
        reason: format!("not the outcomes of an attack: {e}"),
    })
}
