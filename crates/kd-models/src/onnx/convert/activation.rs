//! Functions of single values, softmax and dropout.

use kd_core::ops::{
    Clip, Dropout, Gelu, HardSigmoid, HardSwish, LeakyRelu, Op, Quantize, Relu, Sigmoid, Silu,
    Softmax,
};

use super::builder::Builder;
use crate::onnx::constant::Checked;
use crate::onnx::scope::Scope;

fn push(builder: &mut Builder, scope: &Scope<'_>, op: impl Into<Op>) -> Checked<()> {
    let x = builder.symbol(scope, 0)?;
    builder.push(scope, op, &[&x])
}

pub(crate) fn relu(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    push(builder, scope, Relu {})
}

pub(crate) fn leaky_relu(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    push(builder, scope, LeakyRelu { slope: scope.float("alpha", 0.01)? })
}

pub(crate) fn clip(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let low = scope.float_or_input("min", 1, f32::MIN)?;
    let high = scope.float_or_input("max", 2, f32::MAX)?;
    push(builder, scope, Clip { low, high })
}

pub(crate) fn hard_sigmoid(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let (slope, shift) = (scope.float("alpha", 0.2)?, scope.float("beta", 0.5)?);
    push(builder, scope, HardSigmoid { slope, shift })
}

pub(crate) fn hard_swish(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    push(builder, scope, HardSwish {})
}

pub(crate) fn sigmoid(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    push(builder, scope, Sigmoid {})
}

pub(crate) fn silu(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    push(builder, scope, Silu {})
}

pub(crate) fn gelu(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    match scope.text("approximate", "none")? {
        "none" => push(builder, scope, Gelu {}),
        other => Err(format!("attribute `approximate` is `{other}`; `none` is supported")),
    }
}

/// Of vectors.
pub(crate) fn softmax(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let axis = scope.int("axis", if scope.opset < 13 { 1 } else { -1 })?;
    if scope.dims(0)?.len() != 2 || !matches!(axis, 1 | -1) {
        return Err("is supported over the classes of (N, classes)".into());
    }
    builder.notes.push(format!(
        "`{}` is a softmax: what comes after it are probabilities, not logits",
        scope.node.name
    ));
    push(builder, scope, Softmax { temperature: scope.float("kd.temperature", 1.0)? })
}

pub(crate) fn dropout(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let p = scope.float_or_input("ratio", 1, 0.5)?;
    let stream = builder.n_dropouts;
    builder.n_dropouts += 1;
    push(builder, scope, Dropout { p, stream: Some(stream) })
}

pub(crate) fn quantize(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let zero_point = scope.int("zero_point", 0)?;
    let zero_point = u8::try_from(zero_point).map_err(|_| format!("zero point {zero_point}"))?;
    push(builder, scope, Quantize { scale: scope.float("scale", 1.0)?, zero_point })
}

/// Refuses what is supported within a pattern only.
pub(crate) fn part_of_quantize(_: &mut Builder, _: &Scope<'_>) -> Checked<()> {
    Err("is supported in pairs of one scale and one zero point, to 8 bits, or on constants".into())
}

/// Refuses what is supported within a pattern only.
pub(crate) fn part_of_gelu(_: &mut Builder, _: &Scope<'_>) -> Checked<()> {
    Err("is supported as part of x (1 + erf(x / sqrt(2))) / 2 only".into())
}

/// Refuses what is supported within a pattern only.
pub(crate) fn part_of_layer_norm(_: &mut Builder, _: &Scope<'_>) -> Checked<()> {
    Err("is supported on constants and as part of a layer norm only".into())
}
