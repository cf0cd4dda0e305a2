//! Batch norm and layer norm.

use kd_core::ops::{BatchNorm, LayerNorm};

use super::builder::{Builder, Layout, module_name};
use super::conv::one_each;
use crate::onnx::constant::{Checked, axis};
use crate::onnx::scope::Scope;

pub(crate) const BATCH: &[&str] = &["epsilon", "momentum", "training_mode", "spatial"];
pub(crate) const LAYER: &[&str] = &["axis", "epsilon", "stash_type"];

/// An ordinary batch norm, also where the file has it in training: its running statistics are
/// there, and what it puts out beside is not read.
pub(crate) fn batch(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let x = builder.symbol(scope, 0)?;
    if x.shape.len() == 3 {
        builder.image(scope, 0)?;
    }
    scope.only_int("spatial", 1)?;
    let momentum = 1.0 - f64::from(scope.float("momentum", 0.9)?);
    // ONNX gives the weight of what was; one minus a rounded 0.9 is not quite 0.1.
    let momentum = ((momentum * 1e6).round() / 1e6) as f32;
    let op = BatchNorm { eps: scope.float("epsilon", 1e-5)?, momentum };
    let (weight, bias) = (scope.needed(1)?, scope.needed(2)?);
    let channels = x.shape[0];
    let name = module_name(scope, weight, Some(bias));
    let node = builder.push_named(scope, &name, op.into(), (&[&x], x.layout))?;
    for (i, part) in (1..).zip(["weight", "bias", "running_mean", "running_var"]) {
        builder.weight(&node, part, &[channels], one_each(scope.needed(i)?, channels)?);
    }
    Ok(())
}

/// Over the channels, which must be on the last axis.
pub(crate) fn layer(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let x = builder.symbol(scope, 0)?;
    let (dims, channels) = (scope.dims(0)?, x.shape[0]);
    let axis = axis(scope.int("axis", -1)?, dims.len())?;
    let over_channels = dims.len() == 2 || x.layout == Layout::ChannelsLast;
    if axis + 1 != dims.len() || !over_channels {
        return Err("normalizes more than the channels, or other axes".into());
    }
    let weight = scope.needed(1)?;
    let bias = scope.input(2).map(|_| scope.needed(2)).transpose()?;
    let op = LayerNorm { eps: scope.float("epsilon", 1e-5)? };
    let name = module_name(scope, weight, bias);
    let node = builder.push_named(scope, &name, op.into(), (&[&x], x.layout))?;
    builder.weight(&node, "weight", &[channels], one_each(weight, channels)?);
    let bias = bias.map_or(Ok(vec![0.0; channels]), |bias| one_each(bias, channels))?;
    builder.weight(&node, "bias", &[channels], bias);
    Ok(())
}
