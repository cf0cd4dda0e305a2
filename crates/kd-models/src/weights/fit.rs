//! Names in a file of weights against the names that a network asks for.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Tensor};
use kd_core::{Error, Result};

use super::naming::{Naming, fitting_prefixes, is_beside, shared_prefixes};
use super::source::Source;
use super::tree::{Dict, Node, Place};
use super::{Shapes, Stored};
use crate::Names;

/// PyTorch's count of batches, which batch norm with a fixed momentum does not use.
pub(super) const N_BATCHES: &str = "num_batches_tracked";
/// No names.
static EMPTY: Dict = Dict::new();
/// Names that an error message lists.
const N_LISTED: usize = 4;

/// What becomes of a tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It becomes the tensor of this name.
    Becomes(String),
    /// It is left out, as no network needs it.
    Ignored,
    /// It is no weight of this network, but lies beside them.
    PassedOver,
    /// The network does not know this name.
    Unknown(String),
    /// The network's tensor of this name is of another shape.
    WrongShape(String),
    /// It is no tensor that can be read, or its numbers are no floats.
    NoWeights(String),
}

/// A name in the dictionary of the weights.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The name in the dictionary.
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

    /// [`Entry::kind`], and what can be done about it.
    fn advice(&self) -> String {
        let advice = match self.node {
            Node::Tensor(tensor) => tensor.dtype.advice(),
            _ => "",
        };
        format!("{}{advice}", self.kind())
    }
}

/// What becomes of each tensor of a file, and what a network still lacks.
#[derive(Debug)]
pub struct Fit<'a> {
    source: &'a Source,
    wanted: &'a Shapes,
    weights: &'a Dict,
    /// Whose names the file has: those that were given, or the only ones that fit.
    pub names: Names,
    /// Where in the file the dictionary is, names joined by dots.
    pub key: String,
    /// Other dictionaries of tensors.
    others: Vec<String>,
    /// What is taken away from before the names.
    prefix: String,
    /// Whether that was asked for.
    is_given: bool,
    /// Every name in the dictionary, in order.
    pub entries: Vec<Entry<'a>>,
    /// Names of the network that nothing in the file becomes.
    pub missing: Vec<&'a str>,
}

impl<'a> Fit<'a> {
    /// The first of `places` that fits, else the first one.
    pub(super) fn new(
        source: &'a Source,
        places: &[Place<'a>],
        naming: &Naming,
        wanted: &'a Shapes,
    ) -> Self {
        let fits = || places.iter().map(|place| Self::of(source, place, naming, wanted));
        let chosen = fits().enumerate().find(|(_, fit)| fit.names_fit());
        let (i, mut fit) = chosen.unwrap_or_else(|| {
            let none = Place { path: String::new(), dict: &EMPTY };
            let first = places.first().unwrap_or(&none);
            (0, Self::of(source, first, naming, wanted))
        });
        // A lone tensor is no network, and not worth a word.
        let is_other = |at: usize, place: &Place<'_>| at != i && place.dict.len() > 1;
        let others = places.iter().enumerate().filter(|(at, place)| is_other(*at, place));
        fit.others = others.map(|(_, place)| place.words()).collect();
        fit
    }

    fn of(source: &'a Source, place: &Place<'a>, naming: &Naming, wanted: &'a Shapes) -> Self {
        let prefixes = match &naming.prefix {
            Some(prefix) => vec![prefix.clone()],
            None => shared_prefixes(place.dict, wanted),
        };
        let with = |prefix: &str, names| Self {
            key: place.path.clone(),
            is_given: naming.prefix.is_some(),
            ..Self::with_names((source, place.dict), (prefix, names), wanted)
        };
        for prefix in &prefixes {
            let given = with(prefix, naming.names);
            if given.names_fit() {
                return given;
            }
            let others = Names::ALL.iter().map(|(_, names)| with(prefix, *names));
            let mut others = others.filter(Self::names_fit);
            if let (Some(only), None) = (others.next(), others.next()) {
                return only;
            }
        }
        with(prefixes.last().map_or("", String::as_str), naming.names)
    }

    fn with_names(
        (source, weights): (&'a Source, &'a Dict),
        (prefix, names): (&str, Names),
        wanted: &'a Shapes,
    ) -> Self {
        let mut missing: BTreeSet<&str> = wanted.keys().map(String::as_str).collect();
        let entry = |(name, node): (&'a String, &'a Node)| {
            let fate = match name.strip_prefix(prefix) {
                Some(short) => {
                    let is_ours = wanted.contains_key(short);
                    let target = if is_ours { short.to_owned() } else { names.import(short) };
                    fate(node, target, wanted, &mut missing)
                }
                None => Fate::PassedOver,
            };
            Entry { name, node, fate }
        };
        let entries = weights.iter().map(entry).collect();
        let missing = missing.into_iter().collect();
        let (prefix, key, others) = (prefix.to_owned(), String::new(), Vec::new());
        let is_given = false;
        Self { source, wanted, weights, names, key, others, prefix, is_given, entries, missing }
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
        if self.is_given && !self.entries.iter().any(|entry| entry.name.starts_with(&self.prefix)) {
            let first = self.entries.first().map_or("", |entry| entry.name);
            let (path, prefix) = (self.source.path().display(), &self.prefix);
            let reason = format!("{path}: no name starts with `{prefix}`; the first is `{first}`");
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
        let faults = faults.join("; ");
        let reason = format!("{}: {faults}{}", self.source.path().display(), self.advice());
        Err(Error::config("weights", reason))
    }

    /// Prefixes behind which there is all that the network wants.
    fn advice(&self) -> String {
        match &fitting_prefixes(self.weights, self.wanted)[..] {
            [] => String::new(),
            prefixes => format!("; all of it is there with --strip-prefix {}", few(prefixes)),
        }
    }

    /// What was taken for the weights and what was not, a line each; nothing where that is plain.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.key.is_empty() || !self.others.is_empty() {
            let others = match &self.others[..] {
                [] => String::new(),
                others => format!("; there are others, for --key: {}", few(others)),
            };
            let key = Place { path: self.key.clone(), dict: self.weights }.words();
            notes.push(format!("takes the tensors of {key}{others}"));
        }
        if !self.prefix.is_empty() {
            notes.push(format!("`{}` is taken away from before the names", self.prefix));
        }
        let passed = self.entries.iter().filter(|entry| entry.fate == Fate::PassedOver);
        let passed: Vec<_> =
            passed.map(|entry| format!("{} ({})", entry.name, entry.kind())).collect();
        if !passed.is_empty() {
            notes.push(format!("{} passed over: {}", passed.len(), few(&passed)));
        }
        notes
    }

