//! From flags to attacks, and all that decides the result.

use std::path::Path;

use kd_adv::{AttackSpec, Audit, Norm, at_radii};
use kd_core::{Error, Result, fsx};
use kd_data::{DataSpec, Images};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Args;
use crate::commands::setting::Split;
use kd_suite::weights::{self, Loaded};

/// Everything that decides the numbers, written as `spec.toml`: a folder with other settings is
/// not gone on with.
#[derive(Debug, Serialize)]
pub(super) struct Settings {
    pub(super) seed: u64,
    pub(super) n: usize,
    only_correct: bool,
    split: Split,
    /// SHA-256 of each file of the data set.
    files: Vec<String>,
    model: Network,
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer: Option<Network>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) audit: Option<Audit>,
    data: DataSpec,
    /// One for each radius.
    pub(super) attack: Vec<AttackSpec>,
}

/// A network with its weights.
#[derive(Debug, Serialize)]
struct Network {
    name: String,
    sha256: String,
    /// SHA-256 of what the network computes, its normalization included.
    graph: String,
}

impl Settings {
    /// Checks the flags against each other; `images` are those of `data`.
    pub(super) fn new(
        args: &Args,
        data: &DataSpec,
        images: &Images,
        (network, other): (&Loaded, Option<&Loaded>),
    ) -> Result<Self> {
        if args.n == 0 {
            return Err(Error::config("n", "must be at least 1"));
        }
        let attack = attacks(args)?;
        Ok(Self {
            seed: args.seed,
            n: args.n,
            only_correct: args.only_correct,
            split: args.split,
            files: images.files().iter().map(|file| file.sha256.clone()).collect(),
            model: Network::new(network, args.network.weights()?)?,
            transfer: match (other, &args.transfer) {
                (Some(other), Some(path)) => Some(Network::new(other, path)?),
                _ => None,
            },
            audit: if args.audit { Some(audit(args, &attack)?) } else { None },
            data: data.clone(),
            attack,
        })
    }

    /// The text of `spec.toml`.
    pub(super) fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::config("spec", e.to_string()))
    }
}

impl Network {
    fn new(loaded: &Loaded, path: &Path) -> Result<Self> {
        let graph = serde_json::to_vec(loaded.network.graph());
        let graph = graph.map_err(|e| Error::config("model", e.to_string()))?;
        Ok(Self {
            name: loaded.name.clone(),
            sha256: fsx::sha256(&weights::read(path)?),
            graph: fsx::sha256(&graph),
        })
    }
}

/// The attack at each radius; none when only an audit is asked for.
fn attacks(args: &Args) -> Result<Vec<AttackSpec>> {
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
fn audit(args: &Args, attacks: &[AttackSpec]) -> Result<Audit> {
    let first = attacks.first().filter(|spec| spec.as_dyn().norm() == Norm::Linf);
    let radius = match attacks {
        [] => args.eps.first().copied(),
        _ => first.and_then(|spec| spec.as_dyn().eps()),
    };
    let audit = Audit { eps: radius.unwrap_or(Audit::default().eps), ..Audit::default() };
    audit.check()?;
    Ok(audit)
}

/// What an attack's files are called: `pgd-eps0.1`.
pub(super) fn file_name(spec: &AttackSpec) -> String {
    match spec.as_dyn().eps() {
        Some(eps) => format!("{}-eps{eps}", spec.name()),
        None => spec.name().into(),
    }
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
        assert_eq!(file_name(&spec), "pgd-eps0.1");
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
