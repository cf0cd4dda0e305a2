//! Networks with their weights, from a checkpoint folder, a safetensors file or a PyTorch
//! checkpoint.
//!
//! Key decision: kd's own files say what network they hold, with its normalization; flags may
//! repeat it, not contradict it. Of other people's files the flags must say it.

mod class_names;
mod contents;
mod saved;
mod wanted;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use kd_core::checkpoint::Description;
use kd_core::ops::Normalize;
use kd_core::{Classifier, Error, Graph, Net, Result, Stream, checkpoint, fsx};
use kd_models::ModelSpec;
use kd_models::onnx::{ImportOptions, Imported, import};
use kd_models::weights::{Fit, Naming, WeightsFile};

use crate::classes::{self, Classes, Matched};
pub use contents::{Contents, contents};
pub(crate) use wanted::normalization;
pub use wanted::{Wanted, graph};

/// A network with its weights.
#[derive(Debug)]
pub struct Loaded {
    /// The network.
    pub network: Net,
    /// Its short name.
    pub name: String,
    /// Names of its classes; none where they are not known.
    pub class_names: Vec<String>,
    /// As [`Description::resize`].
    pub resize: Option<usize>,
    /// As [`Description::temperature`].
    pub temperature: Option<f64>,
    /// What is to be known of how it was loaded.
    notes: Vec<String>,
    /// Whether nobody said how it normalizes its images.
    is_guessed: bool,
}

impl Loaded {
    /// Says on stderr what was taken for the weights, and how the images are normalized, where that is
    /// a guess.
    pub(crate) fn tell(&self, path: &Path) {
        self.notes.iter().for_each(|note| eprintln!("{}: {note}", path.display()));
        if !self.is_guessed {
            return;
        }
        let how = normalization(self.network.graph());
        eprintln!(
            "{}: does not say how images are normalized; taken as the data set's: {how} (--mean \
             and --std choose others)",
            path.display()
        );
    }
}

/// A network of `model`, before its first step.
pub fn network(
    model: &ModelSpec,
    shape: ([usize; 3], usize),
    normalize: &Normalize,
    (stream, device): (Stream, &Device),
) -> Result<Net> {
    let graph = graph(model, shape, Some(normalize))?;
    match model.as_dyn().weights(shape.0, shape.1)? {
        Some(weights) => Net::with_weights(graph, &weights, device),
        None => Net::new(graph, stream, device),
    }
}

/// Reads the network at `path`: a checkpoint folder, which is verified against its manifest, or a
/// file. Its classes become those of the data, where names say which are which.
///
/// # Errors
/// [`Error::Config`] for what contradicts the flags, or classes that are not those of the data; those
/// of the files.
pub fn load(path: &Path, wanted: &Wanted<'_>, device: &Device) -> Result<Loaded> {
    let loaded = match is_onnx(path) {
        true => load_onnx(path, wanted, device)?,
        false => load_weights(path, wanted, device)?,
    };
    matched(loaded, (path, wanted), device)
}

/// As [`load`]; says on stderr what is to be known of how it was loaded.
///
/// # Errors
/// As [`load`].
pub fn load_aloud(path: &Path, wanted: &Wanted<'_>, device: &Device) -> Result<Loaded> {
    let loaded = load(path, wanted, device)?;
    loaded.tell(path);
    Ok(loaded)
}

fn load_weights(path: &Path, wanted: &Wanted<'_>, device: &Device) -> Result<Loaded> {
    let (weights, known) = Weights::open(path, wanted.naming, device)?;
    let is_known = known.is_some();
    let known = match known {
        Some(known) => wanted.agreed(known, path)?,
        None => weights.description(wanted, path)?,
    };
    let Description { name, graph, mut class_names, resize, temperature } = known;
    if class_names.is_empty() {
        class_names = weights.class_names(graph.n_classes()?);
    }
    let (tensors, notes) = weights.read(&graph, wanted.naming, device)?;
    let network = Net::with_weights(graph, &tensors, device)?;
    let is_guessed =
        !is_known && wanted.normalize.is_none() && network.graph().normalization().is_some();
    Ok(Loaded { network, name, class_names, resize, temperature, notes, is_guessed })
}

