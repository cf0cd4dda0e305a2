//! Shapes and counts of a graph.

use std::collections::BTreeMap;

use super::{Graph, IMAGES, Node};
use crate::{Error, Result};

/// Values of one example of any node at most: far more than any network has, and no overflow.
const MAX_VALUES: usize = 1 << 40;

/// The shape of one example of every node's output, by the node's name.
#[derive(Debug, Clone, PartialEq)]
pub struct Shapes(BTreeMap<String, Vec<usize>>);

impl Shapes {
    /// The shape of the output of the node `name`; nothing for an unknown one.
    pub fn get(&self, name: &str) -> &[usize] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The shapes that `node` reads.
    pub fn inputs(&self, node: &Node) -> Vec<&[usize]> {
        node.inputs.iter().map(|input| self.get(input)).collect()
    }
}

/// The size of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Trained numbers.
    pub parameters: u64,
    /// Multiply-adds of convolutions and linear layers, for one image.
    pub multiply_adds: u64,
}

impl Graph {
    /// The shapes of all nodes, which are checked: names, order, inputs, settings.
    ///
    /// # Errors
    /// [`Error::Config`], which names the node and says what is wrong with it.
    pub fn shapes(&self) -> Result<Shapes> {
        let mut known = Shapes(BTreeMap::from([(IMAGES.to_owned(), self.image_shape.to_vec())]));
        if self.image_shape.contains(&0) {
            let reason = format!("{:?} has no pixels", self.image_shape);
            return Err(Error::config("image_shape", reason));
        }
        for node in &self.nodes {
            let shape = self.shape(node, &known).map_err(|reason| {
                Error::config(&node.name, format!("{}: {reason}", node.op.name()))
            })?;
            known.0.insert(node.name.clone(), shape);
        }
        if !known.0.contains_key(&self.output) {
            return Err(Error::config(&self.output, "no node has this name of the output"));
        }
        Ok(known)
    }

    fn shape(&self, node: &Node, known: &Shapes) -> std::result::Result<Vec<usize>, String> {
        if node.name.is_empty() || known.0.contains_key(&node.name) {
            return Err("another node has this name, or it is empty".into());
        }
        if let Some(input) = node.inputs.iter().find(|input| !known.0.contains_key(*input)) {
            let later = self.nodes.iter().any(|other| other.name == **input);
            return Err(match later {
                true => format!("reads `{input}`, which is not computed before it"),
                false => format!("reads `{input}`, which does not exist"),
            });
        }
        let op = node.op.as_dyn();
        let (least, most) = op.n_inputs();
        if !(least..=most).contains(&node.inputs.len()) {
            return Err(format!("has {} inputs", node.inputs.len()));
        }
        let shape = op.shape(&known.inputs(node))?;
        let n = shape.iter().try_fold(1usize, |n, side| n.checked_mul(*side));
        match n {
            Some(n) if n <= MAX_VALUES => Ok(shape),
            _ => Err(format!("{shape:?} are more values than any memory holds")),
        }
    }

    /// Parameters and multiply-adds.
    ///
    /// # Errors
    /// Those of [`Graph::shapes`].
    pub fn counts(&self) -> Result<Counts> {
        let shapes = self.shapes()?;
        let mut counts = Counts { parameters: 0, multiply_adds: 0 };
        for node in &self.nodes {
            let (op, inputs) = (node.op.as_dyn(), shapes.inputs(node));
            let trained = op.params(&inputs).into_iter().filter(|param| param.trained);
            let sizes = trained.map(|param| param.shape.iter().product::<usize>() as u64);
            counts.parameters += sizes.sum::<u64>();
            counts.multiply_adds += op.multiply_adds(&inputs, shapes.get(&node.name));
        }
        Ok(counts)
    }
}
