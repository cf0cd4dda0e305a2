//! What a file of weights holds: named tensors, possibly within nested dictionaries.

use std::collections::BTreeMap;

use kd_core::{Error, Result};

use super::Stored;
use super::checked::Checked;

/// Names and what they stand for.
pub(super) type Dict = BTreeMap<String, Node>;

/// Names under which training scripts keep the weights beside other things.
const USUAL_KEYS: [&str; 3] = ["state_dict", "model", "net"];

/// Bytes of a name.
const MAX_NAME: usize = 256;

/// A value in a file of weights.
#[derive(Debug)]
pub(super) enum Node {
    Tensor(Stored),
    Dict(Dict),
    /// Anything else, in words.
    Other(String),
}

impl Node {
    /// Everything below, by its path: names joined by dots.
    pub(super) fn list<'a>(&'a self, path: &str, out: &mut Vec<(String, &'a Node)>) {
        match self {
            Self::Dict(dict) if !dict.is_empty() => {
                for (name, node) in dict {
                    let name =
                        if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    node.list(&name, out);
                }
            }
            _ => out.push((path.to_owned(), self)),
        }
    }

    /// The dictionary of tensors: the one at `key` (names joined by dots), or without `key` the
    /// one under a usual name, else this one.
    pub(super) fn weights(&self, key: Option<&str>) -> Result<&Dict> {
        match key {
            Some(key) => self.at(key),
            None => self.usual(),
        }
    }

    fn at(&self, key: &str) -> Result<&Dict> {
        let node = key.split('.').try_fold(self, |node, name| match node {
            Self::Dict(dict) => dict.get(name),
            _ => None,
        });
        match node {
            Some(Self::Dict(dict)) => Ok(dict),
            _ => Err(Error::config("key", format!("no dictionary `{key}`; {}", self.summary()))),
        }
    }

    fn usual(&self) -> Result<&Dict> {
        let Self::Dict(dict) = self else {
            return Err(Error::config("key", format!("no named tensors; {}", self.summary())));
        };
        for name in USUAL_KEYS {
            match dict.get(name) {
                Some(Self::Dict(inner)) if has_tensors(inner) => return Ok(inner),
                _ => {}
            }
        }
        match has_tensors(dict) {
            true => Ok(dict),
            false => {
                let reason = format!("choose the dictionary of the weights; {}", self.summary());
                Err(Error::config("key", reason))
            }
        }
    }

    /// The top level, in one line.
    fn summary(&self) -> String {
        match self {
            Self::Dict(dict) => {
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
            Self::Other(kind) => kind.clone(),
        }
    }
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

    #[test]
    fn the_usual_dictionary_comes_before_the_top_level() {
        let plain = dict([("a", tensor()), ("b", tensor())]);
        assert_eq!(names(plain.weights(None).unwrap()), ["a", "b"]);
        let nested = dict([("best", tensor()), ("net", plain), ("model", Node::Other("x".into()))]);
        assert_eq!(names(nested.weights(None).unwrap()), ["a", "b"]);
        let deep = dict([("ema", nested)]);
        assert_eq!(names(deep.weights(Some("ema.net")).unwrap()), ["a", "b"]);
        let error = deep.weights(None).unwrap_err().to_string();
        assert!(error.contains("`key`") && error.contains("ema (dict of 3)"), "{error}");
        let error = deep.weights(Some("ema.best")).unwrap_err().to_string();
        assert!(error.contains("no dictionary `ema.best`"), "{error}");
    }

    #[test]
    fn a_listing_names_paths() {
        let tree = dict([("x", dict([("a.b", tensor())])), ("y", Node::Other("int 3".into()))]);
        let mut list = Vec::new();
        tree.list("", &mut list);
        let list: Vec<_> =
            list.iter().map(|(path, node)| format!("{path} {}", node.kind())).collect();
        assert_eq!(list, ["x.a.b f32 [1]", "y int 3"]);
    }
}
