//! Linear layers.

use kd_core::ops::{Conv2d, Linear, Op};

use super::builder::{Builder, Layout, module_name};
use super::conv::{bias, one_each};
use crate::onnx::constant::Checked;
use crate::onnx::names;
use crate::onnx::scope::Scope;

pub(crate) const GEMM: &[&str] = &["alpha", "beta", "transA", "transB"];

pub(crate) fn gemm(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let (x, weight, bias) = (builder.symbol(scope, 0)?, scope.needed(1)?, bias(scope, 2)?);
    scope.only_int("transA", 0)?;
    for name in ["alpha", "beta"] {
        let factor = scope.float(name, 1.0)?;
        if factor.to_bits() != 1f32.to_bits() {
            return Err(format!("attribute `{name}` is {factor}; 1 is supported"));
        }
    }
    let &[rows, columns] = weight.dims.as_slice() else { return Err("needs a matrix".into()) };
    let values = weight.as_floats()?;
    let (out_features, in_features, values) = match scope.int("transB", 0)? != 0 {
        true => (rows, columns, values.to_vec()),
        false => (columns, rows, transposed(values, columns)),
    };
    let op = Linear { bias: bias.is_some(), ..Linear::new(out_features) };
    let name = module_name(scope, weight, bias);
    let inputs = (&[&x][..], Layout::ChannelsFirst);
    let node = builder.push_named(scope, &name, op.into(), inputs)?;
    builder.weight(&node, "weight", &[out_features, in_features], values);
    if let Some(bias) = bias {
        builder.weight(&node, "bias", &[out_features], one_each(bias, out_features)?);
    }
    Ok(())
}

/// On vectors a linear layer; on pixels with the channels last a convolution by 1x1.
pub(crate) fn mat_mul(builder: &mut Builder, scope: &Scope<'_>) -> Checked<()> {
    let (x, weight) = (builder.symbol(scope, 0)?, scope.needed(1)?);
    let &[n_in, n_out] = weight.dims.as_slice() else { return Err("needs a matrix".into()) };
    let (op, dims): (Op, Vec<usize>) = match (x.shape.len(), x.layout) {
        (1, _) => (Linear { bias: false, ..Linear::new(n_out) }.into(), vec![n_out, n_in]),
        (_, Layout::ChannelsLast) => (Conv2d::new(n_out, 1).into(), vec![n_out, n_in, 1, 1]),
        (_, Layout::ChannelsFirst) => {
            return Err("multiplies rows of pixels; only channels on the last axis can be".into());
        }
    };
    let name = module_name(scope, weight, None);
    let node = builder.push_named(scope, &name, op, (&[&x], x.layout))?;
    if names::of_parameter(weight.origin.as_deref(), "weight").is_none() {
        builder.unnamed.insert(node.clone());
    }
    builder.weight(&node, "weight", &dims, transposed(weight.as_floats()?, n_out));
    Ok(())
}

/// A matrix of so many columns, transposed.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let column = |j: usize| values.iter().skip(j).step_by(columns.max(1)).copied();
    (0..columns).flat_map(column).collect()
}
