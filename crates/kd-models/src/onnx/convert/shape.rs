//! What moves or leaves out values.

use kd_core::ops::{ChannelShuffle, Concat, Flatten, Op, SliceChannels, SubsamplePad};

use super::builder::{Builder, Layout, Symbol};
use crate::onnx::constant::Checked;
use crate::onnx::dims;
use crate::onnx::scope::Scope;

/// The same values.
pub(crate) fn alias(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let x = builder.symbol(scope, 0)?;
    builder.define(scope, x)
}

/// Between floating-point numbers, which all are f32 here.
pub(crate) fn cast(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    match scope.int("to", 0)? {
        1 | 10 | 11 | 16 => alias(builder, scope),
        other => Err(format!("an activation to ONNX's type {other}; floats are supported")),
    }
}

/// Between the two orders of axes.
pub(crate) fn transpose(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let x = builder.symbol(scope, 0)?;
    let perm = dims::permutation(scope)?;
    let layout = match (x.layout, perm.as_slice()) {
        (layout, perm) if perm.iter().copied().eq(0..perm.len()) => layout,
        (Layout::ChannelsFirst, [0, 2, 3, 1]) => Layout::ChannelsLast,
        (Layout::ChannelsLast, [0, 3, 1, 2]) => Layout::ChannelsFirst,
        _ => {
            return Err(format!(
                "`perm` {perm:?} is supported neither between (N, C, H, W) and (N, H, W, C) nor as \
                 part of a channel shuffle"
            ));
        }
    };
    builder.define(scope, Symbol { layout, ..x })
}

/// To vectors, or between shapes that differ in axes of one entry only.
pub(crate) fn reshape(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let x = builder.symbol(scope, 0)?;
    let (from, to) = (scope.dims(0)?, scope.output_dims()?);
    let several = |dims: &[usize]| dims.iter().filter(|side| **side > 1).count() > 1;
    if from.first() != to.first() {
        return Err(format!("{from:?} to {to:?} does not keep the images of the batch apart"));
    }
    if from == to {
        return builder.define(scope, x);
    }
    if to.len() == 2 && x.shape.len() > 1 {
        if x.layout == Layout::ChannelsLast && several(&from[1..]) {
            return Err("flattens (N, H, W, C); only (N, C, H, W) can be".into());
        }
        return builder.push(scope, Flatten {}, &[&Symbol { layout: Layout::ChannelsFirst, ..x }]);
    }
    // Of one entry each but for the channels: what counts is how many there are.
    let is_vector = x.shape.len() == 1 || !several(&x.shape);
    if !is_vector || several(&to[1..]) {
        return Err(format!("{from:?} to {to:?}; flattening and channel shuffles are supported"));
    }
    let layout = if to.len() == 4 && to[1] == 1 && to[3] > 1 {
        Layout::ChannelsLast
    } else {
        Layout::ChannelsFirst
    };
    builder.define(scope, Symbol { layout, ..x })
}

pub(crate) fn gather(_: &mut Builder, _: &Scope<'_>) -> Checked<()> {
    Err("is supported on shapes, and where it takes all values in their order".into())
}

pub(crate) fn concat(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let inputs = (0..scope.node.inputs.len()).map(|i| builder.symbol(scope, i));
    let inputs = inputs.collect::<Checked<Vec<_>>>()?;
    check_channels(scope, &inputs[0])?;
    if inputs.iter().any(|input| input.layout != inputs[0].layout) {
        return Err("the axes of its inputs are in different orders".into());
    }
    if let [x] = inputs.as_slice() {
        return builder.define(scope, x.clone());
    }
    builder.push(scope, Concat {}, &inputs.iter().collect::<Vec<_>>())
}

/// That the operator's `axis` is that of the channels.
fn check_channels(scope: &Scope<'_>, x: &Symbol) -> Checked<()> {
    let axis = dims::counted(&[scope.int("axis", 0)?], scope.dims(0)?.len())?[0];
    if axis == channel_axis(scope, x)? { Ok(()) } else { Err("works on the channels only".into()) }
}

fn channel_axis(scope: &Scope<'_>, x: &Symbol) -> Checked<usize> {
    let n = scope.dims(0)?.len();
    Ok(if x.layout == Layout::ChannelsLast { n - 1 } else { 1 })
}

/// Some of the channels, or every so many pixels.
pub(crate) fn slice(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let (x, from) = (builder.symbol(scope, 0)?, scope.dims(0)?);
    let whole = |cut: &dims::Cut| cut.start == 0 && cut.len() == from[cut.axis] && cut.step == 1;
    let cuts: Vec<_> = dims::cuts(scope)?.into_iter().filter(|cut| !whole(cut)).collect();
    match cuts.as_slice() {
        [] => builder.define(scope, x),
        [cut] if cut.axis == channel_axis(scope, &x)? && cut.step == 1 => {
            let (first, count) = (cut.start as usize, cut.len());
            builder.push(scope, SliceChannels { first, count }, &[&x])
        }
        [rows, columns]
            if [rows.axis, columns.axis] == [2, 3]
                && x.layout == Layout::ChannelsFirst
                && rows.step == columns.step
                && rows.step > 0
                && rows.start == 0
                && columns.start == 0
                && rows.len() == from[2].div_ceil(rows.step as usize)
                && columns.len() == from[3].div_ceil(rows.step as usize) =>
        {
            let stride = rows.step as usize;
            builder.push(scope, SubsamplePad { stride, n_zeros: 0 }, &[&x])
        }
        _ => Err("takes other than channels, or every so many rows and columns".into()),
    }
}

/// Channels of zeros on both sides; zeros around the image belong to the windows that read them.
pub(crate) fn pad(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let x = builder.image(scope, 0)?;
    let pads = dims::pads(scope)?;
    let zeros = scope.text("mode", "constant")? == "constant"
        && scope.float_or_input("value", 2, 0.0)?.abs() == 0.0
        && scope.input(3).is_none();
    match pads.as_slice() {
        pads if pads.iter().all(|pad| *pad == (0, 0)) => builder.define(scope, x),
        &[(0, 0), (before, after), (0, 0), (0, 0)] if zeros && before == after => {
            pad_channels(builder, scope, x, before)
        }
        _ => Err(
            "adds other than zeros, or before what does not take them: convolutions and averages \
             do, and channels may be padded alike on both sides"
                .into(),
        ),
    }
}

fn pad_channels(
    builder: &mut Builder,
    scope: &Scope<'_>,
    x: Symbol,
    n_zeros: usize,
) -> Checked<()> {
    let subsampled = builder.own_node(&x);
    if let Some(Op::SubsamplePad(op)) = subsampled.map(|node| &mut node.op)
        && op.n_zeros == 0
    {
        op.n_zeros = n_zeros;
        let mut shape = x.shape.clone();
        shape[0] += 2 * n_zeros;
        let padded = builder.rename(scope, Symbol { shape, ..x });
        return builder.define(scope, padded);
    }
    builder.push(scope, SubsamplePad { stride: 1, n_zeros }, &[&x])
}

pub(crate) fn channel_shuffle(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let x = builder.image(scope, 0)?;
    let groups = scope.int("groups", 1)? as usize;
    builder.push(scope, ChannelShuffle { groups }, &[&x])
}
