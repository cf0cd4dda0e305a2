//! What stands before the names of a file, and which of them are none of a network's.

use serde::{Deserialize, Serialize};

use super::Shapes;
use super::tree::{Dict, Node};
use crate::Names;

/// Prefixes that are tried for an error message.
const MAX_PREFIXES: usize = 200;

/// Where in a file the weights are and how their names become ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Naming {
    /// The dictionary, names joined by dots; without it, the first one that fits: under a usual name, at
    /// the top level, or elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What stands before the names of the network's tensors, and is taken away; other names are passed
    /// over. Without it, what all names have and the network has not, such as `module.`, is taken away.
    #[serde(rename = "strip_prefix", skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Whose names they are. Names that the network has are kept as they are; and where not all
    /// names fit, but all do with one other code base's, it is that one's.
    #[serde(skip)]
    pub names: Names,
}

impl Naming {
    /// Whether anything is said of where in a file the weights are.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether `node` may lie beside weights and is none: a counter, such as `n_averaged`, a number or a
/// text, or a dictionary of its own.
pub(super) fn is_beside(node: &Node) -> bool {
    match node {
        Node::Tensor(tensor) => {
            tensor.dtype.is_integer() && tensor.shape.iter().all(|side| *side == 1)
        }
        Node::Plain(_) | Node::Classes(_) | Node::Dict(_) => true,
        Node::Network(_) | Node::Other(_) => false,
    }
}

/// What may be taken away from before the names, the shortest first: nothing; then part by part what
/// all of them start with, and no name of the network.
pub(super) fn shared_prefixes(weights: &Dict, wanted: &Shapes) -> Vec<String> {
    let names: Vec<&str> = weights
        .iter()
        .filter(|(_, node)| !is_beside(node))
        .map(|(name, _)| name.as_str())
        .collect();
    let mut prefixes = vec![String::new()];
    while let Some(next) = prefixes.last().and_then(|prefix| longer(&names, prefix, wanted)) {
        prefixes.push(next);
    }
    prefixes
}

/// `prefix` with the next part, if all names have that.
fn longer(names: &[&str], prefix: &str, wanted: &Shapes) -> Option<String> {
    let (part, _) = names.first()?.strip_prefix(prefix)?.split_once('.')?;
    let next = format!("{prefix}{part}.");
    let is_ours = wanted.keys().any(|name| name.starts_with(&next[prefix.len()..]));
    (!is_ours && names.iter().all(|name| name.starts_with(&next))).then_some(next)
}

/// Prefixes behind which all names of the network are.
pub(super) fn fitting_prefixes(weights: &Dict, wanted: &Shapes) -> Vec<String> {
    let mut prefixes = Vec::new();
    for name in weights.keys() {
        for (at, _) in name.match_indices('.') {
            let prefix = &name[..=at];
            if prefixes.len() < MAX_PREFIXES && !prefixes.iter().any(|known| known == prefix) {
                prefixes.push(prefix.to_owned());
            }
        }
    }
    let has_all = |prefix: &String| {
        wanted.keys().all(|name| weights.contains_key(&format!("{prefix}{name}")))
    };
    prefixes.into_iter().filter(has_all).collect()
}
