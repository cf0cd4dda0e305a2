//! Convolutions.

use kd_core::ops::{Conv2d, Init};

use super::builder::{Builder, Layout, module_name};
use crate::onnx::constant::{Checked, Constant, Data};
use crate::onnx::scope::Scope;
use crate::onnx::window::Window;

pub(crate) const ATTRIBUTES: &[&str] =
    &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];

pub(crate) fn convert(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let x = builder.image(scope, 0)?;
    let (weight, bias) = (scope.needed(1)?, bias(scope, 2)?);
    let &[out_channels, _, kh, kw] = weight.dims.as_slice() else {
        return Err("needs a weight of 4 axes".into());
    };
    let window = Window::of_conv(scope, [kh, kw])?;
    let op = Conv2d {
        out_channels,
        kernel: window.kernel,
        stride: window.stride,
        padding: window.padding,
        dilation: window.dilation,
        groups: usize::try_from(scope.int("group", 1)?).map_err(|_| "`group` is negative")?,
        bias: bias.is_some(),
        weight_init: Init::Pytorch,
        bias_init: Init::Pytorch,
    };
    let name = module_name(scope, weight, bias);
    let inputs = (&[&x][..], Layout::ChannelsFirst);
    let node = builder.push_named(scope, &name, op.into(), inputs)?;
    builder.weight(&node, "weight", &weight.dims, weight.as_floats()?.to_vec());
    if let Some(bias) = bias {
        builder.weight(&node, "bias", &[out_channels], one_each(bias, out_channels)?);
    }
    Ok(())
}

/// Input `i`, a bias. Zeros that are no initializer are none: exporters compute them for
/// convolutions without a bias.
pub(super) fn bias<'a>(scope: &Scope<'a>, i: usize) -> Checked<Option<&'a Constant>> {
    if scope.input(i).is_none() {
        return Ok(None);
    }
    let bias = scope.needed(i)?;
    let is_zero = match &bias.data {
        Data::Floats(values) => values.iter().all(|value| value.abs() == 0.0),
        Data::Ints(_) => false,
    };
    Ok(Some(bias).filter(|bias| !is_zero || bias.origin.is_some()))
}

/// The numbers of a constant with one for each of `n` channels.
pub(super) fn one_each(constant: &Constant, n: usize) -> Checked<Vec<f32>> {
    let values = constant.as_floats()?;
    if values.len() == n && constant.dims.last() == Some(&n) {
        return Ok(values.to_vec());
    }
    Err(format!("{:?} numbers for {n} channels", constant.dims))
}
