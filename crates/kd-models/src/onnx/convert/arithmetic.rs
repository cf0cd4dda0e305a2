//! Sums, products and what constants do to activations.

use kd_core::graph::IMAGES;
use kd_core::ops::{Add, Mul, Normalize, Op};

use super::builder::{Builder, Layout, Symbol};
use crate::onnx::constant::Checked;
use crate::onnx::names;
use crate::onnx::scope::Scope;

/// What a constant does, channel by channel.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Adding,
    Subtracting,
    Multiplying,
    Dividing,
}

pub(crate) fn add(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    if let Some(done) = with_constant(builder, scope, By::Adding) {
        return done;
    }
    let (x, y) = (builder.symbol(scope, 0)?, builder.symbol(scope, 1)?);
    check_alike(scope, &x, &y)?;
    builder.push(scope, Add {}, &[&x, &y])
}

/// Of two activations, or of one and a factor for each channel.
pub(crate) fn mul(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    if let Some(done) = with_constant(builder, scope, By::Multiplying) {
        return done;
    }
    let (x, y) = (builder.symbol(scope, 0)?, builder.symbol(scope, 1)?);
    if scope.dims(0)? == scope.dims(1)? {
        check_alike(scope, &x, &y)?;
        return builder.push(scope, Mul {}, &[&x, &y]);
    }
    let swaps = scope.dims(1)? == scope.output_dims()?;
    let (x, y, factors) = if swaps { (y, x, scope.dims(0)?) } else { (x, y, scope.dims(1)?) };
    let &[n, c, h, w] = scope.output_dims()? else { return Err("needs images".into()) };
    let per_channel = match x.layout {
        Layout::ChannelsFirst => [n, c, 1, 1],
        Layout::ChannelsLast => [n, 1, 1, w],
    };
    if factors != per_channel {
        let image = [n, c, h, w];
        return Err(format!(
            "factors {factors:?} for {image:?}; one for each channel is supported"
        ));
    }
    builder.push(scope, Mul {}, &[&x, &y])
}

pub(crate) fn sub(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let known = "is supported for an activation less a constant per channel";
    with_constant(builder, scope, By::Subtracting).unwrap_or(Err(known.into()))
}

pub(crate) fn div(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let known = "is supported for an activation by a constant per channel";
    with_constant(builder, scope, By::Dividing).unwrap_or(Err(known.into()))
}

/// That both inputs have one shape and one order of axes.
fn check_alike(scope: &Scope<'_>, x: &Symbol, y: &Symbol) -> Checked<()> {
    let (a, b) = (scope.dims(0)?, scope.dims(1)?);
    if a != b {
        return Err(format!("{a:?} and {b:?}: activations of one shape are supported"));
    }
    if x.layout == y.layout || x.shape.len() != 3 {
        return Ok(());
    }
    Err("the axes of its inputs are in different orders".into())
}

/// Where one input is a constant: what it does to the other.
fn with_constant(builder: &mut Builder, scope: &Scope<'_>, by: By) -> Option<Checked<()>> {
    let constant = match (scope.constant(0), scope.constant(1)) {
        (None, Some(_)) => 1,
        (Some(_), None) if matches!(by, By::Adding | By::Multiplying) => 0,
        _ => return None,
    };
    Some(apply(builder, scope, by, constant))
}

fn apply(builder: &mut Builder, scope: &Scope<'_>, by: By, constant: usize) -> Checked<()> {
    let x = builder.symbol(scope, 1 - constant)?;
    let dims = scope.dims(1 - constant)?;
    let axis = match x.layout {
        Layout::ChannelsFirst => 1,
        Layout::ChannelsLast => dims.len() - 1,
    };
    let number = scope.needed(constant)?;
    let values = number.per_channel(dims.len(), axis, x.shape[0]);
    let values = values.ok_or("its constant is neither one number nor one for each channel")?;
    let is_normalization =
        matches!(builder.own_node(&x).map(|node| &node.op), Some(Op::Normalize(_)));
    if x.node == IMAGES {
        let channels = x.shape[0];
        let mut op = Normalize { mean: vec![0.0; channels], std: vec![1.0; channels] };
        normalize(&mut op, by, &values);
        return builder.push(scope, op, &[&x]);
    }
    if is_normalization {
        if let Some(Op::Normalize(op)) = builder.own_node(&x).map(|node| &mut node.op) {
            normalize(op, by, &values);
        }
        let x = builder.rename(scope, x);
        return builder.define(scope, x);
    }
    if !builder.absorb(&x, by, &values) {
        return Err("a constant is supported at the input, and right behind a convolution, a \
                    linear layer or a norm"
            .into());
    }
    let x = match (by, names::of_parameter(number.origin.as_deref(), "bias")) {
        (By::Adding, Some(name)) => builder.name_after_bias(x, name),
        _ => x,
    };
    if matches!(by, By::Multiplying | By::Dividing) {
        let (name, node) = (&scope.node.name, &x.node);
        builder.notes.push(format!("the constant factors of `{name}` are now in `{node}`"));
    }
    builder.define(scope, x)
}

/// `(x - mean) / std`, and then the constant.
fn normalize(op: &mut Normalize, by: By, values: &[f32]) {
    for ((mean, std), value) in op.mean.iter_mut().zip(&mut op.std).zip(values) {
        match by {
            By::Adding => *mean -= value * *std,
            By::Subtracting => *mean += value * *std,
            By::Multiplying => *std /= value,
            By::Dividing => *std *= value,
        }
    }
}

impl Builder {
    /// Lets the layer that makes `x` do it, if it is one that can and nothing else reads it.
    fn absorb(&mut self, x: &Symbol, by: By, values: &[f32]) -> bool {
        let Some(node) = self.own_node(x) else { return false };
        let has_bias = match &mut node.op {
            Op::Conv2d(conv) => &mut conv.bias,
            Op::Linear(linear) => &mut linear.bias,
            Op::BatchNorm(_) | Op::LayerNorm(_) => &mut true,
            _ => return false,
        };
        let name = x.node.clone();
        if matches!(by, By::Adding | By::Subtracting) && !*has_bias {
            *has_bias = true;
            self.weight(&name, "bias", &[values.len()], vec![0.0; values.len()]);
        }
        let parts = match by {
            By::Adding | By::Subtracting => &["bias"][..],
            By::Multiplying | By::Dividing => &["weight", "bias"],
        };
        for part in parts {
            if let Some((_, numbers)) = self.weights.get_mut(&format!("{name}.{part}")) {
                each_channel(numbers, by, values);
            }
        }
        true
    }
}

/// Of `numbers`, whose first axis is that of the channels.
fn each_channel(numbers: &mut [f32], by: By, values: &[f32]) {
    let n = (numbers.len() / values.len().max(1)).max(1);
    for (row, value) in numbers.chunks_mut(n).zip(values) {
        for number in row {
            match by {
                By::Adding => *number += value,
                By::Subtracting => *number -= value,
                By::Multiplying => *number *= value,
                By::Dividing => *number /= value,
            }
        }
    }
}
