//! Zeros around an image, which the next windows read.

use super::pattern::{Pattern, Rewrite};
use crate::onnx::dims;
use crate::onnx::model::{Attribute, Node};

/// A Pad of height and width with zeros goes into the convolution or the average after it.
pub(super) fn joined(pattern: &Pattern<'_>, node: &Node) -> Option<Rewrite> {
    let op_type = match node.op_type.as_str() {
        "Conv" => "Conv",
        "AveragePool" => "AveragePool",
        _ => return None,
    };
    let pad = pattern.made_by(node.inputs.first()?, "Pad")?;
    let own = own_pads(pattern, node)?;
    if op_type == "AveragePool" && own == [0; 4]
        || counts_padding(pattern, node)
        || op_type == "Conv"
    {
        let pads = zeros(pattern, pad)?.iter().zip(own).map(|(a, b)| a + b).collect();
        let mut inputs = node.inputs.clone();
        inputs[0].clone_from(pad.inputs.first()?);
        let mut attributes = node.attributes.clone();
        attributes.insert("pads".into(), Attribute::Ints(pads));
        if op_type == "AveragePool" {
            attributes.insert("count_include_pad".into(), Attribute::Int(1));
        }
        return Some(Rewrite { op_type, attributes, inputs, constants: Vec::new() });
    }
    None
}

fn counts_padding(pattern: &Pattern<'_>, node: &Node) -> bool {
    pattern.folded.scope(node).int("count_include_pad", 0) == Ok(1)
}

/// The zeros that `node` adds itself.
fn own_pads(pattern: &Pattern<'_>, node: &Node) -> Option<[i64; 4]> {
    let scope = pattern.folded.scope(node);
    let explicit = scope.text("auto_pad", "NOTSET").ok()? == "NOTSET";
    let pads = scope.ints("pads").ok()?.unwrap_or(&[0; 4]);
    pads.try_into().ok().filter(|_| explicit)
}

/// Zeros above, to the left, below and to the right, where `pad` adds nothing else.
fn zeros(pattern: &Pattern<'_>, pad: &Node) -> Option<[i64; 4]> {
    let scope = pattern.folded.scope(pad);
    let is_constant = scope.text("mode", "constant").ok()? == "constant";
    let is_zero = scope.float_or_input("value", 2, 0.0).ok()?.abs() == 0.0;
    let sides = dims::pads(&scope).ok()?;
    let &[(0, 0), (0, 0), (top, bottom), (left, right)] = sides.as_slice() else { return None };
    let sides = [top, left, bottom, right].map(|side| side.min(1 << 32) as i64);
    (is_constant && is_zero && scope.input(3).is_none()).then_some(sides)
}
