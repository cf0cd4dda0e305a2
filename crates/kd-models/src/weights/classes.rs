//! What training scripts call the classes of their networks, beside the weights.

use std::collections::BTreeMap;

use super::pickle::{Id, Pickle, Value};
use super::tree::check_name;

/// Names under which they are kept, whatever the case of their letters.
const KEYS: [&str; 10] = [
    "classes",
    "class_names",
    "class_labels",
    "class_to_idx",
    "idx_to_class",
    "id2label",
    "label2id",
    "label_names",
    "labels",
    "names",
];

/// More texts are no names of classes.
const MAX_CLASSES: usize = 1 << 16;

/// The names of classes that `value` gives under the name `key`, in their order: a list of texts, or a
/// dictionary from texts to their numbers, or from numbers to texts. Nothing where it is anything else.
pub(super) fn names(pickle: &Pickle, key: &str, value: Id) -> Option<Vec<String>> {
    let n = match pickle.get(value) {
        Value::List(items) | Value::Tuple(items) => items.len(),
        Value::Dict(pairs) => pairs.len(),
        _ => 0,
    };
    let is_key = KEYS.iter().any(|known| known.eq_ignore_ascii_case(key));
    if !is_key || !(1..=MAX_CLASSES).contains(&n) {
        return None;
    }
    let text = |id: &Id| Some(check_name(pickle.text(*id)?).ok()?.to_owned());
    match pickle.get(value) {
        Value::List(items) | Value::Tuple(items) => items.iter().map(text).collect(),
        Value::Dict(pairs) => {
            let number = |id: &Id| match pickle.get(*id) {
                Value::Int(n) => usize::try_from(*n).ok(),
                Value::Text(text) => text.parse().ok(),
                _ => None,
            };
            let numbered = |(a, b): &(Id, Id)| match pickle.get(*b) {
                Value::Int(_) => Some((number(b)?, text(a)?)),
                _ => Some((number(a)?, text(b)?)),
            };
            let names: BTreeMap<usize, String> =
                pairs.iter().map(numbered).collect::<Option<_>>()?;
            names.keys().copied().eq(0..n).then(|| names.into_values().collect())
        }
        _ => None,
    }
}
