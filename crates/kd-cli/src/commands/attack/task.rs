//! The work of `kd attack`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::Device;
use kd_adv::{AttackSpec, Examples, Victim, attack, census, observe, summarize, transfer};
use kd_core::ops::Normalize;
use kd_core::record::{AttackRecord, AuditRecord, ModelId, PicturesRecord, TransferRecord};
use kd_core::{Classifier, Error, Result, Stream};
use kd_data::Images;

use super::Args;
use super::output::{AttackOutput, Output};
use super::settings::{Settings, file_name};
use super::store::{Group, Results, Store};
use crate::commands::train::{data, model};
use crate::examples;
use crate::run::Progress;
use crate::weights::{self, Loaded, Wanted};

/// Images that are attacked together, and kept together.
const GROUP: usize = 100;

/// Everything that the work needs.
pub(super) struct Task<'a> {
    args: &'a Args,
    settings: Settings,
    images: Images,
    device: Device,
    network: Loaded,
    other: Option<Loaded>,
}

impl<'a> Task<'a> {
    /// Reads images and networks, and checks the flags.
    pub(super) fn load(args: &'a Args) -> Result<Self> {
        let device = args.compute.cpu()?;
        let spec = data(&args.data)?;
        let images = spec.as_dyn().load_split(Some(&args.data_dir.path()), args.split.into())?;
        let (network, other) = networks(args, &images, &spec.as_dyn().normalize(), &device)?;
        let settings = Settings::new(args, &spec, &images, (&network, other.as_ref()))?;
        Ok(Self { args, settings, images, device, network, other })
    }

    /// Does what is not done; nothing when it was interrupted.
    pub(super) fn run(&self, stop: &AtomicBool) -> Result<Option<Output>> {
        let victim = self.victim(&self.network.network)?;
        let other = self.other.as_ref().map(|other| self.victim(&other.network)).transpose()?;
        let examples = match self.args.only_correct {
            true => examples::first_correct(&victim, &self.images, self.settings.n)?,
            false => examples::first(&self.images, self.settings.n),
        };
        if examples.is_empty() {
            let reason = "the network classifies none of the images correctly";
            return Err(Error::config("only-correct", reason));
        }
        let store = match &self.args.out {
            Some(path) => {
                let (shape, n_classes) = (self.images.shape(), self.images.n_classes());
                Some(Store::open(path, &self.settings.to_toml()?, shape, n_classes)?)
            }
            None => None,
        };
        let work = Work { task: self, victim, other, examples, store, stop };
        let mut attacks = Vec::new();
        for spec in &self.settings.attack {
            let Some(attack) = work.attack(spec)? else { return Ok(None) };
            attacks.push(attack);
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let output = self.output(&work, attacks)?;
        if let Some(store) = &work.store {
            store.write("result.json", &output)?;
        }
        Ok(Some(output))
    }

    fn victim<'n>(&self, network: &'n dyn Classifier) -> Result<Victim<'n>> {
        Victim::new(network, self.images.shape(), &self.device)
    }

    fn output(&self, work: &Work<'_>, attacks: Vec<AttackOutput>) -> Result<Output> {
        let mut census = census(&work.victim, &work.examples)?;
        (census.seed, census.id.model) = (self.settings.seed, self.network.name.clone());
        Ok(Output {
            model: self.network.name.clone(),
            parameters: self.network.network.params().n_elements(),
            data: self.args.data.clone(),
            split: self.args.split,
            attacks,
            census,
            audit: work.audit()?,
        })
    }
}

/// The network under attack, and the one that the images are shown to.
fn networks(
    args: &Args,
    images: &Images,
    default: &Normalize,
    device: &Device,
) -> Result<(Loaded, Option<Loaded>)> {
    let named = |name: &Option<String>| name.as_deref().map(model).transpose();
    let (model, other_model) = (args.network.model()?, named(&args.transfer_model)?);
    let given = args.normalize.given();
    let wanted = Wanted {
        image_shape: Some(images.shape()),
        n_classes: Some(images.n_classes()),
        default_normalize: Some(default),
        ..Wanted::default()
    };
    let own = Wanted { model: model.as_ref(), normalize: given.as_ref(), ..wanted };
    let network = weights::load(args.network.weights()?, &own, device)?;
    network.tell(args.network.weights()?);
    let Some(path) = &args.transfer else { return Ok((network, None)) };
    let default_normalize = Some(given.as_ref().unwrap_or(default));
    let (model, default_model) = (other_model.as_ref(), model.as_ref());
    let wanted = Wanted { model, default_model, default_normalize, ..wanted };
    let other = weights::load(path, &wanted, device)?;
    other.tell(path);
    Ok((network, Some(other)))
}

