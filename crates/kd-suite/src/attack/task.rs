//! Attacks on a network of a file, without a suite: what `kd attack` does.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use kd_adv::{AttackSpec, Audit, Examples};
use kd_core::ops::ConvSums;
use kd_core::record::{AttackRecord, AuditRecord, CensusRecord, ModelId, PicturesRecord};
use kd_core::{Classifier, Error, Result, Stream, at_least_one, fsx, wilson};
use kd_data::{DataSpec, Images, Split};
use serde::Serialize;
use serde_json::to_vec_pretty;

use super::store::Store;
use super::{Bench, Models, victim};
use crate::examples;
use crate::remarks;
use crate::subject::{NetworkFile, Subject};
use crate::weights::{self, Loaded};

/// Rows of a grid of pictures.
const N_PICTURES: usize = 8;

/// Attacks on a network on the first images of a data set.
#[derive(Debug, Clone)]
pub struct AttackTask {
    /// The network under attack, and the data set.
    pub subject: Subject,
    /// What the user calls the data set.
    pub data_name: String,
    /// Another network, which is shown the same images.
    pub transfer: Option<NetworkFile>,
    /// Number of images.
    pub n: usize,
    /// Whether only images count that the network classifies correctly.
    pub only_correct: bool,
    /// The attacks, one for each radius.
    pub attacks: Vec<AttackSpec>,
    /// Whether and how it is checked that the network does not hide its gradients.
    pub audit: Option<Audit>,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Folder of the results, if they are kept; there an interrupted task goes on.
    pub out: Option<PathBuf>,
}

/// What came of a task, as `result.json` holds it; accuracies are fractions.
#[derive(Debug, Serialize)]
pub struct AttackReport {
    /// Short name of the network.
    pub model: String,
    /// Number of its parameters.
    pub parameters: usize,
    /// The data set.
    pub data: String,
    /// Its part.
    pub split: Split,
    /// Names of the classes, by label; none where they are not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
    /// Each attack at each radius.
    pub attacks: Vec<AttackResult>,
    /// How large logits and gradients are.
    pub census: CensusRecord,
    /// The audit, if one was asked for.
    pub audit: Option<AuditRecord>,
}

/// One attack at one radius.
#[derive(Debug, Serialize)]
pub struct AttackResult {
    /// The counts.
    #[serde(flatten)]
    pub record: AttackRecord,
    /// The length of its steps, where they all have the same.
    pub step_size: Option<f32>,
    /// Before the attack.
    pub clean_accuracy: f64,
    /// After it.
    pub robust_accuracy: f64,
    /// Wilson's 95 % interval.
    pub robust_interval: [f64; 2],
    /// With the adversarial pixels rounded to 8 bits.
    pub robust_accuracy_rounded: f64,
    /// Among the images classified correctly; none without any.
    pub success_rate: Option<f64>,
    /// Wilson's 95 % interval.
    pub success_interval: [f64; 2],
    /// A picture of the first images, where files are kept.
    pub pictures: Option<PicturesRecord>,
}

impl AttackResult {
    /// The record with its fractions and intervals.
    fn new(spec: &AttackSpec, record: AttackRecord, pictures: Option<PicturesRecord>) -> Self {
        let AttackRecord { total, correct, robust, robust_rounded, .. } = record;
        let fraction = |count: usize| count as f64 / total.max(1) as f64;
        let successes = correct.saturating_sub(robust);
        Self {
            step_size: spec.as_dyn().step_size(),
            clean_accuracy: fraction(correct),
            robust_accuracy: fraction(robust),
            robust_interval: wilson(robust, total),
            robust_accuracy_rounded: fraction(robust_rounded),
            success_rate: (correct > 0).then(|| successes as f64 / correct as f64),
            success_interval: wilson(successes, correct),
            pictures,
            record,
        }
    }
}

impl AttackTask {
    /// Does what is not done; nothing when `stop` was set before the end.
    ///
    /// # Errors
    /// [`Error::Config`] for settings outside their domain, a folder with the results of others, or
    /// a network that is right about no image; those of data, files and attacks.
    pub fn run(&self, stop: &AtomicBool) -> Result<Option<AttackReport>> {
        at_least_one("n", self.n)?;
        let Subject { data, data_dir, split, device, .. } = &self.subject;
        let images = data.as_dyn().load_split(Some(data_dir), *split)?;
        remarks::tell(&[images.remarks()]);
        let shape = (images.shape(), images.n_classes());
        let network = self.subject.load(shape, images.class_names())?;
        let other = self.transfer.as_ref();
        let other = other.map(|file| self.subject.load_other(file, shape, images.class_names()));
        let other = other.transpose()?;
        let spec = self.spec(&images, &network, other.as_ref())?;
        let parameters = network.network.params().n_elements();
        let models = self.models(network, other);
        let examples = self.examples(&models, &images)?;
        let open = |path| Store::open(path, &spec, shape, images.class_names());
        let store = self.out.as_deref().map(open).transpose()?;
        let bench = Bench::new(&models, examples, (self.seed, stop), device)?;
        let mut attacks = Vec::new();
        for spec in &self.attacks {
            let Some(attack) = attack(&bench, spec, store.as_ref())? else { return Ok(None) };
            attacks.push(attack);
        }
        if bench.is_stopped() {
            return Ok(None);
        }
        let report = AttackReport {
            model: models.own.0.model.clone(),
            parameters,
            data: self.data_name.clone(),
            split: *split,
            class_names: images.class_names().to_vec(),
            attacks,
            census: bench.census()?,
            audit: self.audit(&bench, store.as_ref())?,
        };
        let json = |store: &Store| store.folder.write("result.json", to_vec_pretty(&report));
        store.as_ref().map(json).transpose()?;
        Ok(Some(report))
    }

