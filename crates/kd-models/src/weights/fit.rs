//! Names in a file of weights against the names that a network asks for.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Tensor};
use kd_core::{Error, Result};

use super::source::Source;
use super::tree::{Dict, Node};
use super::{Shapes, Stored};
use crate::Names;

/// PyTorch's count of batches, which batch norm with a fixed momentum does not use.
pub(super) const N_BATCHES: &str = "num_batches_tracked";
/// What `torch.nn.DataParallel` puts before every name.
const DATA_PARALLEL: &str = "module.";
/// Names that an error message lists.
const N_LISTED: usize = 4;

/// Where in a file the weights are and how their names become ours.
#[derive(Debug, Clone, Default)]
pub struct Naming {
    /// The dictionary, names joined by dots; without it the usual ones are tried.
    pub key: Option<String>,
    /// What stands before every name.
    pub prefix: Prefix,
    /// Whose names they are. Names that the network has are kept as they are; and where not all
    /// names fit, but all do with one other code base's, it is that one's.
    pub names: Names,
}

/// What stands before the names in a file and is taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Prefix {
    /// Nothing.
    #[default]
    None,
    /// `module.`, where all names have it.
    DataParallel,
    /// This.
    Given(String),
}

/// What becomes of a tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It becomes the tensor of this name.
    Becomes(String),
    /// It is left out, as no network needs it.
    Ignored,
    /// The network does not know this name.
    Unknown(String),
    /// The network's tensor of this name is of another shape.
    WrongShape(String),
    /// It is no tensor, or its numbers are no floats.
    NoWeights(String),
}

/// A name in the dictionary of the weights.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The name in the file.
    pub name: &'a str,
    /// What it stands for.
    node: &'a Node,
    /// What becomes of it.
    pub fate: Fate,
}

impl Entry<'_> {
    /// What it stands for, in words: `f32 [16, 3, 3, 3]`.
    pub fn kind(&self) -> String {
        self.node.kind()
    }
}

/// What becomes of each tensor of a file, and what a network still lacks.
#[derive(Debug)]
pub struct Fit<'a> {
    source: &'a Source,
    wanted: &'a Shapes,
    /// Whose names the file has: those that were given, or the only ones that fit.
    pub names: Names,
    /// Every name in the file, in order.
    pub entries: Vec<Entry<'a>>,
    /// Names of the network that nothing in the file becomes.
    pub missing: Vec<&'a str>,
}

impl<'a> Fit<'a> {
    pub(super) fn new(
        source: &'a Source,
        weights: &'a Dict,
        naming: &Naming,
        wanted: &'a Shapes,
    ) -> Self {
        let prefix = match &naming.prefix {
            Prefix::DataParallel if all_start_with(weights, DATA_PARALLEL) => DATA_PARALLEL,
            Prefix::None | Prefix::DataParallel => "",
            Prefix::Given(prefix) => prefix,
        };
        let with = |names| Self::with_names((source, weights), (prefix, names), wanted);
        let given = with(naming.names);
        if given.names_fit() {
            return given;
        }
        let mut others = Names::ALL.iter().map(|(_, names)| with(*names)).filter(Self::names_fit);
        match (others.next(), others.next()) {
            (Some(only), None) => only,
            _ => given,
        }
    }

    fn with_names(
        (source, weights): (&'a Source, &'a Dict),
        (prefix, names): (&str, Names),
        wanted: &'a Shapes,
    ) -> Self {
        let mut missing: BTreeSet<&str> = wanted.keys().map(String::as_str).collect();
        let entry = |(name, node): (&'a String, &'a Node)| {
            let short = name.strip_prefix(prefix).unwrap_or(name);
            let target = match wanted.contains_key(short) {
                true => short.to_owned(),
                false => names.import(short),
            };
            let fate = fate(node, target, wanted, &mut missing);
            Entry { name, node, fate }
        };
        let entries = weights.iter().map(entry).collect();
        Self { source, wanted, names, entries, missing: missing.into_iter().collect() }
    }

    /// Whether file and network have the same names, whatever the shapes.
    fn names_fit(&self) -> bool {
        let unknown = |entry: &Entry| matches!(entry.fate, Fate::Unknown(_));
        self.missing.is_empty() && !self.entries.iter().any(unknown)
    }

