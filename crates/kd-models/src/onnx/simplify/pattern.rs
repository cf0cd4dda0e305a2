//! What rules look at, and what they give.

use std::collections::BTreeMap;

use crate::onnx::constant::Constant;
use crate::onnx::fold::Folded;
use crate::onnx::model::{Attribute, Node};

/// What a node becomes; its name and output stay.
pub(super) struct Rewrite {
    pub(super) op_type: &'static str,
    pub(super) attributes: BTreeMap<String, Attribute>,
    pub(super) inputs: Vec<String>,
    /// New constants among the inputs.
    pub(super) constants: Vec<(String, Constant)>,
}

impl Rewrite {
    pub(super) fn new(op_type: &'static str, inputs: &[&str]) -> Self {
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        Self { op_type, attributes: BTreeMap::new(), inputs, constants: Vec::new() }
    }

    pub(super) fn with(mut self, name: &str, value: Attribute) -> Self {
        self.attributes.insert(name.to_owned(), value);
        self
    }
}

/// The network to look at.
pub(super) struct Pattern<'a> {
    pub(super) folded: &'a Folded,
    /// Number of the node that makes a value.
    pub(super) makers: &'a BTreeMap<String, usize>,
}

impl<'a> Pattern<'a> {
    /// The node that makes `value`.
    pub(super) fn maker(&self, value: &str) -> Option<&'a Node> {
        self.makers.get(value).map(|i| &self.folded.nodes[*i])
    }

    /// The node that makes `value`, if it is of type `op_type`.
    pub(super) fn made_by(&self, value: &str, op_type: &str) -> Option<&'a Node> {
        self.maker(value).filter(|node| node.op_type == op_type)
    }

    pub(super) fn constant(&self, value: &str) -> Option<&'a Constant> {
        self.folded.known.constants.get(value)
    }

    /// The single number that `value` is.
    pub(super) fn scalar(&self, value: &str) -> Option<f32> {
        self.constant(value)?.scalar()
    }

    pub(super) fn dims(&self, value: &str) -> Option<&'a [usize]> {
        self.folded.known.dims.get(value).map(Vec::as_slice)
    }

    /// `value` and the number of a node of type `op_type` with these two inputs in any order.
    pub(super) fn with_scalar(&self, node: &'a Node) -> Option<(&'a str, f32)> {
        let [a, b] = node.inputs.as_slice() else { return None };
        match (self.scalar(a), self.scalar(b)) {
            (None, Some(number)) => Some((a, number)),
            (Some(number), None) => Some((b, number)),
            _ => None,
        }
    }
}

/// Whether two numbers are the same but for rounding.
pub(super) fn close(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-5 * b.abs().max(1e-3)
}
