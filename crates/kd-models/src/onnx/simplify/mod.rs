//! Patterns of several operators that are one operation.
//!
//! Each rule looks at one node and backwards from it. Where a pattern ends, its last node becomes
//! the one operation, and what nothing reads any more goes.

mod layer_norm;
mod padding;
mod products;
mod reshapes;
mod shuffle;

use std::collections::BTreeMap;

use super::constant::Constant;
use super::fold::Folded;
use super::model::{Attribute, Node, needed};

/// Looks whether a pattern ends at a node.
type Rule = fn(&Pattern<'_>, &Node) -> Option<Rewrite>;

/// In this order: earlier rules make what later ones look for.
const RULES: &[Rule] = &[
    reshapes::skip_identities,
    shuffle::channel_shuffle,
    reshapes::counting_gather,
    reshapes::reshape_of_reshape,
    products::hard_sigmoid,
    products::gated,
    layer_norm::layer_norm,
    products::softmax_of_quotient,
    padding::joined,
];

/// What a node becomes; its name and output stay.
struct Rewrite {
    op_type: &'static str,
    attributes: BTreeMap<String, Attribute>,
    inputs: Vec<String>,
    /// New constants among the inputs.
    constants: Vec<(String, Constant)>,
}

impl Rewrite {
    fn new(op_type: &'static str, inputs: &[&str]) -> Self {
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        Self { op_type, attributes: BTreeMap::new(), inputs, constants: Vec::new() }
    }

    fn with(mut self, name: &str, value: Attribute) -> Self {
        self.attributes.insert(name.to_owned(), value);
        self
    }
}

/// The network to look at.
struct Pattern<'a> {
    folded: &'a Folded,
    /// Number of the node that makes a value.
    makers: &'a BTreeMap<String, usize>,
}

impl<'a> Pattern<'a> {
    /// The node that makes `value`.
    fn maker(&self, value: &str) -> Option<&'a Node> {
        self.makers.get(value).map(|i| &self.folded.nodes[*i])
    }

    /// The node that makes `value`, if it is of type `op_type`.
    fn made_by(&self, value: &str, op_type: &str) -> Option<&'a Node> {
        self.maker(value).filter(|node| node.op_type == op_type)
    }

    fn constant(&self, value: &str) -> Option<&'a Constant> {
        self.folded.known.constants.get(value)
    }

    /// The single number that `value` is.
    fn scalar(&self, value: &str) -> Option<f32> {
        self.constant(value)?.scalar()
    }

    fn dims(&self, value: &str) -> Option<&'a [usize]> {
        self.folded.known.dims.get(value).map(Vec::as_slice)
    }

    /// `value` and the number of a node of type `op_type` with these two inputs in any order.
    fn with_scalar(&self, node: &'a Node) -> Option<(&'a str, f32)> {
        let [a, b] = node.inputs.as_slice() else { return None };
        match (self.scalar(a), self.scalar(b)) {
            (None, Some(number)) => Some((a, number)),
            (Some(number), None) => Some((b, number)),
            _ => None,
        }
    }
}

/// Applies all rules.
pub(super) fn simplify(folded: &mut Folded) {
    for rule in RULES {
        let outputs = |(i, node): (usize, &Node)| Some((node.outputs.first()?.clone(), i));
        let makers = folded.nodes.iter().enumerate().filter_map(outputs).collect();
        for i in 0..folded.nodes.len() {
            let pattern = Pattern { folded, makers: &makers };
            if let Some(rewrite) = rule(&pattern, &folded.nodes[i]) {
                folded.known.constants.extend(rewrite.constants);
                let node = &mut folded.nodes[i];
                node.op_type = rewrite.op_type.into();
                node.attributes = rewrite.attributes;
                node.inputs = rewrite.inputs;
            }
        }
        folded.nodes = needed(std::mem::take(&mut folded.nodes), &folded.output);
    }
}

/// Whether two numbers are the same but for rounding.
fn close(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-5 * b.abs().max(1e-3)
}