    /// Whether every name of the file and of the network has its match.
    ///
    /// # Errors
    /// [`Error::Config`], with the first few names that do not fit and how many there are.
    pub fn check(&self) -> Result<()> {
        if let Some(prefix) = self.needless_prefix() {
            let n = self.entries.len();
            let reason = format!(
                "all {n} names in {} start with `{prefix}`; add --strip-prefix {prefix}",
                self.source.path().display()
            );
            return Err(Error::config("strip-prefix", reason));
        }
        let faults: Vec<String> = self
            .faults()
            .into_iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{} {what} ({})", names.len(), few(&names)))
            .collect();
        if faults.is_empty() {
            return Ok(());
        }
        let reason = format!("{}: {}", self.source.path().display(), faults.join("; "));
        Err(Error::config("weights", reason))
    }

    fn faults(&self) -> [(&'static str, Vec<String>); 4] {
        let with = |describe: fn(&Entry<'a>) -> Option<String>| {
            self.entries.iter().filter_map(describe).collect()
        };
        let unknown = with(|entry| match &entry.fate {
            Fate::Unknown(name) => Some(name.clone()),
            _ => None,
        });
        let no_weights = with(|entry| match &entry.fate {
            Fate::NoWeights(name) => Some(format!("{name}: {}", entry.kind())),
            _ => None,
        });
        let shapes = self.entries.iter().filter_map(|entry| match &entry.fate {
            Fate::WrongShape(name) => {
                let expected = self.wanted.get(name).map_or(&[][..], Vec::as_slice);
                Some(format!("{name}: {}, expected {expected:?}", entry.kind()))
            }
            _ => None,
        });
        [
            ("of the network's tensors missing", self.missing.iter().map(|&n| n.into()).collect()),
            ("unknown to the network", unknown),
            ("of another shape", shapes.collect()),
            ("no weights", no_weights),
        ]
    }

    /// The first part of all names, when the network has no name that starts so.
    fn needless_prefix(&self) -> Option<&str> {
        let (first, _) = self.entries.first()?.name.split_once('.')?;
        let prefix = self.entries.first()?.name.get(..=first.len())?;
        let all = self.entries.iter().all(|entry| entry.name.starts_with(prefix));
        let none = !self.wanted.keys().any(|name| name.starts_with(prefix));
        let lost = self.missing.len() == self.wanted.len();
        (all && none && lost).then_some(prefix)
    }

    /// The tensors by the network's names, as f32.
    ///
    /// # Errors
    /// Those of [`Fit::check`]; [`Error::Parse`] for numbers that are not finite; [`Error::Io`].
    pub fn read(&self, device: &Device) -> Result<BTreeMap<String, Tensor>> {
        self.check()?;
        let mut tensors = BTreeMap::new();
        for entry in &self.entries {
            if let (Fate::Becomes(name), Node::Tensor(stored)) = (&entry.fate, entry.node) {
                tensors.insert(name.clone(), self.tensor(entry.name, stored, device)?);
            }
        }
        Ok(tensors)
    }

    fn tensor(&self, name: &str, stored: &Stored, device: &Device) -> Result<Tensor> {
        let numbers = stored.read(self.source)?;
        if let Some(i) = numbers.iter().position(|x| !x.is_finite()) {
            let reason = format!("`{name}`: number {i} is {}, not finite as f32", numbers[i]);
            return Err(self.source.fault(stored.offset(), reason));
        }
        Ok(Tensor::from_vec(numbers, stored.shape.as_slice(), device)?)
    }
}

fn all_start_with(weights: &Dict, prefix: &str) -> bool {
    weights.keys().all(|name| name.starts_with(prefix))
}

/// Takes `target` off the `missing` ones when `node` can become it.
fn fate(node: &Node, target: String, wanted: &Shapes, missing: &mut BTreeSet<&str>) -> Fate {
    let Some(shape) = wanted.get(&target) else {
        let ignored = target == N_BATCHES || target.ends_with(".num_batches_tracked");
        return if ignored { Fate::Ignored } else { Fate::Unknown(target) };
    };
    match node {
        Node::Tensor(tensor) if !tensor.dtype.is_float() => Fate::NoWeights(target),
        Node::Tensor(tensor) if tensor.shape != *shape => {
            missing.remove(target.as_str());
            Fate::WrongShape(target)
        }
        // A second one for the same name is one too many.
        Node::Tensor(_) if !missing.remove(target.as_str()) => Fate::Unknown(target),
        Node::Tensor(_) => Fate::Becomes(target),
        Node::Dict(_) | Node::Other(_) => Fate::NoWeights(target),
    }
}

/// The first few, joined by commas.
fn few(names: &[String]) -> String {
    let more = if names.len() > N_LISTED { ", ..." } else { "" };
    format!("{}{more}", names[..names.len().min(N_LISTED)].join(", "))
}