/// Whether `path` is called an ONNX file.
fn is_onnx(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "onnx")
}

/// The network in an ONNX file, as it takes its images, or behind the normalization that flags give.
fn load_onnx(path: &Path, wanted: &Wanted<'_>, device: &Device) -> Result<Loaded> {
    let options = ImportOptions { image_shape: wanted.image_shape };
    refuse_naming(wanted.naming, path, "an ONNX file has no dictionaries")?;
    let Imported { mut graph, weights, info, mut notes } = import(path, &options)?;
    match (graph.normalization(), wanted.normalize) {
        (None, Some(given)) => graph = graph.normalized(&given.mean, &given.std)?,
        (None, None) => notes.push(
            "takes pixels in [0, 1] as they are; --mean and --std put a normalization before it"
                .into(),
        ),
        (Some(_), _) => {}
    }
    let said = Description {
        class_names: info.class_names.unwrap_or_default(),
        resize: info.resize,
        temperature: info.temperature,
        ..Description::new(path.display().to_string(), graph)
    };
    let Description { name, graph, class_names, resize, temperature } =
        wanted.agreed(said, path)?;
    let network = Net::with_weights(graph, &weights, device)?;
    Ok(Loaded { network, name, class_names, resize, temperature, notes, is_guessed: false })
}

/// `error`, or which file to give, where the folder at `path` is not of kd's and holds one.
fn advice(error: Error, path: &Path) -> Error {
    const ENDS: [&str; 8] = ["safetensors", "pth", "pt", "th", "bin", "ckpt", "onnx", "tar"];
    let is_weights =
        |file: &PathBuf| file.extension().is_some_and(|end| ENDS.iter().any(|known| end == *known));
    let files = std::fs::read_dir(path).into_iter().flatten().flatten();
    let first = files.map(|entry| entry.path()).filter(is_weights).min();
    match (error, first) {
        // Others are of a checkpoint of kd that lost a file.
        (Error::Missing { path, .. }, Some(file)) if path.ends_with("manifest.json") => {
            let hint = format!("no checkpoint of kd is here; give a file, {}", file.display());
            Error::Missing { path, hint }
        }
        (error, _) => error,
    }
}

/// Refuses a dictionary or prefix that is given for what has none.
fn refuse_naming(naming: Option<&Naming>, path: &Path, why: &str) -> Result<()> {
    match naming {
        Some(naming) if !naming.is_default() => {
            let reason = format!("{}: {why}; leave out --key and --strip-prefix", path.display());
            Err(Error::config("key", reason))
        }
        _ => Ok(()),
    }
}

/// The short name of the network at `path`, where it is known.
pub fn name(path: &Path) -> Result<Option<String>> {
    if is_onnx(path) {
        return Ok(Some(path.display().to_string()));
    }
    Ok(Weights::open(path, None, &Device::Cpu)?.1.map(|known| known.name))
}

/// `[C, H, W]` of the images of the network at `path`, where it is known; what is wrong with the
/// file is found when it is loaded.
pub fn image_shape(path: &Path) -> Option<[usize; 3]> {
    let graph = match is_onnx(path) {
        true => import(path, &ImportOptions { image_shape: None }).ok()?.graph,
        false => Weights::open(path, None, &Device::Cpu).ok()?.1?.graph,
    };
    Some(graph.image_shape)
}

/// The bytes of the tensors' file at `path`.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let file: PathBuf = if path.is_dir() { path.join(checkpoint::TENSORS) } else { path.into() };
    fsx::read_bounded(&file, 8 << 30, "give a checkpoint folder or a file of weights")
}

/// Weights that do not yet belong to a network.
enum Weights {
    Folder(BTreeMap<String, Tensor>),
    File(Box<WeightsFile>),
}

