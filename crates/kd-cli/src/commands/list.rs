//! `kd list`: what a suite file can name.

use std::process::ExitCode;

use kd_adv::AttackSpec;
use kd_data::DataSpec;
use kd_models::ModelSpec;
use kd_train::LossSpec;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::table;

/// Arguments of `kd list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints every registry with the default settings of its entries.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (models, others) = (models()?, others()?);
    if args.json {
        let mut object = Map::from_iter([("models".to_owned(), json!(models))]);
        object.extend(others.into_iter().map(|(name, entries)| (name.to_owned(), json!(entries))));
        println!("{}", Value::Object(object));
        return Ok(ExitCode::SUCCESS);
    }
    print_models(&models);
    for (family, entries) in &others {
        println!("\n{family}: kind, default settings");
        let rows: Vec<_> = entries.iter().map(|e| [text(&e["kind"]), settings(e)]).collect();
        table::print(&rows, "  ", &[]);
    }
    Ok(ExitCode::SUCCESS)
}

/// The networks with their short names, and their sizes for the images that they are meant for.
fn models() -> anyhow::Result<Vec<Value>> {
    let model = |spec: ModelSpec| -> anyhow::Result<Value> {
        if spec.as_dyn().is_in_a_file() {
            let mut value = entry(&spec)?;
            value["name"] = json!("PATH.onnx");
            return Ok(value);
        }
        let (image_shape, n_classes) = spec.as_dyn().usual_data();
        let counts = spec.as_dyn().graph(image_shape, n_classes)?.counts()?;
        let mut value = entry(&spec)?;
        value["name"] = json!(spec.short_name());
        value["image_shape"] = json!(image_shape);
        value["classes"] = json!(n_classes);
        value["parameters"] = json!(counts.parameters);
        value["multiply_adds"] = json!(counts.multiply_adds);
        Ok(value)
    };
    ModelSpec::all().into_iter().map(model).collect()
}

/// The other registries.
fn others() -> anyhow::Result<[(&'static str, Vec<Value>); 3]> {
    Ok([
        ("losses", entries(&LossSpec::all())?),
        ("attacks", entries(&AttackSpec::all())?),
        ("data", entries(&DataSpec::all())?),
    ])
}

fn entries<T: Serialize>(all: &[T]) -> anyhow::Result<Vec<Value>> {
    all.iter().map(entry).collect()
}

/// By way of text, which has the shortest decimals: 0.1, not the f64 nearest to the f32 nearest to
/// it.
fn entry<T: Serialize>(spec: &T) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&serde_json::to_string(spec)?)?)
}

fn print_models(models: &[Value]) {
    println!("models: kind, an example's name, its images and classes, parameters, multiply-adds");
    let row = |model: &Value| {
        let shape: Vec<String> =
            model["image_shape"].as_array().into_iter().flatten().map(text).collect();
        [
            text(&model["kind"]),
            text(&model["name"]),
            shape.join("x"),
            text(&model["classes"]),
            thousands(&model["parameters"]),
            thousands(&model["multiply_adds"]),
        ]
    };
    let rows: Vec<_> = models.iter().map(row).collect();
    table::print(&rows, "  ", &[3, 4, 5]);
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
    if value.is_null() {
        return String::new();
    }
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// 2,395,210.
fn thousands(value: &Value) -> String {
    let digits = text(value);
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let numbers = [0, 7, 999, 1000, 2_395_210].map(|n| thousands(&json!(n)));
        assert_eq!(numbers, ["0", "7", "999", "1,000", "2,395,210"]);
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
