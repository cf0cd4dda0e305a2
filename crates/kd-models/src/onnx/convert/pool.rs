//! Pooling and means.

use kd_core::ops::{AvgPool, Flatten, GlobalAvgPool, MaxPool};

use super::builder::{Builder, Layout, Symbol};
use crate::onnx::constant::Checked;
use crate::onnx::dims;
use crate::onnx::names;
use crate::onnx::scope::Scope;
use crate::onnx::window::Window;

pub(crate) const ATTRIBUTES: &[&str] = &[
    "auto_pad",
    "ceil_mode",
    "count_include_pad",
    "dilations",
    "kernel_shape",
    "pads",
    "storage_order",
    "strides",
];
pub(crate) const REDUCE: &[&str] = &["axes", "keepdims", "noop_with_empty_axes"];

/// Windows of an average may be at most so many pixels wide, unless they are the image.
const MAX_KERNEL: usize = 16;

fn window(scope: &Scope<'_>) -> Checked<Window> {
    let window = Window::of_pool(scope)?;
    if window.dilation == [1, 1] { Ok(window) } else { Err("`dilations` are not supported".into()) }
}

pub(crate) fn max(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let (x, window) = (builder.image(scope, 0)?, window(scope)?);
    let (kernel, stride) = (window.kernel, window.stride);
    builder.push(scope, MaxPool { kernel, stride, padding: window.whole_padding() }, &[&x])
}

/// Where sizes are rounded up, the last windows are divided by the pixels within the image; that is
/// so with padding that does not count.
pub(crate) fn average(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let (x, window) = (builder.image(scope, 0)?, window(scope)?);
    let (kernel, stride) = (window.kernel, window.stride);
    if window.is_image() && kernel.iter().any(|side| *side > MAX_KERNEL) {
        return builder.push(scope, GlobalAvgPool {}, &[&x]);
    }
    let counts = scope.int("count_include_pad", 0)? != 0;
    let rounded = window.beyond != [0; 2];
    if rounded && counts && window.padding != [0; 4] {
        return Err("`ceil_mode` with padding that counts is not supported".into());
    }
    let padding = window.whole_padding();
    // Without padding it makes no difference; PyTorch's default is to count.
    let count_padding = if rounded { false } else { counts || padding == [0; 4] };
    builder.push(scope, AvgPool { kernel, stride, padding, count_padding }, &[&x])
}

pub(crate) fn global(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let x = builder.image(scope, 0)?;
    builder.push(scope, GlobalAvgPool {}, &[&x])
}

/// The mean over height and width.
pub(crate) fn reduce_mean(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let x = builder.symbol(scope, 0)?;
    let over = match x.layout {
        Layout::ChannelsFirst => [2, 3],
        Layout::ChannelsLast => [1, 2],
    };
    if x.shape.len() != 3 || dims::reduced_axes(scope)? != over {
        return Err("is supported over height and width, and as part of a layer norm".into());
    }
    if scope.int("keepdims", 1)? != 0 {
        return builder.push(scope, GlobalAvgPool {}, &[&x]);
    }
    let name = names::of_node(&scope.node.name, false);
    let pooled = builder.inner(&format!("{name}.pool"), GlobalAvgPool {}, &x)?;
    let pooled = Symbol { layout: Layout::ChannelsFirst, ..pooled };
    builder.push(scope, Flatten {}, &[&pooled])
}