    /// The number of classes of the file's network, where nothing else is wrong with its shapes than
    /// the first side of the last layer's tensors.
    pub fn other_classes(&self) -> Option<usize> {
        let mut sides = self.wrong_shapes().map(|(got, expected)| {
            let (k, rest) = got.split_first()?;
            (expected.split_first()?.1 == rest).then_some(*k)
        });
        let first = sides.next()??;
        sides.all(|k| k == Some(first)).then_some(first)
    }

    /// Shapes in the file beside those that are wanted.
    fn wrong_shapes(&self) -> impl Iterator<Item = (&[usize], &[usize])> {
        self.entries.iter().filter_map(|entry| match (&entry.fate, entry.node) {
            (Fate::WrongShape(name), Node::Tensor(tensor)) => {
                Some((&tensor.shape[..], &self.wanted.get(name)?[..]))
            }
            _ => None,
        })
    }

    fn faults(&self) -> [(&'static str, Vec<String>); 4] {
        let with = |describe: fn(&Entry<'a>) -> Option<String>| {
            self.entries.iter().filter_map(describe).collect()
        };
        let unknown = with(|entry| match &entry.fate {
            Fate::Unknown(name) => Some(match entry.node {
                Node::Tensor(_) => name.clone(),
                _ => format!("{name}: {}", entry.kind()),
            }),
            _ => None,
        });
        let no_weights = with(|entry| match &entry.fate {
            Fate::NoWeights(name) => Some(format!("{name}: {}", entry.advice())),
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

/// Takes `target` off the `missing` ones when `node` can become it.
fn fate(node: &Node, target: String, wanted: &Shapes, missing: &mut BTreeSet<&str>) -> Fate {
    let Some(shape) = wanted.get(&target) else {
        let is_ignored = target == N_BATCHES || target.ends_with(".num_batches_tracked");
        return match is_beside(node) {
            _ if is_ignored => Fate::Ignored,
            true => Fate::PassedOver,
            false => Fate::Unknown(target),
        };
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
        _ => Fate::NoWeights(target),
    }
}

/// The first few, joined by commas.
fn few(names: &[String]) -> String {
    let more = if names.len() > N_LISTED { ", ..." } else { "" };
    format!("{}{more}", names[..names.len().min(N_LISTED)].join(", "))
}
