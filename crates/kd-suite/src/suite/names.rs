//! Networks and data sets by their names; in a suite file, a network by a short name or as a table
//! with all settings.

use std::fmt;

use kd_core::{Error, Result};
use kd_data::{DataSpec, Folder, PhotoFolder};
use kd_models::ModelSpec;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

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

/// A data set by its name, with its default settings; `folder:PATH` for class folders of images of
/// one size, `photos:PATH` for those of photographs.
///
/// # Errors
/// [`Error::Config`] with all names.
pub fn data(name: &str) -> Result<DataSpec> {
    // Named on the command line, a path begins at the working directory.
    let absolute = |path: &str| std::path::absolute(path).map_err(Error::io(path, "find"));
    match name.split_once(':') {
        Some(("folder", path)) => {
            let path = absolute(path)?;
            return Ok(DataSpec::Folder(Folder { path, ..Folder::default() }));
        }
        Some(("photos", path)) => {
            let path = absolute(path)?;
            return Ok(DataSpec::Photos(PhotoFolder { path, ..PhotoFolder::default() }));
        }
        _ => (),
    }
    DataSpec::all().into_iter().find(|spec| spec.name() == name).ok_or_else(|| {
        let reason = format!("`{name}` is none of {}", DataSpec::NAMES.join(", "));
        Error::config("data", reason)
    })
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