    /// Both networks, by their names: the other one's is the path of its weights, as it may be of
    /// the same architecture.
    fn models(&self, network: Loaded, other: Option<Loaded>) -> Models {
        let source = |model| ModelId::new("", model);
        let others = other.into_iter().zip(&self.transfer);
        let others =
            others.map(|(other, file)| (source(file.path.display().to_string()), other.network));
        Models { own: (source(network.name), network.network), others: others.collect() }
    }

    fn examples(&self, models: &Models, images: &Images) -> Result<Examples> {
        if !self.only_correct {
            return Ok(examples::first(images, self.n));
        }
        let victim = victim(&models.own.1, &self.subject.device)?;
        let found = examples::first_correct(&victim, images, self.n)?;
        if found.is_empty() {
            let reason = "the network classifies none of the images correctly";
            return Err(Error::config("only-correct", reason));
        }
        Ok(found)
    }

    /// The audit, if one is asked for: from the folder when it is done.
    fn audit(&self, bench: &Bench<'_>, store: Option<&Store>) -> Result<Option<AuditRecord>> {
        const FILE: &str = "audit.json";
        let Some(audit) = &self.audit else { return Ok(None) };
        if let Some(done) = store.map(|store| store.folder.read(FILE)).transpose()?.flatten() {
            return Ok(Some(done));
        }
        eprintln!("audit at eps {}", audit.eps);
        let record = bench.audit(audit, Stream::new(self.seed).at("audit"))?;
        store.map(|store| store.folder.write(FILE, to_vec_pretty(&record))).transpose()?;
        Ok(Some(record))
    }

    /// Everything that decides the numbers, written as `spec.toml`: a folder with other settings is
    /// not gone on with.
    fn spec(&self, images: &Images, network: &Loaded, other: Option<&Loaded>) -> Result<String> {
        let transfer = other.zip(self.transfer.as_ref());
        let spec = Spec {
            seed: self.seed,
            n: self.n,
            only_correct: self.only_correct,
            split: self.subject.split,
            conv_sums: self.subject.conv_sums,
            files: images.files().iter().map(|file| file.sha256.as_str()).collect(),
            model: NetworkSpec::new(network, &self.subject.network.path)?,
            transfer: transfer.map(|(l, file)| NetworkSpec::new(l, &file.path)).transpose()?,
            audit: self.audit.as_ref(),
            data: &self.subject.data,
            attack: &self.attacks,
        };
        toml::to_string(&spec).map_err(|e| Error::config("spec", e.to_string()))
    }
}

/// One attack at one radius, with its files; nothing when it was interrupted.
fn attack(
    bench: &Bench<'_>,
    spec: &AttackSpec,
    store: Option<&Store>,
) -> Result<Option<AttackResult>> {
    let (kind, name) = (spec.name(), file_name(spec));
    let groups = store.map(|store| store.groups(&name));
    let Some((record, done)) = bench.attack((kind, &name), spec, groups)? else {
        return Ok(None);
    };
    let Some(store) = store else { return Ok(Some(AttackResult::new(spec, record, None))) };
    store.finish(&name, &done)?;
    let rows: Vec<usize> = (0..done.len().min(N_PICTURES)).collect();
    let place = (store.folder.path(), format!("{name}.png"));
    let pictures = bench.picture(place, (kind, &rows), &done)?;
    Ok(Some(AttackResult::new(spec, record, Some(pictures))))
}

/// What an attack's files are called: `pgd-eps0.1`.
fn file_name(spec: &AttackSpec) -> String {
    match spec.as_dyn().eps() {
        Some(eps) => format!("{}-eps{eps}", spec.name()),
        None => spec.name().into(),
    }
}

/// See [`AttackTask::spec`].
#[derive(Serialize)]
struct Spec<'a> {
    seed: u64,
    n: usize,
    only_correct: bool,
    split: Split,
    conv_sums: ConvSums,
    /// SHA-256 of each file of the data set.
    files: Vec<&'a str>,
    model: NetworkSpec<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer: Option<NetworkSpec<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<&'a Audit>,
    data: &'a DataSpec,
    attack: &'a [AttackSpec],
}

/// A network with its weights.
#[derive(Serialize)]
struct NetworkSpec<'a> {
    name: &'a str,
    sha256: String,
    /// SHA-256 of what the network computes, its normalization included.
    graph: String,
}

impl<'a> NetworkSpec<'a> {
    fn new(loaded: &'a Loaded, path: &Path) -> Result<Self> {
        let graph = serde_json::to_vec(loaded.network.graph());
        let graph = graph.map_err(|e| Error::config("model", e.to_string()))?;
        let sha256 = fsx::sha256(&weights::read(path)?);
        Ok(Self { name: &loaded.name, sha256, graph: fsx::sha256(&graph) })
    }
}