impl Weights {
    /// With what they say of their network.
    fn open(
        path: &Path,
        naming: Option<&Naming>,
        device: &Device,
    ) -> Result<(Self, Option<Description>)> {
        if path.is_dir() {
            refuse_naming(naming, path, "a checkpoint of kd has one network")?;
            let (tensors, known) =
                checkpoint::load_network(path, device).map_err(|error| advice(error, path))?;
            return Ok((Self::Folder(tensors), known));
        }
        let file = WeightsFile::open(path)?;
        let known = file.network().cloned();
        Ok((Self::File(Box::new(file)), known))
    }

    /// What network they are of, which the flags say; as many classes as the file's has.
    fn description(&self, wanted: &Wanted<'_>, path: &Path) -> Result<Description> {
        let description = wanted.description(wanted.n_classes, path)?;
        let Self::File(file) = self else { return Ok(description) };
        let naming = wanted.naming.cloned().unwrap_or_default();
        let shapes = description.graph.param_shapes()?;
        let fit = file.fit(&naming, &shapes)?;
        if let (Some(n), true) = (fit.other_classes(), wanted.only_weights) {
            return wanted.description(Some(n), path);
        }
        if let (Some(n), Some(names)) = (fit.other_classes(), wanted.class_names) {
            let data = Classes { n: description.graph.n_classes()?, names };
            return match classes::matched(Classes { n, names: &file.class_names(n) }, data) {
                Ok(_) => wanted.description(Some(n), path),
                Err(reason) => Err(other_classes(&fit, n, &format!("{reason}; kd import"), path)),
            };
        }
        check_classes(&fit, path).map(|()| description)
    }

    /// What the file calls its `n` classes, where it says that beside the weights.
    fn class_names(&self, n: usize) -> Vec<String> {
        match self {
            Self::Folder(_) => Vec::new(),
            Self::File(file) => file.class_names(n),
        }
    }

    /// The tensors, and what is to be said of where they were found.
    fn read(
        self,
        graph: &Graph,
        naming: Option<&Naming>,
        device: &Device,
    ) -> Result<(BTreeMap<String, Tensor>, Vec<String>)> {
        match self {
            Self::Folder(tensors) => Ok((tensors, Vec::new())),
            Self::File(file) => {
                let naming = naming.cloned().unwrap_or_default();
                let shapes = graph.param_shapes()?;
                let fit = file.fit(&naming, &shapes)?;
                Ok((fit.read(device)?, fit.notes()))
            }
        }
    }
}

/// Refuses the weights at `path` of as many classes as the network does not have, and says how it gets
/// them.
fn check_classes(fit: &Fit<'_>, path: &Path) -> Result<()> {
    let Some(n) = fit.other_classes() else { return Ok(()) };
    Err(other_classes(fit, n, &format!("its network tells {n} classes apart;"), path))
}

fn other_classes(fit: &Fit<'_>, n: usize, what: &str, path: &Path) -> Error {
    let why = fit.check().err().map_or(String::new(), |error| error.to_string());
    let path = path.display();
    Error::config("classes", format!("{path}: {what} --classes {n} takes it as it is ({why})"))
}

/// The network with the classes of the data, in their order.
fn matched(
    mut loaded: Loaded,
    (path, wanted): (&Path, &Wanted<'_>),
    device: &Device,
) -> Result<Loaded> {
    let (Some(names), Some(n)) = (wanted.class_names, wanted.n_classes) else { return Ok(loaded) };
    let data = Classes { n, names };
    let own = Classes { n: loaded.network.n_classes(), names: &loaded.class_names };
    let matched = classes::matched(own, data)
        .map_err(|reason| Error::config("classes", format!("{}: {reason}", path.display())))?;
    match matched {
        Matched::InOrder => {}
        Matched::ByPlace => loaded.notes.push(format!(
            "calls its classes {}, the data has {}: taken one for the other, in this order",
            classes::list(own.names),
            classes::list(names)
        )),
        Matched::Rows(rows) => {
            loaded.notes.push(format!(
                "tells {} classes apart; the {n} of the data are found among them by their names, \
                 and it judges among these",
                own.n
            ));
            loaded.network = classes::select(&loaded.network, &rows, device)?;
            loaded.class_names = names.to_vec();
        }
    }
    Ok(loaded)
}
