//! Patterns of several operators that are one operation.
//!
//! Each rule looks at one node and backwards from it. Where a pattern ends, its last node becomes
//! the one operation, and what nothing reads any more goes.

mod layer_norm;
mod padding;
mod pattern;
mod products;
mod quantize;
mod reshapes;
mod shuffle;

use self::pattern::{Pattern, Rewrite};
use super::fold::Folded;
use super::model::{Node, needed};

/// Looks whether a pattern ends at a node.
type Rule = fn(&Pattern<'_>, &Node) -> Option<Rewrite>;

/// In this order: earlier rules make what later ones look for.
const RULES: &[Rule] = &[
    reshapes::skip_identities,
    quantize::pair,
    shuffle::channel_shuffle,
    reshapes::counting_gather,
    reshapes::reshape_of_reshape,
    products::hard_sigmoid,
    products::gated,
    layer_norm::layer_norm,
    products::softmax_of_quotient,
    padding::joined,
];

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
