//! What a file of weights holds: named tensors, possibly within nested dictionaries.

use std::collections::BTreeMap;

use kd_core::{Error, Result};

use super::Stored;
use super::checked::Checked;

/// Names and what they stand for.
pub(super) type Dict = BTreeMap<String, Node>;

/// Names under which training scripts keep the weights beside other things, the likeliest first.
const USUAL_KEYS: [&str; 9] = [
    "state_dict",
    "model",
    "net",
    "model_state_dict",
    "model_state",
    "network",
    "weights",
    "params",
    "student",
];
/// Dictionaries whose names start so hold tensors that are no weights.
const NO_WEIGHTS: &str = "optim";
/// Dictionaries that are looked at.
const MAX_CANDIDATES: usize = 64;

/// Names of classes that are shown.
const N_SHOWN: usize = 3;
/// Bytes of a name.
const MAX_NAME: usize = 256;

/// A value in a file of weights.
#[derive(Debug)]
pub(super) enum Node {
    Tensor(Stored),
    Dict(Dict),
    /// A number, a text or nothing, in words.
    Plain(String),
    /// Names of classes, in their order.
    Classes(Vec<String>),
    /// A network with its code, whose class is called so.
    Network(String),
    /// Anything else, in words.
    Other(String),
}

impl Node {
    /// Everything below, by its path: names joined by dots.
    pub(super) fn list<'a>(&'a self, path: &str, out: &mut Vec<(String, &'a Node)>) {
        match self {
            Self::Dict(dict) if !dict.is_empty() => {
                for (name, node) in dict {
                    node.list(&joined(path, name), out);
                }
            }
            _ => out.push((path.to_owned(), self)),
        }
    }

    /// Dictionaries that may be those of the weights, with their paths: the one at `key` (names joined
    /// by dots), or without `key` those under usual names, this one, and others, the best first.
    pub(super) fn candidates(&self, key: Option<&str>) -> Result<Vec<Place<'_>>> {
        if let Some(key) = key {
            return match self.at(key) {
                Some(Self::Dict(dict)) => Ok(vec![Place { path: key.to_owned(), dict }]),
                Some(other) => Err(self.no_dictionary(&format!("`{key}` is {}", other.kind()))),
                None => Err(self.no_dictionary(&format!("no dictionary `{key}`"))),
            };
        }
        let mut found = Vec::new();
        self.collect("", &mut found);
        found.sort_by_key(|place| place.rank());
        found.truncate(MAX_CANDIDATES);
        match found.is_empty() {
            true => Err(self.no_dictionary("no dictionary of tensors")),
            false => Ok(found),
        }
    }

    /// What is at `key`; names may have dots of their own.
    fn at(&self, key: &str) -> Option<&Self> {
        let Self::Dict(dict) = self else { return None };
        dict.get(key).or_else(|| {
            let ends = key.match_indices('.').map(|(at, _)| at);
            ends.filter_map(|at| dict.get(&key[..at])?.at(&key[at + 1..])).next()
        })
    }

    /// Dictionaries of tensors, by their paths.
    fn collect<'a>(&'a self, path: &str, out: &mut Vec<Place<'a>>) {
        let Self::Dict(dict) = self else { return };
        if has_tensors(dict) {
            out.push(Place { path: path.to_owned(), dict });
        }
        for (name, node) in dict {
            if !name.starts_with(NO_WEIGHTS) {
                node.collect(&joined(path, name), out);
            }
        }
    }

    fn no_dictionary(&self, what: &str) -> Error {
        let advice = match self.network("") {
            Some((path, class)) if path.is_empty() => format!(
                "; it is a whole network ({class}) with its code, which is not loaded: in Python, \
                 torch.save(model.state_dict(), OUT)"
            ),
            Some((path, class)) => format!(
                "; `{path}` is a whole network ({class}) with its code, which is not loaded: in \
                 Python, save its state_dict()"
            ),
            None => String::new(),
        };
        Error::config("key", format!("{what}; {}{advice}", self.summary()))
    }

    /// The first network with its code, by its path, and its class.
    fn network(&self, path: &str) -> Option<(String, &str)> {
        match self {
            Self::Network(class) => Some((path.to_owned(), class)),
            Self::Dict(dict) => {
                dict.iter().find_map(|(name, node)| node.network(&joined(path, name)))
            }
            _ => None,
        }
    }

    /// The top level, in one line.
    fn summary(&self) -> String {
        match self {
            Self::Dict(dict) if !dict.is_empty() => {
                let names = dict.iter().take(8);
                let names: Vec<_> = names.map(|(k, v)| format!("{k} ({})", v.kind())).collect();
                let more = if dict.len() > names.len() { ", ..." } else { "" };
                format!("the file has: {}{more}", names.join(", "))
            }
            other => format!("the file has: {}", other.kind()),
        }
    }

    /// What this is, in a few words.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Tensor(tensor) => format!("{} {:?}", tensor.dtype, tensor.shape),
            Self::Dict(dict) => format!("dict of {}", dict.len()),
            Self::Network(class) => format!("network {class} with its code, not loaded"),
            Self::Classes(names) => {
                let more = if names.len() > N_SHOWN { ", ..." } else { "" };
                let shown = names[..names.len().min(N_SHOWN)].join(", ");
                format!("names of {} classes ({shown}{more})", names.len())
            }
            Self::Plain(kind) | Self::Other(kind) => kind.clone(),
        }
    }
}

