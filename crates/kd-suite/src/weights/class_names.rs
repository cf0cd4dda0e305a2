//! What the classes of a network are called, in a file of its own.

use std::path::Path;

use kd_core::{Classifier, Error, Result, fsx};
use serde_json::Value;

use super::Loaded;

/// Names under which a JSON file keeps them, as timm's and Transformers' `config.json` do.
const KEYS: [&str; 3] = ["label_names", "id2label", "class_to_idx"];

/// The names in the file `path`, by label: a line each, or JSON: a list, an object from names to labels or
/// from labels to names, or a `config.json` that has one of these.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`]; [`Error::Parse`] for anything else, or without a name.
fn class_names(path: &Path) -> Result<Vec<String>> {
    let bytes = fsx::read_bounded(path, 8 << 20, "give a file of names, a line each")?;
    let text = fsx::text(path, bytes)?;
    let fault = |reason: &str| Error::parse(path, reason);
    let names = match text.trim_start().starts_with(['[', '{']) {
        false => text.lines().map(|line| line.trim().to_owned()).collect(),
        true => {
            let json: Value = serde_json::from_str(&text).map_err(|e| fault(&e.to_string()))?;
            let inner = KEYS.iter().find_map(|key| json.get(key));
            in_json(inner.unwrap_or(&json)).ok_or_else(|| fault("no names of classes"))?
        }
    };
    match names.is_empty() || names.iter().any(String::is_empty) {
        true => Err(fault("a class without a name")),
        false => Ok(names),
    }
}

impl Loaded {
    /// The network with its classes called as the file `path` says.
    ///
    /// # Errors
    /// Those of a file of names; [`Error::Config`] for another number of names than of classes.
    pub fn with_class_names(mut self, path: &Path) -> Result<Self> {
        self.class_names = class_names(path)?;
        let (n_names, n) = (self.class_names.len(), self.network.n_classes());
        if n_names != n {
            let reason = format!("{} has {n_names} names, the network {n} classes", path.display());
            return Err(Error::config("class-names", reason));
        }
        Ok(self)
    }
}

fn in_json(json: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Value::Array(names) = json {
        return names.iter().map(text).collect();
    }
    let numbered = |(key, value): (&String, &Value)| match value {
        Value::String(name) => Some((key.parse::<u64>().ok()?, name.clone())),
        _ => Some((value.as_u64()?, key.clone())),
    };
    let mut names: Vec<(u64, String)> =
        json.as_object()?.iter().map(numbered).collect::<Option<_>>()?;
    names.sort_unstable();
    let is_whole = names.iter().map(|(label, _)| *label).eq(0..names.len() as u64);
    is_whole.then(|| names.into_iter().map(|(_, name)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_several_forms() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            class_names(&path)
        };
        for text in [
            "cat\r\n dog\n",
            r#"["cat", "dog"]"#,
            r#"{"dog": 1, "cat": 0}"#,
            r#"{"1": "dog", "0": "cat"}"#,
            r#"{"architecture": "x", "label_names": ["cat", "dog"]}"#,
            r#"{"id2label": {"0": "cat", "1": "dog"}, "label2id": {}}"#,
        ] {
            assert_eq!(read(text).unwrap(), ["cat", "dog"], "{text}");
        }
        for text in ["", "cat\n\ndog", "[1]", "{", r#"{"cat": 1}"#, r#"{"a": "b"}"#] {
            assert!(matches!(read(text), Err(Error::Parse { .. })), "{text}");
        }
    }
}
