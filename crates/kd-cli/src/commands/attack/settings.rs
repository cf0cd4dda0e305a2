//! From flags to attacks.

use kd_adv::{AttackSpec, Audit, Norm, at_radii};
use kd_core::{Error, Result};
use serde_json::{Map, Value};

use super::Args;

/// The attack at each radius; none when only an audit is asked for.
pub(super) fn attacks(args: &Args) -> Result<Vec<AttackSpec>> {
    let Some(name) = &args.attack else { return Ok(Vec::new()) };
    let spec = parse(name, &args.set)?;
    if !args.eps.is_empty() {
        return at_radii(&spec, &args.eps);
    }
    spec.as_dyn().check()?;
    Ok(vec![spec])
}

/// The attack `name` with its defaults but for `KEY=VALUE`; a dot leads into a table.
fn parse(name: &str, settings: &[String]) -> Result<AttackSpec> {
    if !AttackSpec::NAMES.contains(&name) {
        let reason = format!("`{name}` is none of {}", AttackSpec::NAMES.join(", "));
        return Err(Error::config("attack", reason));
    }
    let mut object = Map::from_iter([("kind".to_owned(), Value::from(name))]);
    for setting in settings {
        let (key, value) = setting.split_once('=').ok_or_else(|| {
            Error::config("set", format!("`{setting}` is not KEY=VALUE, such as n_steps=100"))
        })?;
        insert(&mut object, key, value)?;
    }
    serde_json::from_value(Value::Object(object)).map_err(|e| Error::config(name, e.to_string()))
}

/// Numbers, truth values and lists are written as in JSON; all else is a word.
fn insert(object: &mut Map<String, Value>, key: &str, value: &str) -> Result<()> {
    match key.split_once('.') {
        Some((table, key)) => {
            let entry = object.entry(table).or_insert_with(|| Value::Object(Map::new()));
            let table = entry.as_object_mut().ok_or_else(|| {
                Error::config("set", format!("`{table}` is set to a value and to a table"))
            })?;
            insert(table, key, value)
        }
        None if object.contains_key(key) => {
            Err(Error::config("set", format!("`{key}` is set twice")))
        }
        None => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            object.insert(key.into(), value);
            Ok(())
        }
    }
}

/// At the first radius given, else that of an L-infinity attack, else the default.
pub(super) fn audit(args: &Args, attacks: &[AttackSpec]) -> Result<Audit> {
    let first = attacks.first().filter(|spec| spec.as_dyn().norm() == Norm::Linf);
    let radius = match attacks {
        [] => args.eps.first().copied(),
        _ => first.and_then(|spec| spec.as_dyn().eps()),
    };
    let audit = Audit { eps: radius.unwrap_or(Audit::default().eps), ..Audit::default() };
    audit.check()?;
    Ok(audit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn settings_reach_tables_and_keep_the_other_defaults() {
        let words =
            ["eps=0.1", "n_steps=7", "norm=l2", "objective.kind=margin", "random_start=false"];
        let spec = parse("pgd", &settings(&words)).unwrap();
        let value = serde_json::to_value(&spec).unwrap();
        assert_eq!((&value["n_steps"], &value["norm"]), (&7.into(), &"l2".into()));
        assert_eq!(
            (&value["objective"]["kind"], &value["random_start"]),
            (&"margin".into(), &false.into())
        );
        assert_eq!(
            (&value["objective"]["temperature"], &value["restarts"]),
            (&1.0.into(), &1.into())
        );
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
            let error = parse(name, &settings(words)).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, Error::Config { .. }) && text.contains(says), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }
}
