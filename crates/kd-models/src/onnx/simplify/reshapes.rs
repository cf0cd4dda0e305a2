//! Values that are the same numbers.

use super::pattern::{Pattern, Rewrite};
use crate::onnx::constant::Constant;
use crate::onnx::model::Node;

/// Reads what stands before an Identity or a Cast: activations are floating-point numbers.
pub(super) fn skip_identities(pattern: &Pattern<'_>, node: &Node) -> Option<Rewrite> {
    let source = |value: &String| {
        let mut value = value;
        while let Some(node) = pattern.maker(value) {
            match node.op_type.as_str() {
                "Identity" => value = &node.inputs[0],
                _ => break,
            }
        }
        value.clone()
    };
    let inputs: Vec<String> = node.inputs.iter().map(source).collect();
    if inputs == node.inputs {
        return None;
    }
    let op_type = crate::onnx::operators::operator(&node.op_type).ok()?.name;
    Some(Rewrite { op_type, attributes: node.attributes.clone(), inputs, constants: Vec::new() })
}

/// A Gather of all numbers in their order only gives them another shape: PyTorch's `as_strided`.
pub(super) fn counting_gather(pattern: &Pattern<'_>, node: &Node) -> Option<Rewrite> {
    let [x, index] = node.inputs.as_slice() else { return None };
    let &[n] = pattern.dims(x).filter(|_| node.op_type == "Gather")? else { return None };
    let counted = pattern.constant(index)?.as_ints().ok()?;
    counted.iter().copied().eq(0..n as i64).then(|| reshape(pattern, node, x))?
}

/// Of two shapes, one after the other, the last counts.
pub(super) fn reshape_of_reshape(pattern: &Pattern<'_>, node: &Node) -> Option<Rewrite> {
    let is_reshape =
        |node: &Node| matches!(&*node.op_type, "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze");
    let before = pattern.maker(node.inputs.first()?).filter(|before| is_reshape(before))?;
    is_reshape(node).then(|| reshape(pattern, node, before.inputs.first()?))?
}

/// A Reshape of `x` to the shape that `node` makes.
fn reshape(pattern: &Pattern<'_>, node: &Node, x: &str) -> Option<Rewrite> {
    let output = node.outputs.first()?;
    let sizes = pattern.dims(output)?.iter().map(|size| *size as i64).collect();
    let name = format!("{output} shape");
    let constants = vec![(name.clone(), Constant::vector(sizes))];
    Some(Rewrite { constants, ..Rewrite::new("Reshape", &[x, &name]) })
}