/// The work on some images.
struct Work<'a> {
    task: &'a Task<'a>,
    victim: Victim<'a>,
    other: Option<Victim<'a>>,
    examples: Examples,
    store: Option<Store>,
    stop: &'a AtomicBool,
}

impl Work<'_> {
    /// One attack at one radius; nothing when it was interrupted.
    fn attack(&self, spec: &AttackSpec) -> Result<Option<AttackOutput>> {
        let (name, n_groups) = (file_name(spec), self.examples.len().div_ceil(GROUP));
        let progress = Progress::start(name.clone(), 0, n_groups as u64);
        let mut done = Group::default();
        for group in 0..n_groups {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            done.append(self.group(spec, &name, group)?);
            progress.counters.steps.store(group as u64 + 1, Ordering::Relaxed);
        }
        drop(progress);
        let record = AttackRecord {
            seed: self.task.settings.seed,
            id: ModelId::new("", &self.task.network.name),
            transfer: self.transfer(&done.results).into_iter().collect(),
            seconds: done.results.seconds,
            ..summarize(spec, &done.results.own)
        };
        let pictures = match &self.store {
            Some(store) => {
                let (file, labels) = store.finish(&name, &self.examples, &done)?;
                let (seed, id, attack) = (record.seed, record.id.clone(), spec.name().into());
                Some(PicturesRecord { seed, id, attack, file, labels })
            }
            None => None,
        };
        Ok(Some(AttackOutput::new(record, pictures)))
    }

    /// A group of images, from the folder when it is done.
    fn group(&self, spec: &AttackSpec, name: &str, group: usize) -> Result<Group> {
        if let Some(store) = &self.store
            && let Some(done) = store.group(name, group)?
        {
            return Ok(done);
        }
        let started = Instant::now();
        let rows = group * GROUP..self.examples.len().min((group + 1) * GROUP);
        let part = self.examples.select(&rows.collect::<Vec<_>>());
        let stream = Stream::new(self.task.settings.seed).at("attack").at(spec.name());
        let pixels = attack(spec, &self.victim, &part, stream)?.pixels;
        let seconds = started.elapsed().as_secs_f64();
        let norm = spec.as_dyn().norm();
        let own = observe(&self.victim, norm, &part, &pixels)?;
        let other = match &self.other {
            Some(other) => observe(other, norm, &part, &pixels)?,
            None => Vec::new(),
        };
        let done = Group { pixels, results: Results { own, other, seconds } };
        if let Some(store) = &self.store {
            store.keep(name, group, &done)?;
        }
        Ok(done)
    }

    fn transfer(&self, results: &Results) -> Option<TransferRecord> {
        self.other.as_ref()?;
        let id = ModelId::new("", self.other_name());
        Some(TransferRecord { id, ..transfer(&results.own, &results.other) })
    }

    /// The other network, by the path of its weights: it may be of the same architecture.
    fn other_name(&self) -> String {
        self.task.args.transfer.iter().map(|path| path.display().to_string()).collect()
    }

    /// The audit, if one is asked for: from the folder when it is done.
    fn audit(&self) -> Result<Option<AuditRecord>> {
        const FILE: &str = "audit.json";
        let Some(audit) = &self.task.settings.audit else { return Ok(None) };
        if let Some(store) = &self.store
            && let Some(done) = store.read(FILE)?
        {
            return Ok(Some(done));
        }
        let seed = self.task.settings.seed;
        eprintln!("audit at eps {}", audit.eps);
        let name = self.other_name();
        let others: Vec<(&str, &Victim<'_>)> =
            self.other.iter().map(|victim| (name.as_str(), victim)).collect();
        let stream = Stream::new(seed).at("audit");
        let record = audit.run(&self.victim, &self.examples, &others, stream)?;
        let id = ModelId::new("", &self.task.network.name);
        let record = AuditRecord { seed, id, ..record };
        if let Some(store) = &self.store {
            store.write(FILE, &record)?;
        }
        Ok(Some(record))
    }
}
