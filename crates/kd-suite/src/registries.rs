//! Everything that a suite file can name.

use std::fmt;

use kd_adv::AttackSpec;
use kd_core::{Error, Result};
use kd_data::DataSpec;
use kd_models::ModelSpec;
use kd_train::LossSpec;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::table::table;

/// Every registry, with the default settings of its entries.
#[derive(Debug, Serialize)]
pub struct Registries {
    models: Vec<Value>,
    losses: Vec<Value>,
    attacks: Vec<Value>,
    data: Vec<Value>,
}

impl Registries {
    /// As they are; networks with their short names, and their sizes for the images that they are meant
    /// for.
    ///
    /// # Errors
    /// None of entries whose default settings are valid.
    pub fn all() -> Result<Self> {
        Ok(Self {
            models: ModelSpec::all().iter().map(model).collect::<Result<_>>()?,
            losses: entries(&LossSpec::all())?,
            attacks: entries(&AttackSpec::all())?,
            data: entries(&DataSpec::all())?,
        })
    }
}

impl fmt::Display for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = "kind, an example's name, its images and classes, parameters, multiply-adds";
        let rows: Vec<_> = self.models.iter().map(row).collect();
        write!(f, "models: {head}\n{}", table(&rows, "  ", &[3, 4, 5]))?;
        let others = [("losses", &self.losses), ("attacks", &self.attacks), ("data", &self.data)];
        others.into_iter().try_for_each(|(family, entries)| {
            let rows: Vec<_> = entries.iter().map(|e| [text(&e["kind"]), settings(e)]).collect();
            write!(f, "\n\n{family}: kind, default settings\n{}", table(&rows, "  ", &[]))
        })
    }
}

fn model(spec: &ModelSpec) -> Result<Value> {
    let mut value = entry(spec)?;
    if spec.as_dyn().is_in_a_file() {
        value["name"] = json!("PATH.onnx");
        return Ok(value);
    }
    let (image_shape, n_classes) = spec.as_dyn().usual_data();
    let counts = spec.as_dyn().graph(image_shape, n_classes)?.counts()?;
    value["name"] = json!(spec.short_name());
    value["image_shape"] = json!(image_shape);
    value["classes"] = json!(n_classes);
    value["parameters"] = json!(counts.parameters);
    value["multiply_adds"] = json!(counts.multiply_adds);
    Ok(value)
}

fn entries<T: Serialize>(all: &[T]) -> Result<Vec<Value>> {
    all.iter().map(entry).collect()
}

/// By way of text, which has the shortest decimals: 0.1, not the f64 nearest to the f32 nearest to
/// it.
fn entry<T: Serialize>(spec: &T) -> Result<Value> {
    let text = serde_json::to_string(spec);
    let value = text.and_then(|text| serde_json::from_str(&text));
    value.map_err(|e| Error::config("settings", e.to_string()))
}

fn row(model: &Value) -> [String; 6] {
    let shape = model["image_shape"].as_array().into_iter().flatten().map(text);
    [
        text(&model["kind"]),
        text(&model["name"]),
        shape.collect::<Vec<_>>().join("x"),
        text(&model["classes"]),
        thousands(&model["parameters"]),
        thousands(&model["multiply_adds"]),
    ]
}

/// Settings but for the kind, as a suite file has them: `eps = 0.1, norm = "linf"`.
fn settings(entry: &Value) -> String {
    let mut fields = entry.as_object().cloned().unwrap_or_default();
    fields.remove("kind");
    pairs(&fields)
}

fn pairs(fields: &Map<String, Value>) -> String {
    let set = fields.iter().filter(|(_, value)| !value.is_null());
    set.map(|(key, value)| format!("{key} = {}", toml(value))).collect::<Vec<_>>().join(", ")
}

fn toml(value: &Value) -> String {
    match value {
        Value::Object(fields) => format!("{{ {} }}", pairs(fields)),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Without quotes; nothing for what is not known.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// 2,395,210.
fn thousands(value: &Value) -> String {
    let digits = text(value);
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let numbers = [0, 7, 999, 1000, 2_395_210].map(|n| thousands(&json!(n)));
        assert_eq!(numbers, ["0", "7", "999", "1,000", "2,395,210"]);
        assert_eq!(thousands(&Value::Null), "");
    }

    #[test]
    fn settings_are_those_of_a_suite_file() {
        let value = json!({ "kind": "x", "eps": 0.1, "o": { "norm": "l2", "n": null }, "r": [1] });
        assert_eq!(settings(&value), r#"eps = 0.1, o = { norm = "l2" }, r = [1]"#);
    }

    #[test]
    fn single_precision_has_no_noise() {
        #[derive(Serialize)]
        struct Eps(f32);
        assert_eq!(entry(&Eps(16.0 / 255.0)).unwrap().to_string(), "0.0627451");
    }
}
