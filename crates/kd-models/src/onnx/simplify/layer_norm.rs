//! Layer norm before opset 17, in nine operators.

use super::pattern::{Pattern, Rewrite};
use crate::onnx::model::{Attribute, Node};

/// `(x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * weight + bias`, over the last axis.
pub(super) fn layer_norm(pattern: &Pattern<'_>, node: &Node) -> Option<Rewrite> {
    if node.op_type != "Add" {
        return None;
    }
    let (scaled, bias) = with_vector(pattern, node)?;
    let (quotient, weight) = with_vector(pattern, pattern.made_by(scaled, "Mul")?)?;
    let quotient = pattern.made_by(quotient, "Div")?;
    let x = centered(pattern, quotient.inputs.first()?)?;
    let root = pattern.made_by(quotient.inputs.get(1)?, "Sqrt")?;
    let (variance, eps) = pattern.with_scalar(pattern.made_by(root.inputs.first()?, "Add")?)?;
    let power = pattern.made_by(mean_of(pattern, variance)?, "Pow")?;
    let is_square = pattern.scalar(power.inputs.get(1)?) == Some(2.0);
    let same = centered(pattern, power.inputs.first()?) == Some(x);
    let rewrite = Rewrite::new("LayerNormalization", &[x, weight, bias]);
    (is_square && same).then(|| rewrite.with("epsilon", Attribute::Float(eps)))
}

/// The activation and the constant with one axis that a node reads.
fn with_vector<'a>(pattern: &Pattern<'a>, node: &Node) -> Option<(&'a str, &'a str)> {
    let node = pattern.maker(node.outputs.first()?)?;
    let [a, b] = node.inputs.as_slice() else { return None };
    let is_vector = |value: &str| pattern.constant(value).is_some_and(|c| c.dims.len() == 1);
    match (is_vector(a), is_vector(b)) {
        (false, true) => Some((a, b)),
        (true, false) => Some((b, a)),
        _ => None,
    }
}

/// x of `x - mean(x)`.
fn centered<'a>(pattern: &Pattern<'a>, value: &str) -> Option<&'a str> {
    let difference = pattern.made_by(value, "Sub")?;
    let [x, mean] = difference.inputs.as_slice() else { return None };
    (mean_of(pattern, mean)? == x).then_some(x)
}

/// What `value` is the mean of, over the last axis, which stays.
fn mean_of<'a>(pattern: &Pattern<'a>, value: &str) -> Option<&'a str> {
    let mean = pattern.made_by(value, "ReduceMean")?;
    let x = mean.inputs.first()?;
    let scope = pattern.folded.scope(mean);
    let axes = crate::onnx::dims::reduced_axes(&scope).ok()?;
    let keeps = scope.int("keepdims", 1).ok()? != 0;
    (keeps && axes == [pattern.dims(x)?.len() - 1]).then_some(x)
}
