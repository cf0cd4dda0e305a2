//! Networks, objectives and data sets by their names; in a suite file, a network by a short name or as a
//! table with all settings.

use std::fmt;
use std::path::Path;

use kd_core::{Error, Result};
use kd_data::{Cifar100, Cifar100Labels, DataSpec, Folder, IdxFiles, PhotoFolder};
use kd_models::ModelSpec;
use kd_train::LossSpec;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::configured::configured;

/// A network by its short name, such as `resnet20` or `mlp-1200-1200`.
///
/// # Errors
/// [`Error::Config`] with a name of every family.
pub fn model(name: &str) -> Result<ModelSpec> {
    ModelSpec::from_name(name).ok_or_else(|| {
        let families = ModelSpec::all();
        let families = families.iter().filter(|family| !family.as_dyn().is_in_a_file());
        let names = families.map(ModelSpec::short_name).collect::<Vec<_>>().join(", ");
        let reason = format!("`{name}` names no network; such names are {names} and PATH.onnx");
        Error::config("model", reason)
    })
}

/// An objective by its name and settings, such as `dkd` or `dkd,beta=2,temperature=1`; those that are not
/// given are its authors'.
///
/// # Errors
/// [`Error::Config`] with all names, or what is wrong with a setting.
pub fn loss(text: &str) -> Result<LossSpec> {
    let (name, settings) = text.split_once(',').unwrap_or((text, ""));
    let settings = settings.split(',').filter(|setting| !setting.is_empty());
    configured(("loss", LossSpec::NAMES), name, settings)
}

/// A data set by its name, with its default settings; `folder:PATH` for class folders of images of
/// one size, `photos:PATH` for those of photographs, `idx:PATH` for IDX files, `cifar100:coarse` for
/// the twenty classes of CIFAR-100.
///
/// # Errors
/// [`Error::Config`] with all names.
pub fn data(name: &str) -> Result<DataSpec> {
    // Named on the command line, a path begins at the working directory.
    let absolute = |path: &str| std::path::absolute(path).map_err(Error::io(path, "find"));
    match name.split_once(':') {
        Some(("folder", path)) => {
            return Ok(Folder { path: absolute(path)?, ..Folder::default() }.into());
        }
        Some(("photos", path)) => {
            return Ok(PhotoFolder { path: absolute(path)?, ..PhotoFolder::default() }.into());
        }
        Some(("idx", path)) => {
            return Ok(IdxFiles { path: absolute(path)?, ..IdxFiles::default() }.into());
        }
        Some(("cifar100", labels)) => return cifar100(labels),
        _ => (),
    }
    DataSpec::all().into_iter().find(|spec| spec.name() == name).ok_or_else(|| {
        let hint = if Path::new(name).is_dir() {
            format!("; for class folders say folder:{name} or photos:{name}")
        } else {
            String::new()
        };
        let reason = format!("`{name}` is none of {}{hint}", DataSpec::NAMES.join(", "));
        Error::config("data", reason)
    })
}

fn cifar100(name: &str) -> Result<DataSpec> {
    let labels = match name {
        "fine" => Cifar100Labels::Fine,
        "coarse" => Cifar100Labels::Coarse,
        _ => {
            let reason = format!("`cifar100:{name}`: the labels are `fine` or `coarse`");
            return Err(Error::config("data", reason));
        }
    };
    Ok(DataSpec::Cifar100(Cifar100 { labels }))
}

/// Names become names of folders.
pub(super) fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.is_empty() && !name.starts_with('.') && name.chars().all(allowed) {
        return Ok(());
    }
    let reason = "a name has letters, digits, `-`, `_` and `.`, and does not begin with a dot";
    Err(Error::config("name", format!("`{name}`: {reason}")))
}

/// Reads a network.
pub(super) fn network<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<ModelSpec, D::Error> {
    from.deserialize_any(NameOrTable)
}

/// Reads a network that need not be there.
pub(super) fn some_network<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<ModelSpec>, D::Error> {
    network(from).map(Some)
}

struct NameOrTable;

impl<'de> Visitor<'de> for NameOrTable {
    type Value = ModelSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a network: a name such as \"resnet8\", or a table with its `kind`")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> std::result::Result<ModelSpec, E> {
        model(name).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> std::result::Result<ModelSpec, A::Error> {
        ModelSpec::deserialize(MapAccessDeserializer::new(table))
    }
}
