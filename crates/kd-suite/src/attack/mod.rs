//! The one driver of attacks: networks and images on a bench, attacked in parts, with what is done
//! kept on the disk.

mod chosen;
mod keep;
mod store;
mod task;
mod words;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Device;
use kd_adv::{
    AttackSpec, Audit, Examples, Outcome, Victim, attack, census, observe, picture_grid, summarize,
    transfer,
};
use kd_core::record::{
    AttackRecord, AuditRecord, CensusRecord, ModelId, PicturesRecord, TransferRecord,
};
use kd_core::{Net, Result, Stream, fsx};

use crate::run::Progress;
pub use chosen::{attacks, audit};
pub(crate) use keep::{Done, Groups};
pub use task::{AttackReport, AttackResult, AttackTask};

/// Networks with their names: the one under attack, and those that are shown the same images.
pub(crate) struct Models {
    pub(crate) own: (ModelId, Net),
    pub(crate) others: Vec<(ModelId, Net)>,
}

/// Models, images and seed: all that an attack needs but its settings.
pub(crate) struct Bench<'a> {
    source: &'a ModelId,
    pub(crate) victim: Victim<'a>,
    others: Vec<(&'a ModelId, Victim<'a>)>,
    pub(crate) examples: Examples,
    seed: u64,
    stop: &'a AtomicBool,
}

/// `network` under attack.
pub(crate) fn victim<'n>(network: &'n Net, device: &Device) -> Result<Victim<'n>> {
    Victim::new(network, network.graph().image_shape, device)
}

impl<'a> Bench<'a> {
    /// `stop` ends an attack between two parts.
    pub(crate) fn new(
        models: &'a Models,
        examples: Examples,
        (seed, stop): (u64, &'a AtomicBool),
        device: &Device,
    ) -> Result<Self> {
        let others = models.others.iter();
        let others = others.map(|(name, network)| Ok((name, victim(network, device)?)));
        let (source, network) = &models.own;
        Ok(Self {
            source,
            victim: victim(network, device)?,
            others: others.collect::<Result<_>>()?,
            examples,
            seed,
            stop,
        })
    }

    /// Whether a signal has asked for the end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Attacks all images, part by part, from where `groups` stand; nothing when it was interrupted.
    /// The attack is called `name`, on which its random numbers depend.
    pub(crate) fn attack(
        &self,
        (name, title): (&str, &str),
        spec: &AttackSpec,
        mut groups: Option<Groups>,
    ) -> Result<Option<(AttackRecord, Done)>> {
        let n_images = self.examples.len();
        let mut done = groups.as_mut().map_or(Ok(Done::default()), Groups::take_up)?;
        let progress = Progress::start(title.into(), done.len() as u64, n_images as u64);
        while done.len() < n_images {
            if self.is_stopped() {
                groups.iter_mut().try_for_each(|groups| groups.save(&done))?;
                return Ok(None);
            }
            let rows = done.len()..n_images.min(done.len() + keep::part_size());
            let mut part = self.part(name, spec, &rows.collect::<Vec<_>>())?;
            if !groups.as_ref().is_some_and(Groups::has_images) {
                part.pixels.clear();
            }
            done.append(part);
            groups.iter_mut().try_for_each(|groups| groups.save_in_time(&done))?;
            progress.counters.steps.store(done.len() as u64, Ordering::Relaxed);
        }
        Ok(Some((self.record(name, spec, &done), done)))
    }

    /// Attacks the images `rows`, and looks at what came of it.
    pub(crate) fn part(&self, name: &str, spec: &AttackSpec, rows: &[usize]) -> Result<Done> {
        let started = Instant::now();
        let part = self.examples.select(rows);
        let stream = Stream::new(self.seed).at("attack").at(name);
        let pixels = attack(spec, &self.victim, &part, stream)?.pixels;
        let seen = |victim| observe(victim, spec.as_dyn().norm(), &part, &pixels);
        let own = seen(&self.victim)?;
        let others = self.others.iter().map(|(_, other)| seen(other)).collect::<Result<_>>()?;
        Ok(Done { own, others, seconds: started.elapsed().as_secs_f64(), pixels })
    }

    fn record(&self, name: &str, spec: &AttackSpec, done: &Done) -> AttackRecord {
        let shown = |((other, _), outcomes): (&(&ModelId, _), &Vec<Outcome>)| TransferRecord {
            id: (*other).clone(),
            ..transfer(&done.own, outcomes)
        };
        AttackRecord {
            seed: self.seed,
            id: self.source.clone(),
            attack: name.into(),
            transfer: self.others.iter().zip(&done.others).map(shown).collect(),
            seconds: done.seconds,
            ..summarize(spec, &done.own)
        }
    }

    /// Writes a picture of the images `rows` before and after the attack to `file` in `folder`;
    /// `done` begins with them.
    pub(crate) fn picture(
        &self,
        (folder, file): (&Path, String),
        (name, rows): (&str, &[usize]),
        done: &Done,
    ) -> Result<PicturesRecord> {
        let clean = self.examples.select(rows).pixels;
        let attacked = &done.pixels[..clean.len()];
        let png = picture_grid(self.victim.image_shape(), &clean, attacked)?;
        fsx::write_atomic(&folder.join(&file), &png)?;
        let labels = done.own.iter().take(rows.len());
        let labels = labels.map(|outcome| [outcome.label, outcome.after]).collect();
        let (id, attack) = (self.source.clone(), name.into());
        Ok(PicturesRecord { seed: self.seed, id, attack, file, labels })
    }

    /// How large logits and gradients are.
    pub(crate) fn census(&self) -> Result<CensusRecord> {
        let record = census(&self.victim, &self.examples)?;
        Ok(CensusRecord { seed: self.seed, id: self.source.clone(), ..record })
    }

    /// Whether the network hides its gradients.
    pub(crate) fn audit(&self, audit: &Audit, stream: Stream) -> Result<AuditRecord> {
        let names: Vec<String> = self.others.iter().map(|(name, _)| name.to_string()).collect();
        let others = names.iter().zip(&self.others);
        let others: Vec<_> = others.map(|(name, (_, victim))| (name.as_str(), victim)).collect();
        let record = audit.run(&self.victim, &self.examples, &others, stream)?;
        Ok(AuditRecord { seed: self.seed, id: self.source.clone(), ..record })
    }
}

#[cfg(test)]
mod tests;
