//! Which nodes of a network learn, and which rest because their parameters are frozen.

use std::collections::BTreeSet;

use super::{Graph, IMAGES, Node};
use crate::Result;
use crate::ops::Op;

/// What becomes of a graph's nodes when some parameters are frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Whether each node computes in training as in evaluation: batch norm by its running
    /// statistics, dropout not at all.
    pub(crate) nodes: Vec<bool>,
    /// The node whose output no step of a training changes, and from which alone all that learns goes
    /// on; nothing where there is no such node.
    pub(crate) trunk: Option<String>,
}

impl Graph {
    /// Where `frozen` parameters leave nothing to learn. A node rests when its parameters are frozen; a
    /// dropout when all that it reads is fixed and something frozen reads it: one before a new head
    /// belongs to the head.
    pub(crate) fn rest(&self, frozen: &BTreeSet<String>) -> Result<Rest> {
        let shapes = self.shapes()?;
        let n = self.nodes.len();
        let (mut rests, mut learns) = (vec![false; n], vec![false; n]);
        for (i, node) in self.nodes.iter().enumerate() {
            let params = node.op.as_dyn().params(&shapes.inputs(node)).into_iter();
            let trained = params.filter(|param| param.trained);
            let names: Vec<String> = trained.map(|spec| node.param(&spec)).collect();
            learns[i] = names.iter().any(|name| !frozen.contains(name));
            rests[i] = !names.is_empty() && !learns[i];
        }
        let before_rest = (0..n).map(|i| self.is_before(i, &rests, &learns));
        let before_rest: Vec<bool> = before_rest.collect();
        for (i, node) in self.nodes.iter().enumerate() {
            let reads_learner = self.inputs_of(node).any(|input| learns[input]);
            let is_free = matches!(node.op, Op::Dropout(_)) && !before_rest[i];
            learns[i] |= reads_learner || is_free;
            rests[i] |= !learns[i] && before_rest[i];
        }
        Ok(Rest { trunk: self.trunk(&learns, &rests), nodes: rests })
    }

    /// The one node that all learning nodes read, if it is not the images and has rest behind it.
    fn trunk(&self, learns: &[bool], rests: &[bool]) -> Option<String> {
        let learners = self.nodes.iter().zip(learns).filter(|(_, learns)| **learns);
        let read: BTreeSet<&String> = learners.flat_map(|(node, _)| &node.inputs).collect();
        let is_fixed = |name: &&&String| self.index(name).is_none_or(|i| !learns[i]);
        let mut fixed = read.iter().filter(is_fixed);
        let (Some(name), None) = (fixed.next(), fixed.next()) else { return None };
        let has_rest = self.needed(&[name], IMAGES).iter().zip(rests).any(|(a, b)| *a && *b);
        has_rest.then(|| (*name).clone())
    }

    /// Whether the output of node `i` goes into any that rests, by way of none that learns.
    fn is_before(&self, i: usize, rests: &[bool], learns: &[bool]) -> bool {
        let mut after = vec![false; rests.len()];
        after[i] = true;
        (i + 1..rests.len()).any(|j| {
            after[j] = !learns[j] && self.inputs_of(&self.nodes[j]).any(|input| after[input]);
            after[j] && rests[j]
        })
    }

    fn inputs_of<'g>(&'g self, node: &'g Node) -> impl Iterator<Item = usize> + 'g {
        node.inputs.iter().filter_map(|input| self.index(input))
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{BatchNorm, Conv2d, Dropout, Flatten, GlobalAvgPool, Linear, Relu};

    /// Dropout before a frozen layer and before the head.
    fn graph() -> Graph {
        let mut graph = Graph::new([1, 4, 4]);
        graph.then("input_dropout", Dropout { p: 0.1, stream: None });
        graph.then("conv", Conv2d::new(3, 3));
        graph.then("bn", BatchNorm::default());
        graph.then("relu", Relu {});
        graph.then("pool", GlobalAvgPool {});
        graph.then("flat", Flatten {});
        graph.then("dropout", Dropout { p: 0.2, stream: None });
        graph.then("fc", Linear::new(2));
        graph
    }

    fn resting(graph: &Graph, frozen: &[&str]) -> (Vec<String>, Option<String>) {
        let frozen = frozen.iter().map(|name| (*name).to_owned()).collect();
        let rest = graph.rest(&frozen).unwrap();
        let nodes = graph.nodes.iter().zip(rest.nodes).filter(|(_, rests)| *rests);
        (nodes.map(|(node, _)| node.name.clone()).collect(), rest.trunk)
    }

    #[test]
    fn what_is_frozen_rests_and_the_heads_dropout_does_not() {
        let body = ["conv.weight", "bn.weight", "bn.bias"];
        let (nodes, trunk) = resting(&graph(), &body);
        assert_eq!(nodes, ["input_dropout", "conv", "bn"]);
        assert_eq!(trunk.as_deref(), Some("flat"));
    }

    #[test]
    fn a_part_that_is_frozen_after_one_that_learns_rests_without_being_a_trunk() {
        assert_eq!(resting(&graph(), &[]), (Vec::new(), None));
        assert_eq!(resting(&graph(), &["bn.weight", "bn.bias"]), (vec!["bn".into()], None));
        // Half of a batch norm still learns.
        assert_eq!(resting(&graph(), &["bn.weight"]), (Vec::new(), None));
    }

    #[test]
    fn two_ways_into_what_learns_are_no_trunk() {
        let mut graph = Graph::new([1, 4, 4]);
        let a = graph.then("a", Conv2d::new(2, 1));
        let b = graph.push("b", Conv2d::new(2, 1), &[IMAGES]);
        graph.push("sum", crate::ops::Add {}, &[&a, &b]);
        graph.then("pool", GlobalAvgPool {});
        graph.then("flat", Flatten {});
        graph.then("fc", Linear::new(2));
        let (nodes, trunk) = resting(&graph, &["a.weight"]);
        assert_eq!((nodes, trunk), (vec!["a".into()], None));
        let (_, trunk) = resting(&graph, &["a.weight", "b.weight"]);
        assert_eq!(trunk.as_deref(), Some("flat"));
    }
}