/// A dictionary, and where it is.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// Names joined by dots; nothing for the top level.
    pub(super) path: String,
    pub(super) dict: &'a Dict,
}

impl Place<'_> {
    /// Usual names before the top level, and others after it.
    fn rank(&self) -> usize {
        let usual = USUAL_KEYS.iter().position(|name| *name == self.path);
        usual.unwrap_or(USUAL_KEYS.len() + usize::from(!self.path.is_empty()))
    }

    /// What it is called in a message.
    pub(super) fn words(&self) -> String {
        match self.path.as_str() {
            "" => "the top level".into(),
            path => format!("`{path}`"),
        }
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Names are shown to users, so they are short and plain.
pub(super) fn check_name(name: &str) -> Checked<&str> {
    match name.len() <= MAX_NAME && !name.chars().any(char::is_control) {
        true => Ok(name),
        false => Err("a name that is too long or not printable".into()),
    }
}

fn has_tensors(dict: &Dict) -> bool {
    dict.values().any(|node| matches!(node, Node::Tensor(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Dtype;
    use crate::weights::stored::Span;

    fn tensor() -> Node {
        let span = Span { offset: 0, n_bytes: 4 };
        Node::Tensor(Stored::contiguous(Dtype::F32, vec![1], span).unwrap())
    }

    fn dict<const N: usize>(entries: [(&str, Node); N]) -> Node {
        Node::Dict(entries.into_iter().map(|(name, node)| (name.to_owned(), node)).collect())
    }

    fn names(dict: &Dict) -> Vec<&str> {
        dict.keys().map(String::as_str).collect()
    }

    fn paths(node: &Node) -> Vec<String> {
        node.candidates(None).unwrap().into_iter().map(|place| place.path).collect()
    }

    #[test]
    fn the_usual_dictionary_comes_before_the_top_level() {
        let plain = || dict([("a", tensor()), ("b", tensor())]);
        assert_eq!(paths(&plain()), [""]);
        let other = Node::Plain("x".into());
        let nested = dict([("best", tensor()), ("net", plain()), ("model", other)]);
        assert_eq!(paths(&nested), ["net", ""]);
        let deep = dict([("ema", nested), ("optimizer", plain()), ("x.y", plain())]);
        assert_eq!(paths(&deep), ["ema", "ema.net", "x.y"]);
        for (key, found) in [("ema.net", ["a", "b"]), ("x.y", ["a", "b"])] {
            let places = deep.candidates(Some(key)).unwrap();
            assert_eq!(names(places[0].dict), found, "{key}");
        }
        let error = deep.candidates(Some("ema.best")).unwrap_err().to_string();
        assert!(error.contains("`ema.best` is f32 [1]"), "{error}");
        let error = deep.candidates(Some("ema.no")).unwrap_err().to_string();
        assert!(error.contains("no dictionary `ema.no`") && error.contains("ema (dict of 3)"));
        let whole = dict([("model", Node::Network("a.Net".into()))]);
        let error = whole.candidates(None).unwrap_err().to_string();
        assert!(error.contains("`model` is a whole network (a.Net)"), "{error}");
    }

    #[test]
    fn a_listing_names_paths() {
        let tree = dict([("x", dict([("a.b", tensor())])), ("y", Node::Plain("int 3".into()))]);
        let mut list = Vec::new();
        tree.list("", &mut list);
        let list: Vec<_> =
            list.iter().map(|(path, node)| format!("{path} {}", node.kind())).collect();
        assert_eq!(list, ["x.a.b f32 [1]", "y int 3"]);
    }
}
