//! `kd list`: what a suite file can name.

use std::process::ExitCode;

use candle_core::Device;
use kd_adv::AttackSpec;
use kd_core::{Classifier, Stream};
use kd_data::DataSpec;
use kd_models::ModelSpec;
use kd_train::LossSpec;
use serde::Serialize;
use serde_json::{Value, json};

/// Arguments of `kd list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints every registry with the default settings of its entries.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let families = [
        ("models", models()?),
        ("losses", entries(&LossSpec::all())?),
        ("attacks", entries(&AttackSpec::all())?),
        ("data", entries(&DataSpec::all())?),
    ];
    if args.json {
        let object: serde_json::Map<String, Value> = families
            .into_iter()
            .map(|(name, list)| (name.to_owned(), Value::Array(list)))
            .collect();
        println!("{}", Value::Object(object));
        return Ok(ExitCode::SUCCESS);
    }
    for (name, list) in families {
        println!("{name}");
        list.iter().for_each(|entry| println!("  {entry}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn entries<T: Serialize>(all: &[T]) -> anyhow::Result<Vec<Value>> {
    Ok(all.iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
}

/// The networks, with their short names, and their numbers of parameters for ten classes and
/// images of MNIST (the small networks without batch norm) or of CIFAR-10.
fn models() -> anyhow::Result<Vec<Value>> {
    let mut list = entries(&ModelSpec::all())?;
    for (spec, value) in ModelSpec::all().iter().zip(&mut list) {
        let image_shape = match spec {
            ModelSpec::Mlp(_) | ModelSpec::Papernot(_) => [1, 28, 28],
            _ => [3, 32, 32],
        };
        let network = spec.as_dyn().build(image_shape, 10, Stream::new(0), &Device::Cpu)?;
        value["name"] = json!(spec.short_name());
        value["parameters"] = json!(network.params().n_elements());
    }
    Ok(list)
}
