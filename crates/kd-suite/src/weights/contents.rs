//! What is in a file of weights, and what a command takes of it: `--dry-run`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use candle_core::Device;
use kd_core::{Classifier, Error, Graph, Result};
use kd_models::weights::{Fate, Fit, WeightsFile};

use super::{Loaded, Wanted, Weights, is_onnx, load};
use crate::table::table;

/// What is in a file of weights, and what would be loaded.
#[derive(Debug)]
pub struct Contents {
    /// Each value: its path in the file, what it is, and what becomes of it; then what the network lacks.
    pub rows: Vec<[String; 3]>,
    /// What was taken for the weights, a line each.
    pub notes: Vec<String>,
    /// Why the network cannot be loaded.
    pub fault: Option<Error>,
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table(&self.rows, "", &[]))
    }
}

/// What is in the file or checkpoint folder at `path`, and what becomes of it where `wanted` is loaded.
///
/// # Errors
/// Those of a file in which nothing is found.
pub fn contents(path: &Path, wanted: &Wanted<'_>) -> Result<Contents> {
    let loaded = load(path, wanted, &Device::Cpu);
    if path.is_dir() || is_onnx(path) {
        return of_network(path, loaded);
    }
    let file = WeightsFile::open(path)?;
    let naming = wanted.naming.cloned().unwrap_or_default();
    let known = file.network().map(|known| known.graph.clone());
    let file = Weights::File(Box::new(file));
    let graph = known.map_or_else(|| expected(&file, path, wanted), Ok);
    let Weights::File(file) = file else { return of_network(path, loaded) };
    let shapes = graph.and_then(|graph| graph.param_shapes());
    let fit = shapes.as_ref().ok().and_then(|shapes| file.fit(&naming, shapes).ok());
    let rows = rows(&file, fit.as_ref());
    let (notes, fault) = match loaded {
        Ok(loaded) => (loaded.notes, None),
        Err(error) => (fit.map_or(Vec::new(), |fit| fit.notes()), Some(error)),
    };
    Ok(Contents { rows, notes, fault })
}

/// The network that a file is for which does not say it.
fn expected(file: &Weights, path: &Path, wanted: &Wanted<'_>) -> Result<Graph> {
    let described = file.description(wanted, path);
    let described = described.or_else(|_| wanted.description(wanted.n_classes, path))?;
    Ok(described.graph)
}

/// The tensors of a network in a file or folder that holds nothing else.
fn of_network(path: &Path, loaded: Result<Loaded>) -> Result<Contents> {
    let (loaded, fault) = match loaded {
        Ok(loaded) => (loaded, None),
        // What it holds, though it is not what is wanted.
        Err(error) => match load(path, &Wanted::default(), &Device::Cpu) {
            Ok(loaded) => (loaded, Some(error)),
            Err(_) => return Err(error),
        },
    };
    let row = |(name, tensor): (String, candle_core::Tensor)| {
        let fate = format!("-> {name}");
        [name, format!("f32 {:?}", tensor.dims()), fate]
    };
    let rows = loaded.network.params().tensors().into_iter().map(row).collect();
    Ok(Contents { rows, notes: loaded.notes, fault })
}

/// Everything in the file, with what becomes of it where that is known; and what the network lacks.
fn rows(file: &WeightsFile, fit: Option<&Fit<'_>>) -> Vec<[String; 3]> {
    let Some(fit) = fit else {
        return file.list().into_iter().map(|(path, kind)| [path, kind, String::new()]).collect();
    };
    let path = |name: &str| match fit.key.as_str() {
        "" => name.to_owned(),
        key => format!("{key}.{name}"),
    };
    let fates: BTreeMap<String, &Fate> =
        fit.entries.iter().map(|entry| (path(entry.name), &entry.fate)).collect();
    let rows = file.list().into_iter().map(|(path, kind)| {
        let fate = fates.get(&path).map_or("not loaded".into(), |fate| words(fate));
        [path, kind, fate]
    });
    let missing = fit
        .missing
        .iter()
        .map(|name| ["(nothing)".into(), String::new(), format!("-> {name}: missing")]);
    rows.chain(missing).collect()
}

/// What becomes of a tensor.
fn words(fate: &Fate) -> String {
    match fate {
        Fate::Becomes(name) => format!("-> {name}"),
        Fate::Ignored => "ignored".into(),
        Fate::PassedOver => "passed over".into(),
        Fate::Unknown(name) => format!("-> {name}: unknown to the network"),
        Fate::WrongShape(name) => format!("-> {name}: of another shape"),
        Fate::NoWeights(name) => format!("-> {name}: no weights"),
    }
}
