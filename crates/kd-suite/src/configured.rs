//! Objectives and attacks by their names and settings, as they are given in words.

use kd_core::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The entry `name`, one of `names`, with its defaults but for the settings `KEY=VALUE`; a dot leads into
/// a table. Numbers, truth values and lists are written as in JSON; all else is a word.
///
/// # Errors
/// [`Error::Config`] of `field` for an unknown name and for what is no setting; of `name` for settings
/// that it has not.
pub(crate) fn configured<'a, T: DeserializeOwned>(
    (field, names): (&str, &[&str]),
    name: &str,
    settings: impl IntoIterator<Item = &'a str>,
) -> Result<T> {
    let refused = |reason: String| Error::config(field, reason);
    if !names.contains(&name) {
        return Err(refused(format!("`{name}` is none of {}", names.join(", "))));
    }
    let mut object = Map::from_iter([("kind".to_owned(), Value::from(name))]);
    for setting in settings {
        let (key, value) = setting
            .split_once('=')
            .ok_or_else(|| refused(format!("`{setting}` is not KEY=VALUE, such as n_steps=100")))?;
        insert(&mut object, key.trim(), value).map_err(refused)?;
    }
    serde_json::from_value(Value::Object(object)).map_err(|e| Error::config(name, e.to_string()))
}

fn insert(
    object: &mut Map<String, Value>,
    key: &str,
    value: &str,
) -> std::result::Result<(), String> {
    if let Some((table, key)) = key.split_once('.') {
        let entry = object.entry(table).or_insert_with(|| Value::Object(Map::new()));
        let twice = || format!("`{table}` is set to a value and to a table");
        return insert(entry.as_object_mut().ok_or_else(twice)?, key, value);
    }
    let parsed = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    match object.insert(key.into(), parsed) {
        None => Ok(()),
        Some(_) => Err(format!("`{key}` is set twice")),
    }
}

#[cfg(test)]
mod tests {
    use kd_adv::AttackSpec;

    use super::*;

    fn parse(name: &str, settings: &[&str]) -> Result<AttackSpec> {
        configured(("attack", AttackSpec::NAMES), name, settings.iter().copied())
    }

    #[test]
    fn settings_reach_tables_and_keep_the_other_defaults() {
        let words =
            ["eps=0.1", "n_steps=7", "norm=l2", "objective.kind=margin", "random_start=false"];
        let value = serde_json::to_value(parse("pgd", &words).unwrap()).unwrap();
        assert_eq!((&value["n_steps"], &value["norm"]), (&7.into(), &"l2".into()));
        let objective = &value["objective"];
        assert_eq!((&objective["kind"], &value["random_start"]), (&"margin".into(), &false.into()));
        assert_eq!((&objective["temperature"], &value["restarts"]), (&1.0.into(), &1.into()));
    }

    #[test]
    fn wrong_settings_are_named() {
        for (name, words, says) in [
            ("walk", &[][..], "`walk` is none of fgsm"),
            ("pgd", &["n_step=7"], "n_step"),
            ("pgd", &["n_steps"], "KEY=VALUE"),
            ("pgd", &["n_steps=-1"], "invalid value"),
            ("pgd", &["n_steps=1", "n_steps=2"], "set twice"),
            ("pgd", &["kind=fgsm"], "set twice"),
            ("pgd", &["eps=1", "eps.x=2"], "a value and to a table"),
            ("pgd", &["objective.kind=hinge"], "hinge"),
            ("pgd", &["norm=l7"], "l7"),
        ] {
            let error = parse(name, words).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, Error::Config { .. }) && text.contains(says), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }
}
