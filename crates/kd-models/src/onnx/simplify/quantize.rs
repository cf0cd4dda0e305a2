//! Rounding to 256 levels: QuantizeLinear and DequantizeLinear.

use super::pattern::{Pattern, Rewrite};
use crate::onnx::model::{Attribute, Node};
use crate::weights::Dtype;

/// The same levels there and back.
pub(super) fn pair(pattern: &Pattern<'_>, node: &Node) -> Option<Rewrite> {
    if node.op_type != "DequantizeLinear" {
        return None;
    }
    let quantize = pattern.made_by(node.inputs.first()?, "QuantizeLinear")?;
    let (levels, others) = (levels(pattern, quantize)?, levels(pattern, node)?);
    let rewrite = Rewrite::new("kd.Quantize", &[quantize.inputs.first()?]);
    let (scale, zero_point) = levels;
    let rewrite = rewrite.with("scale", Attribute::Float(scale));
    let same = scale.to_bits() == others.0.to_bits() && zero_point == others.1;
    same.then(|| rewrite.with("zero_point", Attribute::Int(zero_point)))
}

/// The scale, and which of 256 levels is that of 0; nothing where there are others than 256.
fn levels(pattern: &Pattern<'_>, node: &Node) -> Option<(f32, i64)> {
    let scale = pattern.scalar(node.inputs.get(1)?)?;
    let Some(zero_point) = node.inputs.get(2).filter(|name| !name.is_empty()) else {
        return Some((scale, 0));
    };
    let zero_point = pattern.constant(zero_point)?;
    let [level] = zero_point.as_ints().ok()? else { return None };
    match zero_point.stored? {
        Dtype::U8 => Some((scale, *level)),
        Dtype::I8 => Some((scale, *level + 128)),
        _ => None,
    }
}
